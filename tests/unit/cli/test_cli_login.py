"""The system's ssh and scp through our tunnel, to a real sshd that stands for a guest's."""

from __future__ import annotations

import asyncio
import getpass
import os
import subprocess
import sys

import pytest
from aiohttp import web

from tests.support import cli_answers as recorded
from tests.support.cli_peer import FORBIDDEN, Peer, TunnelHandler


def to_port(port: int) -> TunnelHandler:
    """The agent's end of a tunnel: a websocket in front of a TCP port."""

    async def bridge(stream: web.WebSocketResponse) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def outwards() -> None:
            while data := await reader.read(65536):
                await stream.send_bytes(data)
            await stream.send_bytes(b"")

        task = asyncio.create_task(outwards())
        async for message in stream:
            if not message.data:
                writer.write_eof()
            else:
                writer.write(message.data)
                await writer.drain()
        task.cancel()
        writer.close()

    return bridge


@pytest.fixture
def guest(peer: Peer, setting, sshd: int) -> Peer:
    """An instance whose port 22 is the sshd; the private key of its key pair is held."""
    peer.tunnel = to_port(sshd)
    peer.answers |= {
        "DescribeInstances": recorded.instances(recorded.instance(recorded.WEB, "web")),
        "DescribeDisks": recorded.system_disk(),
        "OpenTunnel": {"Path": "/tunnel/good", "ExpiresInSeconds": 30},
    }
    keys = setting.home / ".ecsctl" / "keys"
    keys.mkdir(parents=True, mode=0o700)
    (setting.home / ".ssh" / "id_ed25519").rename(keys / "main.pem")
    return peer


@pytest.mark.parametrize("bound", ["another", ""], ids=["bound", "unbound"])
def test_a_key_pair_that_waits_for_a_restart_locks_nobody_out(guest: Peer, setting, ecsctl, bound: str) -> None:
    """The guest knows the key it was started with, the API the one that it will have (SPEC K3)."""
    keys = setting.home / ".ecsctl" / "keys"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / "another.pem"], check=True)
    changed = recorded.instance(recorded.WEB, "web") | {"KeyPairName": bound}
    guest.answers["DescribeInstances"] = recorded.instances(changed)
    assert ecsctl("instance", "ssh", "-l", getpass.getuser(), "web", "--", "echo in").stdout == "in\n"


def test_commands_run_and_their_status_comes_back(guest: Peer, setting, ecsctl) -> None:
    user = getpass.getuser()
    assert ecsctl("instance", "ssh", "-l", user, "web", "--", "echo $((6*7)); exit 7", status=7).stdout == "42\n"
    assert ecsctl("instance", "ssh", f"{user}@web", "wc -c", stdin="x" * 1000000).stdout == "1000000\n"
    known = (setting.home / ".ecsctl" / "known_hosts").read_text()
    assert known.startswith(recorded.WEB + " ")


def test_a_guest_with_another_key_is_refused_and_a_new_instance_is_not(guest: Peer, setting, ecsctl) -> None:
    login = ("instance", "ssh", "-l", getpass.getuser(), "web", "true")
    ecsctl(*login)
    known = setting.home / ".ecsctl" / "known_hosts"
    other = (setting.directory / "authorized").read_text()
    known.write_text(f"{recorded.WEB} {other}")
    assert "Host key verification failed" in ecsctl(*login, status=255).stderr
    guest.answers["DescribeInstances"] = recorded.instances(recorded.instance(recorded.TWIN, "web"))
    ecsctl(*login)


def test_a_new_system_disk_has_new_keys_and_nothing_else_has(guest: Peer, setting, ecsctl) -> None:
    """SPEC D8: whoever replaced it, and whichever ecsctl is used."""
    login = ("instance", "ssh", "-l", getpass.getuser(), "web", "true")
    ecsctl(*login)
    known = setting.home / ".ecsctl" / "known_hosts"
    other = (setting.directory / "authorized").read_text()
    known.write_text(f"{recorded.WEB} {other}")
    ecsctl(*login, status=255)
    guest.answers["DescribeDisks"] = recorded.system_disk("d-bbbbbbbbbbbbbbbbbbbb")
    ecsctl(*login)
    known.write_text(f"{recorded.WEB} {other}")
    ecsctl(*login, status=255)
    guest.answers["DescribeDisks"] = FORBIDDEN  # who may not see disks gets no benefit of a doubt
    ecsctl(*login, status=255)


def test_keys_that_an_older_ecsctl_has_kept_still_count(guest: Peer, setting, ecsctl) -> None:
    login = ("instance", "ssh", "-l", getpass.getuser(), "web", "true")
    ecsctl("instance", "ls")
    known = setting.home / ".ecsctl" / "known_hosts"
    known.write_text(f"{recorded.WEB} {(setting.directory / 'authorized').read_text()}")
    assert "Host key verification failed" in ecsctl(*login, status=255).stderr


def test_files_go_both_ways(guest: Peer, setting, ecsctl) -> None:
    user, here = getpass.getuser(), setting.directory
    content = os.urandom(3_000_000)
    (here / "a file").write_bytes(content)
    ecsctl("instance", "cp", "-l", user, str(here / "a file"), f"web:{here}/there")
    ecsctl("instance", "cp", "-l", user, f"web:{here}/there", str(here / "back"))
    assert (here / "back").read_bytes() == content
    (here / "tree").mkdir()
    (here / "tree" / "leaf").write_text("x")
    ecsctl("instance", "cp", "-r", "-l", user, str(here / "tree"), f"web:{here}/copy")
    assert (here / "copy" / "leaf").read_text() == "x"
    ecsctl("instance", "cp", "-l", user, "web:/no/such", str(here / "x"), status=1)


def test_plain_ssh_and_rsync_style_use_by_host_name(guest: Peer, setting, ecsctl) -> None:
    ecsctl("config", "ssh")
    entry = setting.home / ".ecsctl" / "ssh_config"
    command = ["ssh", "-F", str(entry), "-o", "BatchMode=yes", f"{getpass.getuser()}@web.ecs", "echo $((6*7))"]
    for _ in range(2):
        done = subprocess.run(command, env=setting.environ, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    assert (setting.home / ".ecsctl" / "ssh" / "web.ecs").is_symlink()


def test_wait_sees_the_banner(guest: Peer, ecsctl) -> None:
    ecsctl("instance", "wait", "web", "--for", "ssh", "--timeout", "30")


def test_a_terminal_gets_a_live_line(guest: Peer, setting) -> None:
    """Progress on a terminal is one line, rewritten and in the end removed."""
    import pty

    guest.answers["DescribeInstances"] = [
        recorded.instances(recorded.instance(recorded.WEB, "web", "Starting")),
        recorded.instances(recorded.instance(recorded.WEB, "web", "Starting")),
        recorded.instances(recorded.instance(recorded.WEB, "web")),
    ]
    guest.answers |= {"StartInstance": {}, "DescribeJobs": recorded.jobs(recorded.job("Running"))}
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ecsctl", "instance", "start", recorded.WEB],
        env=setting.environ | {"TERM": "xterm"},
        stderr=terminal,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    assert process.wait(30) == 0
    os.close(terminal)
    shown = os.read(controller, 65536).decode()
    os.close(controller)
    assert process.stdout is not None
    process.stdout.close()
    assert "\rstart web: step 3/7, start domain, 40 %  0 s\x1b[K" in shown
    assert shown.endswith("\r\x1b[K")
    assert "\n" not in shown
