"""Roles, policies and who is calling: what the commands send and print."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Any

import pytest

from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, error, listing

ACCOUNT = "1000000000000001"
OWNER = {"AccountId": ACCOUNT, "Arn": f"acs:ram::{ACCOUNT}:root", "IdentityType": "Account", "PrincipalId": ACCOUNT}
TRUST = {"Principal": {"Service": ["ecs.aliyuncs.com"], "RAM": f"acs:ram::{ACCOUNT}:root"}}
ROLE = {"RoleName": "reader", "RoleId": "3", "MaxSessionDuration": 3600, "CreateDate": "2026-11-23T07:35:12Z"}


def marked(wrapper: str, items: list[dict[str, Any]]) -> Any:
    """A list of RAM, two items a page."""
    outer, inner = wrapper.split(".")

    def answer(parameters: dict[str, str]) -> Any:
        start = int(parameters.get("Marker") or 0)
        kind = parameters.get("PolicyType")
        found = [item for item in items if kind in (None, item.get("PolicyType"))]
        more = start + 2 < len(found)
        page = {outer: {inner: found[start : start + 2]}, "IsTruncated": more}
        return page | ({"Marker": str(start + 2)} if more else {})

    return answer


@pytest.fixture
def ram(peer: Peer) -> Peer:
    policies = [{"PolicyName": f"System{n}", "PolicyType": "System", "AttachmentCount": 0} for n in range(3)]
    policies.append({"PolicyName": "mine", "PolicyType": "Custom", "AttachmentCount": 1})
    peer.answers |= {
        "GetCallerIdentity": OWNER,
        "ListRoles": marked("Roles.Role", [ROLE | {"RoleName": name} for name in ("reader", "writer", "worker")]),
        "GetRole": {"Role": ROLE | {"AssumeRolePolicyDocument": json.dumps({"Statement": TRUST})}},
        "ListPolicies": marked("Policies.Policy", policies),
        "ListPoliciesForRole": {"Policies": {"Policy": [policies[0], policies[3]]}},
        "DescribeInstances": listing("Instances.Instance", [recorded.instance(recorded.WEB, "web")]),
    }
    for action in ("DeleteRole", "CreatePolicy", "DeletePolicy", "AttachPolicyToRole", "DetachPolicyFromRole"):
        peer.answers[action] = {"Policy": {}}
    peer.answers["CreateRole"] = {"Role": ROLE}
    return peer


def test_a_role_trusts_instances_and_the_account_unless_told_otherwise(ecsctl: Any, ram: Peer) -> None:
    ecsctl("role", "create", "reader", "--max-session", "7200")
    sent = ram.parameters("CreateRole")
    assert (sent["RoleName"], sent["MaxSessionDuration"]) == ("reader", "7200")
    [statement] = json.loads(sent["AssumeRolePolicyDocument"])["Statement"]
    own = [f"acs:ram::{ACCOUNT}:root"]
    assert statement["Principal"] == {"Service": ["ecs.aliyuncs.com"], "RAM": own}
    ecsctl("role", "create", "other", "--account", "1000000000000002")
    [statement] = json.loads(ram.parameters("CreateRole")["AssumeRolePolicyDocument"])["Statement"]
    assert statement["Principal"] == {"RAM": ["acs:ram::1000000000000002:root"]}
    ecsctl("role", "create", "own", "--trust-policy", "-", stdin='{"Version": "1"}')
    assert ram.parameters("CreateRole")["AssumeRolePolicyDocument"] == '{"Version": "1"}'
    ecsctl("role", "create", "both", "--trust-policy", "-", "--account", "1", status=2)
    ecsctl("role", "create", "none", "--trust-policy", "/nowhere", status=1)


def test_roles_are_listed_over_all_pages_and_shown(ecsctl: Any, ram: Peer) -> None:
    assert ecsctl("role", "ls", "-o", "name").stdout.split() == ["reader", "writer", "worker"]
    shown = ecsctl("role", "show", "reader").stdout
    assert "System0,mine" in shown
    assert f"ecs.aliyuncs.com, acs:ram::{ACCOUNT}:root" in shown
    ecsctl("role", "delete", "reader", "writer")
    assert [given["RoleName"] for action, given in ram.calls if action == "DeleteRole"] == ["reader", "writer"]


def test_an_assumed_role_is_lines_for_a_shell(ecsctl: Any, ram: Peer) -> None:
    given = {"AccessKeyId": "STS.x", "AccessKeySecret": "s'q", "SecurityToken": "t=", "Expiration": "soon"}
    ram.answers["AssumeRole"] = {"Credentials": given, "AssumedRoleUser": {"Arn": "acs:…"}}
    done = ecsctl("role", "assume", "reader", "--duration", "900", "--session", "me")
    variables = " ".join(f"$ALIBABA_CLOUD_{name}" for name in ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN"))
    told = subprocess.run(["sh", "-c", f"{done.stdout}\necho {variables}"], capture_output=True, text=True)
    assert told.stdout == "STS.x s'q t=\n"
    assert "soon" in done.stderr
    sent = ram.parameters("AssumeRole")
    assert sent["RoleArn"] == f"acs:ram::{ACCOUNT}:role/reader"
    assert (sent["DurationSeconds"], sent["RoleSessionName"]) == ("900", "me")
    ecsctl("role", "assume", "acs:ram::2:role/theirs")
    assert ram.parameters("AssumeRole")["RoleArn"] == "acs:ram::2:role/theirs"


def test_expired_credentials_are_told_with_advice(ecsctl: Any, ram: Peer) -> None:
    ram.answers["GetCallerIdentity"] = error(400, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
    assert "assume the role again" in ecsctl("caller", status=4).stderr


def test_policies(ecsctl: Any, ram: Peer) -> None:
    ecsctl("policy", "create", "mine", "--file", "-", stdin="{}")
    assert ram.parameters("CreatePolicy") == {"PolicyName": "mine", "PolicyDocument": "{}"}
    assert ecsctl("policy", "ls", "-o", "name").stdout.split() == ["System0", "System1", "System2", "mine"]
    assert ecsctl("policy", "ls", "--type", "Custom", "-o", "name").stdout.split() == ["mine"]
    # The type follows from the name, on whatever page it is.
    ecsctl("policy", "attach", "mine", "reader")
    named = {"PolicyName": "mine", "PolicyType": "Custom", "RoleName": "reader"}
    assert ram.parameters("AttachPolicyToRole") == named
    ecsctl("policy", "detach", "System2", "reader")
    assert ram.parameters("DetachPolicyFromRole") == named | {"PolicyName": "System2", "PolicyType": "System"}
    assert "there is no policy named" in ecsctl("policy", "attach", "nothing", "reader", status=3).stderr
    ram.answers["GetPolicy"] = {"Policy": {}, "DefaultPolicyVersion": {"PolicyDocument": '{"Version": "1"}'}}
    assert ecsctl("policy", "show", "mine").stdout == '{"Version": "1"}\n'
    ecsctl("policy", "delete", "mine")
    assert ram.parameters("DeletePolicy") == {"PolicyName": "mine"}


def test_the_role_of_an_instance(ecsctl: Any, ram: Peer) -> None:
    ok = {"InstanceId": recorded.WEB, "Success": True, "Code": "200", "Message": "success"}
    ram.answers["AttachInstanceRamRole"] = {"AttachInstanceRamRoleResults": {"AttachInstanceRamRoleResult": [ok]}}
    ecsctl("instance", "role", "attach", "web", "reader")
    sent = ram.parameters("AttachInstanceRamRole")
    assert (json.loads(sent["InstanceIds"]), sent["RamRoleName"]) == ([recorded.WEB], "reader")
    failed = ok | {"Success": False, "Code": "InvalidRamRole.NotAttached", "Message": "It has none."}
    results = {"DetachInstanceRamRoleResults": {"DetachInstanceRamRoleResult": [failed]}}
    ram.answers["DetachInstanceRamRole"] = results
    assert "1 of 1 instances: It has none." in ecsctl("instance", "role", "detach", "web", status=1).stderr
    found = [{"InstanceId": recorded.WEB, "RamRoleName": "reader"}]
    ram.answers["DescribeInstanceRamRole"] = listing("InstanceRamRoleSets.InstanceRamRoleSet", found)
    assert ecsctl("instance", "role", "show", "web", "-o", "name").stdout == "reader\n"


def test_metadata_options(ecsctl: Any, ram: Peer) -> None:
    options = {"MetadataOptions": {"HttpEndpoint": "enabled", "HttpTokens": "required"}}
    web = recorded.instance(recorded.WEB, "web", **options)
    ram.answers["DescribeInstances"] = listing("Instances.Instance", [web])
    ram.answers["ModifyInstanceMetadataOptions"] = {}
    assert "required" in ecsctl("instance", "metadata-options", "web").stdout
    for arguments, sent in (
        (("--tokens", "required"), {"HttpTokens": "required"}),
        (("--disabled",), {"HttpEndpoint": "disabled"}),
        (("--enabled", "--tokens", "optional"), {"HttpEndpoint": "enabled", "HttpTokens": "optional"}),
    ):
        ecsctl("instance", "metadata-options", "web", *arguments)
        given = ram.parameters("ModifyInstanceMetadataOptions")
        assert {k: v for k, v in given.items() if k.startswith("Http")} == sent


def test_who_is_calling(ecsctl: Any, ram: Peer) -> None:
    assert f"acs:ram::{ACCOUNT}:root" in ecsctl("caller").stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["role", "show", "w"], ["worker", "writer"]),
        (["policy", "attach", "Sys"], ["System0", "System1", "System2"]),
        (["policy", "delete", ""], ["mine"]),
        (["policy", "attach", "mine", "r"], ["reader"]),
    ],
)
def test_names_are_completed(ecsctl: Any, ram: Peer, words: list[str], expected: list[str]) -> None:
    line = shlex.join(["ecsctl", *words])
    env = {"_ECSCTL_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    assert [one.partition(",")[2] for one in ecsctl(env=env).stdout.split()] == expected


def test_temporary_credentials_of_the_environment_are_used(ecsctl: Any, ram: Peer) -> None:
    ram.keys["STS.x"] = "secret"
    env = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "STS.x",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
        "ALIBABA_CLOUD_SECURITY_TOKEN": "token=",
    }
    ecsctl("caller", env=env)
    assert (ram.signed_by, ram.tokens) == (["STS.x"], ["token="])
    # The token belongs to the environment's key and to no other.
    ecsctl("caller", env={"ALIBABA_CLOUD_SECURITY_TOKEN": "token="})
    assert ram.tokens == ["token="]
