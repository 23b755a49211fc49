"""No secret in logs, arguments, the process list, files others can read, or any answer but the one that hands it over.

Each flow uses the product with secrets that it knows and returns them; a new kind of secret is a new flow in FLOWS.
Then every reading action there is is called, and everything that was said and written is searched for all of them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import json
import os
import secrets
import sqlite3
import string
import subprocess
import sys
import tomllib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

import agent.api.actions  # noqa: F401  (declares every action)
from agent.api.edge.registry import ECS, REGISTRY, Action
from agent.core.ids import random_word
from agent.policy import trust
from ecsctl import signature
from tests.support.agent import HOST, RAM, REPOSITORY, STS, AgentProcess, CallFailed
from tests.support.leaks import Processes, Secret, leaks_in_files, others_can_read, watched_processes
from tests.support.libvirtd import PrivateLibvirt

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]


class Scene:
    """The agent, its answers as they came, and what ecsctl printed."""

    def __init__(self, agent: AgentProcess, home: Path) -> None:
        self.agent, self.home = agent, home
        self.answers: list[tuple[str, str]] = []
        self.printed: list[str] = []
        self.instance_id = ""
        self.made: list[str] = []

    def call(self, action: str, version: str = ECS, **params: Any) -> dict[str, Any]:
        try:
            answer = self.agent.call(action, version, **params)
        except CallFailed as failed:
            self.answers.append((action, json.dumps(failed.answer, ensure_ascii=False)))
            raise
        self.answers.append((action, json.dumps(answer, ensure_ascii=False)))
        return answer

    def refused(self, action: str, version: str = ECS, **params: Any) -> None:
        with pytest.raises(CallFailed):
            self.call(action, version, **params)

    def signed(self, action: str, version: str, credentials: dict[str, str]) -> str:
        """A call with temporary credentials: the code of its error, or nothing."""
        headers = signature.headers(action, version, "localhost", b"")
        headers["x-acs-security-token"] = credentials["SecurityToken"]
        key, secret = credentials["AccessKeyId"], credentials["AccessKeySecret"]
        headers["Authorization"] = signature.authorization(headers, key, secret)
        with contextlib.closing(self.agent.connect()) as connection:
            connection.request("POST", "/", b"", headers)
            answer = connection.getresponse().read().decode()
        self.answers.append((action, answer))
        return str(json.loads(answer).get("Code", ""))

    def ecsctl(self, *arguments: str, stdin: str = "") -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("ECSCTL_", "ALIBABA_CLOUD_"))}
        environ |= {
            "ECSCTL_HOME": str(self.home),
            "ECSCTL_ENDPOINT": f"unix://{self.agent.socket}",
            "PYTHONPATH": str(REPOSITORY),
        }
        command = [sys.executable, "-m", "ecsctl", *arguments]
        done = subprocess.run(command, env=environ, input=stdin, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        self.printed.append(done.stdout + done.stderr)

    def restart(self) -> None:
        self.call("RebootInstance", InstanceId=self.instance_id, ForceStop="true")
        self.agent.wait_status(self.instance_id, "Running")


def _fresh(kind: str) -> str:
    """A valid password that is nowhere else in the world."""
    return f"{kind}-{random_word(16)}-Aa1"


# ------------------------------------------------------------------------------ flows


def passwords(scene: Scene) -> list[Secret]:
    """At creation, reset in every way, in refused calls, and the hash that stays of them."""
    first, second, third, malformed = _fresh("first"), _fresh("second"), _fresh("third"), random_word(20)
    script = b64encode(b"#!/bin/sh\n").decode()
    params = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small", "UserData": script, "ClientToken": random_word(16)}
    made = scene.call("RunInstances", **params, Password=first)
    scene.instance_id = made["InstanceIdSets"]["InstanceIdSet"][0]
    scene.made.append(scene.instance_id)
    scene.agent.wait_status(scene.instance_id, "Running")
    scene.refused("RunInstances", **params, Password=second)  # the token is another call's
    hashes = [_hash(scene)]
    scene.call("ModifyInstanceAttribute", InstanceId=scene.instance_id, Password=second)
    scene.refused("ModifyInstanceAttribute", InstanceId=scene.instance_id, Password=malformed)
    scene.refused("ResetInstancePasswords", HOST, InstanceId=[scene.instance_id], Password=second, Now="true")
    scene.restart()
    hashes.append(_hash(scene))
    scene.ecsctl("instance", "password", scene.instance_id, "--password-stdin", stdin=f"{third}\n")
    scene.restart()
    hashes.append(_hash(scene))
    found = {"first password": first, "second password": second, "third password": third, "bad password": malformed}
    return [
        *(Secret(name, value) for name, value in found.items()),
        *(Secret("password's hash", value, kept=True) for value in hashes),
    ]


def _hash(scene: Scene) -> str:
    database = f"file:{scene.agent.root}/data/ecs.db?mode=ro"
    with contextlib.closing(sqlite3.connect(database, uri=True)) as connection:
        query = "select password_hash from instances where id = ?"
        found: str = connection.execute(query, (scene.instance_id,)).fetchone()[0]
    return found


def private_key(scene: Scene) -> list[Secret]:
    body = scene.call("CreateKeyPair", KeyPairName="secret-test")["PrivateKeyBody"]
    scene.refused("ImportKeyPair", KeyPairName="secret-test-2", PublicKeyBody=body)
    scene.call("AttachKeyPair", KeyPairName="secret-test", InstanceIds=json.dumps([scene.instance_id]))
    scene.restart()
    line = body.splitlines()[15]  # of the private exponent: what comes first is the public part
    return [Secret("private key", line, frozenset({"CreateKeyPair"}))]


def access_key(scene: Scene) -> list[Secret]:
    """Made and used by ecsctl, which keeps it in a file of its own."""
    scene.ecsctl("config", "init")
    scene.ecsctl("instance", "ls")
    config = scene.home / "config.toml"
    assert not others_can_read(config)
    secret = tomllib.loads(config.read_text())["profiles"]["default"]["access_key_secret"]
    return [Secret("access key's secret", secret)]


def user_data(scene: Scene) -> list[Secret]:
    """It may hold secrets of the user's: the guest and its owner may read it, nobody else."""
    value = _fresh("user-data")
    given = b64encode(f"#!/bin/sh\n# {value}\n".encode()).decode()
    scene.refused("ModifyInstanceAttribute", InstanceId=scene.instance_id, UserData=given)  # it runs
    params = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small", "UserData": given}
    stopped = scene.call("CreateInstance", **params)["InstanceId"]
    scene.made.append(stopped)
    scene.agent.wait_status(stopped, "Stopped")
    scene.call("DescribeUserData", InstanceId=stopped)
    return [Secret("user data", value, frozenset({"DescribeUserData"}), kept=True)]


def management_terminal(scene: Scene) -> list[Secret]:
    """Its password, told once and changed in every way, and what opens its page."""
    generated = scene.call("DescribeInstanceVncPasswd", InstanceId=scene.instance_id)["VncPasswd"]
    scene.refused("DescribeInstanceVncPasswd", InstanceId=scene.instance_id)
    changed = {"by call": _vnc_password(), "by ecsctl": _vnc_password(), "by page": _vnc_password()}
    malformed = random_word(20)
    scene.call("ModifyInstanceVncPasswd", InstanceId=scene.instance_id, VncPassword=changed["by call"])
    scene.refused("ModifyInstanceVncPasswd", InstanceId=scene.instance_id, VncPassword=malformed)
    scene.ecsctl("vnc", "password", scene.instance_id, "--password-stdin", stdin=f"{changed['by ecsctl']}\n")
    url, _, token = scene.call("DescribeInstanceVncUrl", InstanceId=scene.instance_id)["VncUrl"].partition("#")
    session = _ask_page(scene, f"{url}/open", {"Token": token})["Session"]
    assert _ask_page(scene, f"{url}/first-password", {}, session)["VncPasswd"] == ""
    _ask_page(scene, f"{url}/password", {"VncPassword": changed["by page"]}, session)
    scene.restart()
    return [
        Secret("generated VNC password", generated, frozenset({"DescribeInstanceVncPasswd"})),
        Secret("malformed VNC password", malformed),
        Secret("page's token", token, frozenset({"DescribeInstanceVncUrl"})),
        Secret("page's session", session, frozenset({"/console/vnc/open"})),
        *(Secret(f"VNC password changed {how}", value) for how, value in changed.items()),
    ]


def _vnc_password() -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(6))


def _ask_page(scene: Scene, url: str, body: dict[str, str], session: str = "") -> dict[str, Any]:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", address.path, json.dumps(body), {"Authorization": f"Bearer {session}"})
        text = connection.getresponse().read().decode()
    scene.answers.append((address.path, text))
    answer: dict[str, Any] = json.loads(text)
    return answer


def temporary_credentials(scene: Scene) -> list[Secret]:
    """Handed out by AssumeRole, used well and not so well, and nowhere kept."""
    account = scene.call("GetCallerIdentity", STS)["AccountId"]
    trusting = trust.document([f"RAM:acs:ram::{account}:root"])
    scene.call("CreateRole", RAM, RoleName="secret-test", AssumeRolePolicyDocument=trusting)
    arn = f"acs:ram::{account}:role/secret-test"
    given = scene.call("AssumeRole", STS, RoleArn=arn, RoleSessionName="test")["Credentials"]
    assert scene.signed("GetCallerIdentity", STS, given) == ""
    assert scene.signed("ListRoles", RAM, given) == "Forbidden.RAM"
    mismatch = scene.signed("GetCallerIdentity", STS, given | {"AccessKeyId": "STS.other"})
    assert mismatch == "InvalidSecurityToken.MismatchWithAccessKey"
    scene.call("DeleteRole", RAM, RoleName="secret-test")
    assert scene.signed("GetCallerIdentity", STS, given) == "InvalidSecurityToken.Expired"
    told = frozenset({"AssumeRole"})
    return [
        Secret("temporary key's secret", given["AccessKeySecret"], told),
        Secret("security token", given["SecurityToken"], told),
    ]


def host_keys(scene: Scene) -> list[Secret]:
    """What secrets at rest are sealed with, and what identity documents are signed with."""
    signing = (scene.agent.root / "data/identity.pem").read_text().splitlines()[15]  # of the private exponent
    return [
        Secret("host's key", (scene.agent.root / "data/host.key").read_text().strip(), kept=True),
        Secret("identity's key", signing, kept=True),
    ]


FLOWS: tuple[Callable[[Scene], list[Secret]], ...] = (
    passwords,
    private_key,
    access_key,
    user_data,
    management_terminal,
    temporary_credentials,
    host_keys,
)


# ------------------------------------------------------------------------------ the search


def call_everything_that_reads(scene: Scene) -> int:
    """Every reading action, with the ids of what the flows made; how many answered."""
    known = {
        "InstanceId": scene.instance_id,
        "InstanceIds": json.dumps([scene.instance_id]),
        "IncludePublicKey": "true",
    }
    answered = 0
    for action in REGISTRY:
        if action.access == "read":
            with contextlib.suppress(CallFailed):  # a wrong parameter's answer is searched like any other
                scene.call(action.name, action.version, **_parameters(action, known))
                answered += 1
    return answered


def _parameters(action: Action, known: dict[str, str]) -> dict[str, str]:
    taken = {field.alias for field in action.params.model_fields.values()}
    if action.name == "DescribeInstanceStatus":
        taken.discard("InstanceId")  # a list there
    return {name: value for name, value in known.items() if name in taken}


def leaks(scene: Scene, processes: Processes, roots: list[Path], known: list[Secret]) -> list[str]:
    found = processes.leaks(known) + leaks_in_files(roots, known)
    for secret in known:
        told = [action for action, text in scene.answers if secret.is_in(text.encode())]
        found += [f"{action} told the {secret.name}" for action in told if action not in secret.answers]
        found += [f"ecsctl printed the {secret.name}" for text in scene.printed if secret.is_in(text.encode())]
    return found


def test_no_secret_is_where_it_must_not_be(agent: AgentProcess, libvirtd: PrivateLibvirt, tmp_path: Path) -> None:
    scene = Scene(agent, tmp_path / "home")
    known: list[Secret] = []
    with watched_processes() as processes:
        for flow in FLOWS:
            known += flow(scene)
        assert call_everything_that_reads(scene) > 25
        # As if somebody had asked over the network with a wrong signature.
        scene.answers.append(("RunInstances", wrongly_signed(agent, known[0].value)))
        agent.wait_jobs()
        found = leaks(scene, processes, [agent.root, libvirtd.root], known)
    agent.call("DeleteInstances", InstanceId=scene.made, Force="true")
    assert found == []
    [handed_over] = [secret for secret in known if secret.name == "private key"]
    assert sum(handed_over.is_in(text.encode()) for _, text in scene.answers) == 1
    assert "secret-test" in (agent.root / "log/audit.log").read_text(), "the audit log did not see the flows"


def wrongly_signed(agent: AgentProcess, password: str) -> str:
    """The answer to a RunInstances of signature version 1 with this password and a signature that is not right."""
    key = agent.call("CreateAccessKey", "2015-05-01")["AccessKey"]["AccessKeyId"]
    fields = {
        "Action": "RunInstances",
        "Version": ECS,
        "Format": "JSON",
        "AccessKeyId": key,
        "Signature": "AAAA",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": random_word(16),
        "Timestamp": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Password": password,
    }
    connection = agent.connect()
    with contextlib.closing(connection):
        connection.request("POST", "/", urlencode(fields), {"Content-Type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse().read().decode()
    assert "SignatureDoesNotMatch" in answer
    return answer
