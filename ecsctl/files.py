"""Handing files to the agent on the same host: it gets what this command may open, and opens no path itself."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecsctl.client import Client
from ecsctl.errors import CliError, Unreachable
from ecsctl.transport import UnixTransport

SOCKET_NAME = "files.sock"  # beside the API's
_MAX_ANSWER = 4096


class FileDoor:
    """A connection to the agent's door for files: handles are good while it lives."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def hand_over(self, descriptor: int, name: str) -> str:
        """The agent's handle of an open file; CliError when it does not take it."""
        shown = "".join(c if c.isprintable() else "?" for c in name)[-255:]
        try:
            socket.send_fds(self._connection, [json.dumps({"Name": shown}).encode()], [descriptor])
            answer = json.loads(self._connection.recv(_MAX_ANSWER) or b"{}")
        except (OSError, ValueError) as error:
            raise Unreachable(f"cannot hand {name} to the agent: {error}") from None
        if "Handle" not in answer:
            raise CliError(f"the agent does not take {name}: {answer.get('Error', 'it hung up')}")
        return str(answer["Handle"])


def is_local(client: Client) -> bool:
    """Whether files can be handed over: the agent is reached over its unix socket."""
    return isinstance(client.transport, UnixTransport)


@contextmanager
def file_door(client: Client) -> Iterator[FileDoor]:
    """CliError for an agent that is reached over a network."""
    transport = client.transport
    if not isinstance(transport, UnixTransport):
        raise CliError(f"{transport.endpoint} is reached over a network: files can be handed over on its host only")
    path = Path(transport.path).with_name(SOCKET_NAME)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(client.timeout)
        try:
            connection.connect(str(path))
        except OSError as error:
            raise Unreachable(f"cannot hand files to the agent at {path}: {error.strerror or error}") from None
        yield FileDoor(connection)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A file to read, as a descriptor; CliError when it cannot be opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not hold us up
    except OSError as error:
        raise CliError(f"cannot read {path}: {error.strerror}") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)
