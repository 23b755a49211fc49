"""Logins into guests with paramiko, through `ecsctl instance dial`, as ssh would come with the written ProxyCommand."""

from __future__ import annotations

import contextlib
import socket
import subprocess
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
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(paramiko.SSHClient())
            client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
            try:
                client.connect(
                    instance_id,
                    username="root",
                    pkey=private,
                    password=password,
                    sock=stack.enter_context(_stream(agent, instance_id)),
                    look_for_keys=False,
                    allow_agent=False,
                    banner_timeout=30,
                    auth_timeout=30,
                )
            except paramiko.AuthenticationException:
                raise
            except (paramiko.SSHException, OSError, EOFError):
                if time.monotonic() > end:
                    raise
            else:
                yield client
                return
        time.sleep(0.3)


@contextlib.contextmanager
def _stream(agent: AgentProcess, instance_id: str) -> Iterator[socket.socket]:
    """The guest's port 22 as a socket. Unlike paramiko's own ProxyCommand it tells when the other side has ended."""
    command = [sys.executable, "-m", "ecsctl", "--endpoint", f"unix://{agent.socket}", "instance", "dial", instance_id]
    ours, theirs = socket.socketpair()
    with ours, theirs, subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL) as process:
        theirs.close()
        try:
            yield ours
        finally:
            ours.close()
            process.terminate()


def run(client: paramiko.SSHClient, command: str) -> str:
    """The standard output of a command in the guest; AssertionError when it fails."""
    _, out, error = client.exec_command(command, timeout=120)
    text = out.read().decode()
    status = out.channel.recv_exit_status()
    assert status == 0, f"{command!r} ended with {status}: {error.read().decode()}"
    return text
