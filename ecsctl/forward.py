"""A local port whose connections go to a port of an instance, each through a tunnel of its own."""

from __future__ import annotations

import socket
import threading

import click

from ecsctl import tunnel
from ecsctl.client import Client
from ecsctl.errors import CliError
from ecsctl.relay import relay

HOST = "127.0.0.1"


class Forwarder:
    """Listens on the loopback; `port` 0 takes a free one. Use as a context manager, then `serve` until Ctrl+C."""

    def __init__(self, client: Client, instance_id: str, remote_port: int, port: int) -> None:
        self._client, self._instance_id, self._remote_port = client, instance_id, remote_port
        self._opening = threading.Lock()  # the client has one connection for calls
        try:
            self._listener = socket.create_server((HOST, port))
        except OSError as error:
            raise CliError(f"cannot listen on {HOST}:{port}: {error.strerror or error}") from None
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Forwarder:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def serve(self) -> None:
        """Never returns by itself. What goes wrong with one connection is told and ends that connection only."""
        while True:
            local, _ = self._listener.accept()
            threading.Thread(target=self._carry, args=(local,), daemon=True).start()

    def _carry(self, local: socket.socket) -> None:
        # relay() watches its source for data and its sink for a reader that goes: two descriptors.
        with local, local.dup() as sink:
            try:
                with self._opening:
                    far, stream = tunnel.dial(self._client, self._instance_id, self._remote_port)
                with far:
                    relay(far, stream, half_close=False, source=local.fileno(), sink=sink.fileno())
            except CliError as error:
                click.echo(f"Error: {error}", err=True)
            except OSError as error:
                click.echo(f"a connection broke: {error.strerror or error}", err=True)
