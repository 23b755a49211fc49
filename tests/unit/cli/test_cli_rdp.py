"""`instance rdp`: address, file, and a local port through the agent (SPEC L2)."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer

WINDOWS = {"OSType": "windows", "OSName": "Windows Server 2022"}


@pytest.fixture
def guest(peer: Peer) -> Peer:
    peer.answers |= {
        "DescribeInstances": recorded.instances(recorded.instance(recorded.WEB, "web", **WINDOWS)),
        "OpenTunnel": {"Path": "/tunnel/good", "ExpiresInSeconds": 30},
    }
    return peer


def private_ip() -> str:
    found = recorded.instance(recorded.WEB, "web")
    return str(found["VpcAttributes"]["PrivateIpAddress"]["IpAddress"][0])


def test_the_address_and_a_file(guest: Peer, ecsctl, tmp_path: Path) -> None:
    file = tmp_path / "web.rdp"
    assert ecsctl("instance", "rdp", "web", "--file", str(file)).stdout == f"{private_ip()}:3389\n"
    lines = file.read_bytes().split(b"\r\n")
    assert f"full address:s:{private_ip()}:3389".encode() in lines
    assert b"username:s:Administrator" in lines
    assert not any(line.startswith(b"password") for line in lines)


def test_a_public_address_comes_first(guest: Peer, ecsctl) -> None:
    found = recorded.instance(recorded.WEB, "web", **WINDOWS, PublicIpAddress={"IpAddress": ["203.0.113.7"]})
    guest.answers["DescribeInstances"] = recorded.instances(found)
    assert ecsctl("instance", "rdp", "web").stdout == "203.0.113.7:3389\n"


def test_what_cannot_be(guest: Peer, ecsctl, tmp_path: Path) -> None:
    assert "--forward" in ecsctl("instance", "rdp", "web", "--port", "5000", status=2).stderr
    assert "No such file" in ecsctl("instance", "rdp", "web", "--file", f"{tmp_path}/no/x.rdp", status=1).stderr
    guest.answers["DescribeInstances"] = recorded.instances(recorded.instance(recorded.WEB, "web"))
    assert "ecsctl instance ssh web" in ecsctl("instance", "rdp", "web", status=2).stderr


@pytest.fixture
def forwarding(guest: Peer, setting, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """ecsctl instance rdp --forward, and its local port."""
    command = [sys.executable, "-m", "ecsctl", "instance", "rdp", "web", "--forward", "--file", str(tmp_path / "x.rdp")]
    process = subprocess.Popen(command, env=setting.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    yield process, int(process.stdout.readline().rpartition(":")[2])
    process.kill()
    process.communicate()


def test_a_local_port_leads_there(guest: Peer, forwarding, tmp_path: Path) -> None:
    process, port = forwarding
    assert f"full address:s:127.0.0.1:{port}\r\n".encode() in (tmp_path / "x.rdp").read_bytes()
    with socket.create_connection(("127.0.0.1", port), 10) as one, socket.create_connection(("127.0.0.1", port)) as two:
        for connection, word in ((two, b"second"), (one, b"first")):
            connection.settimeout(10)
            connection.sendall(word)
            assert connection.recv(100) == word
    assert guest.parameters("OpenTunnel") == {"InstanceId": recorded.WEB, "Port": "3389"}
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
