"""`instance set`, `password`, `user-data` and `key-pair attach`, `detach`: what they send and say."""

from __future__ import annotations

import base64
import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest

from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, error, listing

SECRET = "Secret-123"


@pytest.fixture
def two(peer: Peer) -> Peer:
    """web runs, db is stopped."""
    found = [recorded.instance(recorded.WEB, "web"), recorded.instance(recorded.DATABASE, "db", "Stopped")]

    def described(parameters: dict[str, str]) -> Any:
        wanted = json.loads(parameters.get("InstanceIds", "[]"))
        chosen = [one for one in found if not wanted or one["InstanceId"] in wanted]
        return listing("Instances.Instance", chosen)(parameters)

    peer.answers |= {
        "DescribeInstances": described,
        "ModifyInstanceAttribute": {},
        "ResetInstancePasswords": {"JobIds": {"JobId": []}},
    }
    return peer


def sent(peer: Peer, action: str) -> dict[str, str]:
    return {name: value for name, value in peer.parameters(action).items() if name != "RegionId"}


def results(*failed: str) -> dict[str, object]:
    made = [
        {
            "InstanceId": one,
            "Code": "IncorrectInstanceStatus" if one in failed else "200",
            "Message": "it is Stopping" if one in failed else "successful",
            "Success": "false" if one in failed else "true",
        }
        for one in (recorded.WEB, recorded.DATABASE)
    ]
    return {"KeyPairName": "main", "TotalCount": "2", "FailCount": str(len(failed)), "Results": {"Result": made}}


def test_set(two: Peer, ecsctl, setting) -> None:
    script = setting.directory / "script"
    script.write_bytes(b"#!/bin/sh\n\xff")
    done = ecsctl(
        *("instance", "set", "db", "--name", "new", "--description", "", "--host-name", "h2"),
        *("--user-data", str(script), "--deletion-protection"),
    )
    assert sent(two, "ModifyInstanceAttribute") == {
        "InstanceId": recorded.DATABASE,
        "InstanceName": "new",
        "Description": "",
        "HostName": "h2",
        "UserData": base64.b64encode(b"#!/bin/sh\n\xff").decode(),
        "DeletionProtection": "true",
    }
    assert done.stdout == ""
    assert "the new host name takes effect by `ecsctl instance start db`, not before" in done.stderr
    ecsctl("instance", "set", recorded.WEB, "--no-deletion-protection")
    assert sent(two, "ModifyInstanceAttribute") == {"InstanceId": recorded.WEB, "DeletionProtection": "false"}
    [shown] = json.loads(ecsctl("instance", "set", "web", "--name", "x", "-o", "json").stdout)
    assert shown["InstanceId"] == recorded.WEB


def test_set_refuses(two: Peer, ecsctl, setting) -> None:
    assert "nothing to change" in ecsctl("instance", "set", "web", status=2).stderr
    ecsctl("instance", "set", "absent", "--name", "x", status=3)
    large = setting.directory / "large"
    large.write_bytes(bytes(16 * 1024 + 1))
    assert "16384 are allowed" in ecsctl("instance", "set", "db", "--user-data", str(large), status=2).stderr
    two.answers["ModifyInstanceAttribute"] = error(403, "IncorrectInstanceStatus", "The current status is Running.")
    running = ecsctl("instance", "set", "web", "--user-data", "-", stdin="#!/bin/sh\n", status=1)
    assert "`ecsctl instance stop web` first" in running.stderr


def test_password_of_several(two: Peer, ecsctl, setting) -> None:
    done = ecsctl("instance", "password", "web", "db", "--password-stdin", stdin=f"{SECRET}\nignored\n")
    ids = {"InstanceId.1": recorded.WEB, "InstanceId.2": recorded.DATABASE}
    assert sent(two, "ResetInstancePasswords") == {**ids, "Password": SECRET}
    assert two.versions["ResetInstancePasswords"] == "2026-11-01"
    assert "the new password takes effect by `ecsctl instance reboot web`, not before" in done.stderr
    assert "the new password takes effect by `ecsctl instance start db`, not before" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    file = setting.directory / "password"
    file.write_text(f"{SECRET}x\n")
    ecsctl("instance", "password", "web", "--password-file", str(file))
    assert sent(two, "ResetInstancePasswords") == {"InstanceId.1": recorded.WEB, "Password": f"{SECRET}x"}


def test_password_is_asked_for_on_the_terminal(two: Peer, setting) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "ecsctl", "instance", "password", "web"]
    with subprocess.Popen(
        command, env=setting.environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = b""
        for prompt in (b"Password: ", b"Repeat for confirmation: "):
            while not shown.endswith(prompt):
                shown += os.read(ours, 1000)
            os.write(ours, f"{SECRET}\n".encode())
        assert process.wait(60) == 0
    os.close(ours)
    assert SECRET.encode() not in shown
    assert sent(two, "ResetInstancePasswords")["Password"] == SECRET


def test_password_refuses(two: Peer, ecsctl, setting) -> None:
    ecsctl("instance", "password", "web", "--password-stdin", "--password-file", "x", status=2, stdin="x\n")
    ecsctl("instance", "password", "web", "--password-stdin", status=2)
    ecsctl("instance", "password", "absent", "--password-stdin", status=3, stdin=SECRET)
    assert "ResetInstancePasswords" not in two.actions()
    two.answers["ResetInstancePasswords"] = error(400, "InvalidPassword.Malformed", "Password *** is not valid.")
    done = ecsctl("instance", "password", "web", "--password-stdin", status=1, stdin="short")
    assert "InvalidPassword.Malformed" in done.stderr


def test_password_now_waits_for_the_guests(two: Peer, ecsctl) -> None:
    two.answers["ResetInstancePasswords"] = {"JobIds": {"JobId": ["t-1"]}}
    two.answers["DescribeJobs"] = [recorded.jobs(recorded.job("Running")), recorded.jobs(recorded.job("Succeeded"))]
    done = ecsctl("instance", "password", "web", "--now", "--password-stdin", stdin=SECRET)
    assert sent(two, "ResetInstancePasswords")["Now"] == "true"
    assert two.parameters("DescribeJobs")["JobId.1"] == "t-1"
    assert "takes effect" not in done.stderr
    two.answers["DescribeJobs"] = recorded.jobs(recorded.job("Failed", Message="the guest agent does not answer"))
    failed = ecsctl("instance", "password", "web", "--now", "--password-stdin", stdin=SECRET, status=1)
    assert "the guest agent does not answer" in failed.stderr


def test_user_data_as_it_was_given(two: Peer, ecsctl) -> None:
    text = "#!/bin/sh\necho ü"
    two.answers["DescribeUserData"] = {
        "InstanceId": recorded.WEB,
        "RegionId": "local",
        "UserData": base64.b64encode(text.encode()).decode(),
    }
    assert ecsctl("instance", "user-data", "web").stdout == text
    assert sent(two, "DescribeUserData") == {"InstanceId": recorded.WEB}
    shown = json.loads(ecsctl("instance", "user-data", "web", "-o", "json").stdout)
    assert base64.b64decode(shown["UserData"]).decode() == text


@pytest.mark.parametrize(
    ("verb", "action", "what"),
    [("attach", "AttachKeyPair", "the key pair main"), ("detach", "DetachKeyPair", "the end of the key pair main")],
)
def test_binding(two: Peer, ecsctl, verb: str, action: str, what: str) -> None:
    two.answers[action] = results()
    done = ecsctl("key-pair", verb, "main", "web", recorded.DATABASE)
    assert sent(two, action) == {
        "KeyPairName": "main",
        "InstanceIds": json.dumps([recorded.WEB, recorded.DATABASE]),
    }
    assert done.stdout == ""
    assert f"{what} takes effect by `ecsctl instance reboot web`, not before" in done.stderr
    assert f"{what} takes effect by `ecsctl instance start db`, not before" in done.stderr
    listed = ecsctl("key-pair", verb, "main", "web", "db", "-o", "name").stdout.split()
    assert listed == ["web", "db"]


def test_what_could_not_be_bound_is_told(two: Peer, ecsctl) -> None:
    two.answers["AttachKeyPair"] = results(recorded.WEB)
    done = ecsctl("key-pair", "attach", "main", "web", "db", status=1)
    assert f"Error: key pair main was not bound: {recorded.WEB}: IncorrectInstanceStatus: it is Stopping" in done.stderr
    assert "instance start db" in done.stderr
    assert "instance reboot web" not in done.stderr
    ecsctl("key-pair", "detach", "main", "absent", status=3)
