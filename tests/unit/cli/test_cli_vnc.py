"""`ecsctl vnc`: the page's address, the way to it, and the password."""

from __future__ import annotations

import getpass
import json

import pytest

from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, error

URL = "http://127.0.0.1:8800/console/vnc#token"


@pytest.fixture
def listed(peer: Peer) -> Peer:
    peer.answers |= {
        "DescribeInstances": recorded.instances(recorded.instance(recorded.WEB, "web")),
        "DescribeInstanceVncUrl": {"VncUrl": URL},
        "DescribeInstanceVncPasswd": {"VncPasswd": "aB3xY9"},
        "ModifyInstanceVncPasswd": {},
    }
    return peer


@pytest.mark.parametrize("arguments", [("web",), ("open", "web"), (recorded.WEB,)])
def test_the_address_alone_is_printed(listed: Peer, ecsctl, arguments: tuple[str, ...]) -> None:
    done = ecsctl("vnc", *arguments)
    assert (done.stdout, done.stderr) == (f"{URL}\n", "")
    assert listed.calls[-1][0] == "DescribeInstanceVncUrl"
    assert listed.calls[-1][1]["InstanceId"] == recorded.WEB
    assert "DescribeInstanceVncPasswd" not in [name for name, _ in listed.calls]


def test_with_the_password_once(listed: Peer, ecsctl) -> None:
    assert ecsctl("vnc", "--password", "web").stdout == f"{URL}\nVNC password, shown this once: aB3xY9\n"
    shown = ecsctl("vnc", "web", "--password", "-o", "json").stdout
    assert json.loads(shown) == {"VncPasswd": "aB3xY9", "VncUrl": URL}
    message = "was shown already and is not shown again; set another one with ModifyInstanceVncPasswd."
    listed.answers["DescribeInstanceVncPasswd"] = error(403, "InvalidOperation.VncPasswdShown", message)
    assert "shown already" in ecsctl("vnc", "web", "--password", status=1).stderr


def test_over_ssh_the_way_to_the_page_is_told(listed: Peer, ecsctl, setting, sshd: int) -> None:
    public = (setting.directory / "host_key.pub").read_text()
    (setting.home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{sshd} {public}")
    user = getpass.getuser()
    done = ecsctl("--endpoint", f"ssh://{user}@127.0.0.1:{sshd}", "vnc", "web")
    assert done.stdout == f"{URL}\n"
    assert f"`ssh -N -L 8800:127.0.0.1:8800 -p {sshd} {user}@127.0.0.1`" in done.stderr


def test_a_browser_is_opened_on_request(listed: Peer, ecsctl, setting) -> None:
    seen = setting.directory / "seen"
    browser = setting.directory / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {seen}\n')
    browser.chmod(0o755)
    ecsctl("vnc", "web", "--open", env={"BROWSER": f"{browser} %s"})
    assert seen.read_text() == URL


def test_without_a_browser_the_address_is_still_there(listed: Peer, ecsctl, setting) -> None:
    done = ecsctl("vnc", "web", "--open", env={"BROWSER": "/bin/false %s", "PATH": "/nowhere", "DISPLAY": ""}, status=1)
    assert done.stdout == f"{URL}\n"
    assert "no browser could be started" in done.stderr


def test_the_password_is_changed_from_stdin(listed: Peer, ecsctl) -> None:
    done = ecsctl("vnc", "password", "web", "--password-stdin", stdin="New123\n")
    assert done.stdout == ""
    assert "next console restart" in done.stderr
    assert "New123" not in done.stderr
    name, sent = listed.calls[-1]
    assert (name, sent["VncPassword"]) == ("ModifyInstanceVncPasswd", "New123")


def test_without_a_terminal_the_password_is_not_asked_for(listed: Peer, ecsctl) -> None:
    assert "--password-stdin" in ecsctl("vnc", "password", "web", stdin="New123\n", status=2).stderr
    assert "ModifyInstanceVncPasswd" not in [name for name, _ in listed.calls]


def test_help_and_wrong_use(ecsctl) -> None:
    assert "vnc NAME" in ecsctl("vnc", "--help").stdout
    assert "Usage" in ecsctl("vnc", status=2).stderr
    ecsctl("vnc", "a", "b", status=2)
