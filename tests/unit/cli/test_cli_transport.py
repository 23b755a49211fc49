"""Signature v3, http, https and ssh."""

from __future__ import annotations

import datetime as dt
import getpass
import ipaddress
import ssl
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from alibabacloud_tea_openapi.utils import Utils
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from Tea.request import TeaRequest

from ecsctl import signature
from ecsctl.client import Client
from ecsctl.config import Settings
from ecsctl.errors import Unreachable
from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, listing
from tests.support.ports import free_port

KEYS = {"LTAI-x": "secret"}


def test_signature_is_the_one_of_the_public_sdk() -> None:
    body = b"RegionId=local&InstanceName=%E4%B8%AD%20a%2Ab"
    headers = signature.headers("DescribeInstances", "2014-05-26", "127.0.0.1:8800", body)
    del headers["accept"]  # the SDK signs it too, we need not
    request = TeaRequest()
    request.method, request.pathname, request.query, request.headers = "POST", "/", {}, dict(headers)
    theirs = Utils.get_authorization(request, "ACS3-HMAC-SHA256", headers["x-acs-content-sha256"], "LTAI-x", "secret")
    assert signature.authorization(headers, "LTAI-x", "secret") == theirs


@pytest.fixture
def listed(peer: Peer) -> Peer:
    peer.keys = KEYS
    peer.answers["DescribeInstances"] = listing("Instances.Instance", [recorded.instance(recorded.WEB, "web")])
    return peer


@pytest.fixture
def with_key(setting) -> dict[str, str]:
    return {"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI-x", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret"}


def test_http(listed: Peer, ecsctl, with_key: dict[str, str]) -> None:
    listed.start(port=0)
    endpoint = f"http://127.0.0.1:{listed.port}"
    assert ecsctl("instance", "ls", "-o", "name", "--endpoint", endpoint, env=with_key).stdout == "web\n"
    assert listed.signed_by == ["LTAI-x", "LTAI-x"]
    wrong = with_key | {"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "other"}
    assert "SignatureDoesNotMatch" in ecsctl("region", "ls", "--endpoint", endpoint, env=wrong, status=4).stderr


def test_the_socket_is_signed_too_when_there_is_a_key(listed: Peer, ecsctl, with_key: dict[str, str]) -> None:
    ecsctl("region", "ls")
    assert listed.signed_by == []
    ecsctl("region", "ls", env=with_key)
    assert listed.signed_by == ["LTAI-x"]


def test_a_kept_connection_that_died_is_opened_again(listed: Peer, setting) -> None:
    with closing(Client(Settings("default", f"unix://{setting.socket}", region="local"))) as client:
        client.call("DescribeInstances")
        listed.stop()
        setting.socket.unlink(missing_ok=True)
        again = Peer({"DescribeInstances": {}}).start(setting.socket)
        try:
            client.call("DescribeInstances")
        finally:
            again.stop()


def test_a_server_that_says_nothing(setting) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(setting.socket))
        listener.listen()
        client = Client(Settings("default", f"unix://{setting.socket}"), timeout=0.2)
        with closing(client), pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
            client.call("DescribeRegions")
        with closing(client), pytest.raises(Unreachable, match="not known whether the call took effect"):
            client.call("StopInstance")


# --------------------------------------------------------------------------------------------- https


@pytest.fixture
def certificate(setting) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test agent")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = setting.directory / "agent.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def test_https(listed: Peer, ecsctl, setting, with_key: dict[str, str], certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    listed.start(tls=context)
    env = with_key | {"ECSCTL_ENDPOINT": f"https://127.0.0.1:{listed.port}"}
    assert "ECSCTL_CA" in ecsctl("instance", "ls", env=env, status=5).stderr
    assert "/none" in ecsctl("instance", "ls", "--ca", "/none", env=env, status=1).stderr
    env["ECSCTL_CA"] = str(certificate)
    assert ecsctl("instance", "ls", "-o", "name", env=env).stdout == "web\n"
    listed.answers["OpenTunnel"] = {"Path": "/tunnel/good"}
    payload = bytes(range(256)) * 16384
    done = subprocess.run(
        [sys.executable, "-m", "ecsctl", "instance", "dial", "web"],
        input=payload,
        capture_output=True,
        env=setting.environ | env,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout == payload) == (0, b"", True)


# ----------------------------------------------------------------------------------------------- ssh


def trust(setting, port: int) -> None:
    key = (setting.directory / "host_key.pub").read_text()
    (setting.home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}")


def test_ssh(listed: Peer, ecsctl, setting, sshd: int) -> None:
    env = {"ECSCTL_ENDPOINT": f"ssh://{getpass.getuser()}@127.0.0.1:{sshd}"}
    assert "known_hosts" in ecsctl("instance", "ls", env=env, status=5).stderr
    trust(setting, sshd)
    assert ecsctl("instance", "ls", "-o", "name", env=env).stdout == "web\n"
    listed.answers["OpenTunnel"] = {"Path": "/tunnel/good"}
    payload = bytes(range(256)) * 16384
    done = subprocess.run(
        [sys.executable, "-m", "ecsctl", "instance", "dial", "web"],
        input=payload,
        capture_output=True,
        env=setting.environ | env,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout == payload) == (0, b"", True)


def test_ssh_where_the_agent_is_away(ecsctl, setting, sshd: int) -> None:
    trust(setting, sshd)
    said = ecsctl("instance", "ls", "--endpoint", f"ssh://127.0.0.1:{sshd}", status=5).stderr
    assert "is the agent running" in said
    assert said.count("\n") == 1


def test_ssh_without_ecsctl_on_the_host(ecsctl, setting, sshd: int) -> None:
    trust(setting, sshd)
    (setting.directory / "bin" / "ecsctl").unlink()
    assert "not found" in ecsctl("instance", "ls", "--endpoint", f"ssh://127.0.0.1:{sshd}", status=5).stderr


def test_ssh_with_another_host_key_and_without_a_login(ecsctl, setting, sshd: int) -> None:
    endpoint = f"ssh://127.0.0.1:{sshd}"
    trust(setting, sshd)
    (setting.directory / "authorized").write_text("")
    assert "keys" in ecsctl("instance", "ls", "--endpoint", endpoint, status=5).stderr
    other = (setting.home / ".ssh" / "id_ed25519.pub").read_text()
    (setting.home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{sshd} {other}")
    assert "ssh-keygen -R" in ecsctl("instance", "ls", "--endpoint", endpoint, status=5).stderr


def test_ssh_to_nowhere(ecsctl) -> None:
    began = time.monotonic()
    ecsctl("instance", "ls", "--endpoint", f"ssh://127.0.0.1:{free_port()}", status=5)
    assert time.monotonic() - began < 30
