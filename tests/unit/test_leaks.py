"""The search for secrets finds them: a test that could not fail would prove nothing."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from tests.support.leaks import Secret, leaks_in_files, others_can_read, watched_processes
from tests.support.waiting import wait_for

SECRET = Secret("password", 'a"b+c/ü-Passw0rd')
PLAIN = SECRET.value.encode()


@pytest.mark.parametrize(
    "text",
    [
        b"x" + PLAIN,
        quote_plus(SECRET.value).encode(),
        b'{"Password": "a\\"b+c/\\u00fc-Passw0rd"}',
        PLAIN.hex().encode(),
        *(base64.b64encode(bytes(lead) + PLAIN + bytes(tail)) for lead in range(4) for tail in range(4)),
    ],
)
def test_every_form_is_found(text: bytes) -> None:
    assert SECRET.is_in(text)


def test_others_are_not() -> None:
    assert not SECRET.is_in(b"")
    assert not SECRET.is_in(base64.b64encode(PLAIN[:-1]))


def test_files(tmp_path: Path) -> None:
    hidden = tmp_path / "directory" / "file"
    hidden.parent.mkdir()
    hidden.write_bytes(b"...." + PLAIN)
    (tmp_path / "empty").touch()
    assert leaks_in_files([tmp_path], [SECRET]) == [f"{hidden} holds the password"]
    kept = Secret("hash", SECRET.value, kept=True)
    hidden.chmod(0o640)
    assert leaks_in_files([tmp_path], [kept]) == []
    assert not others_can_read(hidden)


def test_a_kept_secret_that_others_can_read() -> None:
    # Below pytest's own directory nobody else can read anything.
    assert others_can_read(Path("/etc/passwd"))
    assert not others_can_read(Path("/etc/shadow"))
    [leak] = leaks_in_files([Path("/etc/pam.d")], [Secret("name", "pam_unix.so", kept=True)])[:1]
    assert leak.endswith("holds the name and others can read it")


@pytest.mark.parametrize("where", ["arguments", "environment"])
def test_processes(where: str) -> None:
    with watched_processes() as processes:
        arguments = [SECRET.value] if where == "arguments" else []
        environment = {"PASSWORD": SECRET.value} if where == "environment" else {}
        command = [sys.executable, "-c", "input()", *arguments]
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE) as process:
            wait_for("the process to be seen", lambda: processes.leaks([SECRET]))
            process.communicate(b"\n")
        assert processes.leaks([SECRET, Secret("other", "0ther-secret")]) == ["a process showed the password"]
