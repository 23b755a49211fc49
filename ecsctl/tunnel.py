"""TCP streams into guests: the agent is asked for a tunnel, then carries it on a websocket."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from ecsctl.client import OWN, Client
from ecsctl.errors import CliError

if TYPE_CHECKING:
    from ecsctl.websocket import Tunnel

SSH_PORT = 22
_BANNER = b"SSH-"


def dial(client: Client, instance_id: str, port: int) -> tuple[socket.socket, Tunnel]:
    """A connected stream to a port of a guest; CliError or ApiError with the reason when there is none."""
    return connect(client, str(client.call("OpenTunnel", OWN, InstanceId=instance_id, Port=port)["Path"]))


def connect(client: Client, path: str) -> tuple[socket.socket, Tunnel]:
    """The stream of a one-time path that the agent gave out; CliError with the reason when there is none."""
    from ecsctl.websocket import open_tunnel

    connection = client.connect()
    try:
        return connection, open_tunnel(connection, client.transport.host, path)
    except BaseException:
        connection.close()
        raise


def ssh_answers(client: Client, instance_id: str, patience: float) -> str:
    """The SSH banner of a guest, waited for up to `patience` seconds; empty when none came."""
    deadline = time.monotonic() + patience
    try:
        connection, tunnel = dial(client, instance_id, SSH_PORT)
    except CliError:
        return ""  # not yet: the caller asks again and says in the end where it hangs
    received = b"".join(tunnel.early)
    with connection:
        while _BANNER not in received and not tunnel.finished and (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            try:
                payloads, answer = tunnel.decode(connection.recv(4096))
                connection.sendall(answer)
            except OSError:
                break
            received += b"".join(payloads)
    lines = [line for line in received.splitlines() if line.startswith(_BANNER)]
    return lines[0].decode(errors="replace") if lines else ""
