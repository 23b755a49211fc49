"""Streams into guests: `instance dial`, `ssh`, `cp`, `wait`, and dial-stdio."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, error

MEGABYTES = os.urandom(1 << 20) * 8


@pytest.fixture
def guest(peer: Peer) -> Peer:
    peer.answers |= {
        "DescribeInstances": recorded.instances(recorded.instance(recorded.WEB, "web")),
        "DescribeDisks": recorded.system_disk(),
        "OpenTunnel": {"Path": "/tunnel/good", "ExpiresInSeconds": 30},
    }
    return peer


def dial(setting, payload: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "ecsctl", *arguments],
        input=payload,
        capture_output=True,
        env=setting.environ,
        timeout=60,
    )


def test_megabytes_go_there_and_back(guest: Peer, setting) -> None:
    async def until_end(stream: web.WebSocketResponse) -> None:
        async for message in stream:
            if message.type is not WSMsgType.BINARY:
                continue
            await stream.send_bytes(message.data)
            if not message.data:
                return

    guest.tunnel = until_end
    done = dial(setting, MEGABYTES, "instance", "dial", "web", "8080")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == MEGABYTES
    assert guest.parameters("OpenTunnel") == {"InstanceId": recorded.WEB, "Port": "8080"}


def test_half_close_lets_the_answer_come(guest: Peer, setting) -> None:
    """The far end answers only after the end of our input, as `cat` into a counting server would."""

    async def count(stream: web.WebSocketResponse) -> None:
        total = 0
        while data := (await stream.receive_bytes()):
            total += len(data)
        await stream.send_bytes(str(total).encode())
        await stream.close()

    guest.tunnel = count
    assert dial(setting, MEGABYTES, "instance", "dial", "web").stdout == str(len(MEGABYTES)).encode()


def test_a_banner_that_comes_with_the_handshake_is_not_lost(guest: Peer, setting) -> None:
    async def greet(stream: web.WebSocketResponse) -> None:
        await stream.send_bytes(b"SSH-2.0-test\r\n")
        assert await stream.receive_bytes() == b"hello"
        await stream.close()

    guest.tunnel = greet
    process = subprocess.Popen(
        [sys.executable, "-m", "ecsctl", "instance", "dial", "web"],
        env=setting.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"SSH-2.0-test\r\n"
    process.stdin.write(b"hello")
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()


def test_dial_ends_when_nobody_reads_it_any_more(guest: Peer, setting) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ecsctl", "instance", "dial", "web"],
        env=setting.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"x")
    process.stdin.flush()
    assert process.stdout.read(1) == b"x"
    process.stdout.close()
    assert process.wait(20) == 0
    process.stdin.close()


def test_refusals_are_told(guest: Peer, setting, ecsctl) -> None:
    guest.answers["OpenTunnel"] = {"Path": "/tunnel/old", "ExpiresInSeconds": 30}
    assert "The tunnel has expired." in ecsctl("instance", "dial", "web", status=1).stderr
    guest.answers["OpenTunnel"] = error(403, "IncorrectInstanceStatus", "it must be Running")
    assert "must be Running" in ecsctl("instance", "dial", "web", status=1).stderr

    async def break_off(stream: web.WebSocketResponse) -> None:
        await stream.close(code=1011, message=b"connection refused by the guest")

    guest.answers["OpenTunnel"] = {"Path": "/tunnel/good", "ExpiresInSeconds": 30}
    guest.tunnel = break_off
    assert "connection refused by the guest" in ecsctl("instance", "dial", "web", status=1).stderr


@pytest.fixture
def tools(setting) -> Path:
    """A directory with `ssh` and `scp` that print their arguments, first on the PATH."""
    directory = setting.directory / "bin"
    directory.mkdir()
    for name in ("ssh", "scp"):
        tool = directory / name
        tool.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 42\n')
        tool.chmod(0o755)
    setting.environ["PATH"] = f"{directory}:{setting.environ['PATH']}"
    return directory


def test_ssh_runs_the_systems_ssh_through_the_tunnel(guest: Peer, setting, ecsctl, tools: Path) -> None:
    key = setting.home / ".ecsctl" / "keys" / "main.pem"
    key.parent.mkdir(parents=True)
    key.touch()
    arguments = ecsctl("--region", "local", "instance", "ssh", "web", "--", "ls", "-l", "a b", status=42).stdout
    lines = arguments.splitlines()
    assert f"HostKeyAlias={recorded.WEB}" in lines
    assert "StrictHostKeyChecking=accept-new" in lines
    assert lines[lines.index("-i") + 1] == str(key)
    assert lines[lines.index("-l") + 1] == "root"
    proxy = next(line for line in lines if line.startswith("ProxyCommand="))
    assert proxy.endswith(f"-m ecsctl --region local instance dial {recorded.WEB} %p")
    assert lines[lines.index("--") :] == ["--", recorded.WEB, "ls", "-l", "a b"]
    lines = ecsctl("instance", "ssh", "web", "-l", "me", "uptime", status=42).stdout.splitlines()
    assert lines[lines.index("-l") + 1] == "me"
    assert lines[-2:] == [recorded.WEB, "uptime"]
    lines = ecsctl("instance", "ssh", "you@web", status=42).stdout.splitlines()
    assert lines[lines.index("-l") + 1] == "you"


def test_cp_builds_scps_paths(guest: Peer, ecsctl, tools: Path) -> None:
    lines = ecsctl("instance", "cp", "-r", "some:file", "./a", "web:/tmp", status=2).stderr
    assert "one instance" in lines
    lines = ecsctl("instance", "cp", "-r", "-l", "me", "file", "./a:b", "web:/tmp/x y", status=42).stdout.splitlines()
    assert lines[lines.index("--") :] == ["--", "./file", "./a:b", f"me@{recorded.WEB}:/tmp/x y"]
    assert "-r" in lines
    ecsctl("instance", "cp", "a", "b", status=2)


def test_ssh_needs_a_running_instance_and_an_ssh(guest: Peer, setting, ecsctl) -> None:
    setting.environ["PATH"] = "/nonexistent"
    assert "openssh-client" in ecsctl("instance", "ssh", "web", status=1).stderr
    guest.answers["DescribeInstances"] = recorded.instances(recorded.instance(recorded.WEB, "web", "Stopped"))
    assert "instance start" in ecsctl("instance", "ssh", "web", status=1).stderr


def test_wait_for_ssh(guest: Peer, ecsctl) -> None:
    attempts: list[int] = []

    async def third_time(stream: web.WebSocketResponse) -> None:
        attempts.append(1)
        if len(attempts) < 3:
            await stream.close(code=1011, message=b"no route")
            return
        await stream.send_bytes(b"SSH-2.0-dropbear\r\n")
        await stream.receive()

    guest.tunnel = third_time
    ecsctl("instance", "wait", "web", "--for", "ssh", "--timeout", "30")
    assert len(attempts) == 3


def test_wait_that_ends_in_vain_says_where_the_guest_hangs(guest: Peer, ecsctl) -> None:
    async def silent(stream: web.WebSocketResponse) -> None:
        await stream.receive()

    guest.tunnel = silent
    guest.answers["DescribeInstanceDiagnosis"] = {
        "Status": "Running",
        "Reason": "no DHCP request was seen",
        "ConsoleTail": "GRUB loading.\nerror: no such partition.\x1b[0m",
        "NetworkEvents": {"NetworkEvent": [{"Time": "2026-11-23T08:00:00Z", "What": "link up"}]},
        "Jobs": {"Job": []},
        "Advice": "look at the image",
    }
    said = ecsctl("instance", "wait", "web", "--timeout", "1", status=6).stderr
    for part in ("no DHCP request was seen", "error: no such partition.", "link up", "look at the image"):
        assert part in said
    assert "\x1b" not in said


def test_wait_gives_up_on_an_instance_that_will_not_run(guest: Peer, ecsctl) -> None:
    guest.answers |= {
        "DescribeInstances": recorded.instances(recorded.instance(recorded.WEB, "web", "Stopped")),
        "DescribeJobs": recorded.jobs(recorded.job("Failed", Message="qemu did not start")),
    }
    assert "qemu did not start" in ecsctl("instance", "wait", "web", status=1).stderr


def test_console_output_is_decoded(guest: Peer, ecsctl) -> None:
    guest.answers["GetInstanceConsoleOutput"] = {"ConsoleOutput": "b25lCnR3bwo=", "InstanceId": recorded.WEB}
    assert ecsctl("instance", "console-output", "web").stdout == "one\ntwo\n"
    assert ecsctl("instance", "console-output", "web", "--lines", "1").stdout == "two\n"


def test_dial_stdio_half_closes(setting) -> None:
    """What the ssh:// transport runs on the host: bytes as they are, the end of input passed on."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(setting.socket))
    listener.listen()

    def answer_after_the_end() -> None:
        connection, _ = listener.accept()
        with connection:
            received = b""
            while data := connection.recv(65536):
                received += data
            connection.sendall(received[::-1])

    thread = threading.Thread(target=answer_after_the_end)
    thread.start()
    done = dial(setting, MEGABYTES, "dial-stdio")
    thread.join(20)
    listener.close()
    assert done.returncode == 0, done.stderr
    assert done.stdout == MEGABYTES[::-1]


def test_dial_stdio_without_an_agent(ecsctl) -> None:
    assert "is the agent running" in ecsctl("dial-stdio", status=5).stderr
