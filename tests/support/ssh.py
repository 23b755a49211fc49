"""Logins into guests with paramiko, through `ecsctl instance dial`, as ssh would come with the written ProxyCommand."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Iterator

import paramiko
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.support.agent import AgentProcess

LOGIN_SECONDS = 180.0


@contextlib.contextmanager
def login(
    agent: AgentProcess,
    instance_id: str,
    *,
    key: str | None = None,
    password: str | None = None,
    seconds: float = LOGIN_SECONDS,
) -> Iterator[paramiko.SSHClient]:
    """A client logged in as root with a PEM private key or a password; waits for the guest up to `seconds`.

    Raises paramiko.AuthenticationException at once when the guest answers but refuses.
    """
    # paramiko reads no PKCS#8; cryptography does.
    private = paramiko.RSAKey(key=load_pem_private_key(key.encode(), None)) if key else None  # type: ignore[arg-type]
    end = time.monotonic() + seconds
    while True:
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        try:
            client.connect(
                instance_id,
                username="root",
                pkey=private,
                password=password,
                sock=_proxy(agent, instance_id),
                look_for_keys=False,
                allow_agent=False,
                banner_timeout=30,
                auth_timeout=30,
            )
            break
        except paramiko.AuthenticationException:
            client.close()
            raise
        except (paramiko.SSHException, OSError, EOFError):
            client.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
    try:
        yield client
    finally:
        client.close()


def _proxy(agent: AgentProcess, instance_id: str) -> paramiko.ProxyCommand:
    command = [sys.executable, "-m", "ecsctl", "--endpoint", f"unix://{agent.socket}", "instance", "dial", instance_id]
    return paramiko.ProxyCommand(shlex.join(command))


def run(client: paramiko.SSHClient, command: str) -> str:
    """The standard output of a command in the guest; AssertionError when it fails."""
    _, out, error = client.exec_command(command, timeout=120)
    text = out.read().decode()
    status = out.channel.recv_exit_status()
    assert status == 0, f"{command!r} ended with {status}: {error.read().decode()}"
    return text
