"""The client's end of a tunnel: a TCP stream of a guest in the binary messages of a websocket.

An empty binary message says that a direction has ended (half-close); a close frame ends both.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from ecsctl.errors import CliError, Unreachable

_CHUNK = 65536
_GOING_AWAY = 1001
_NORMAL = (1000, _GOING_AWAY, 1005)  # RFC 6455: normal closure, going away, no status given


class Tunnel:
    """A codec for relay(): see ecsctl.relay.Codec. Made by `open_tunnel`."""

    def __init__(self, protocol: ClientProtocol) -> None:
        self.finished = False
        self.early: list[bytes] = []
        self._protocol = protocol

    @property
    def failure(self) -> str:
        """Why the far end gave the tunnel up; empty for a normal end."""
        close = self._protocol.close_rcvd
        if close is None or close.code in _NORMAL:
            return ""
        return close.reason or f"closed with code {close.code}"

    @property
    def broken(self) -> bool:
        """Whether the agent is gone: it stops, or the stream ended without a word."""
        close = self._protocol.close_rcvd
        return close is None or close.code == _GOING_AWAY

    def encode(self, payload: bytes) -> bytes:
        if self._protocol.state is not State.OPEN:
            return b""
        self._protocol.send_binary(payload)
        return self.answer()

    def decode(self, received: bytes) -> tuple[list[bytes], bytes]:
        if received:
            self._protocol.receive_data(received)
        else:
            self._protocol.receive_eof()
        payloads = self._payloads(self._protocol.events_received())
        self.finished = self.finished or self._protocol.state is not State.OPEN
        return payloads, self.answer()

    def handshake(self, received: bytes) -> bool:
        """Feed what came in before the tunnel is open; whether it is now. CliError when it is refused."""
        if received:
            self._protocol.receive_data(received)
        else:
            self._protocol.receive_eof()
        events = self._protocol.events_received()
        if self._protocol.handshake_exc is not None:
            response = events[0] if events and isinstance(events[0], Response) else None
            raise _refusal(response, self._protocol.handshake_exc)
        if not received:
            raise Unreachable("the agent closed the connection instead of opening the tunnel")
        if self._protocol.state is State.CONNECTING:
            return False
        self.early = self._payloads(events[1:])
        self.finished = self.finished or self._protocol.state is not State.OPEN
        return True

    def answer(self) -> bytes:
        """What is to be sent now: pongs, the reply to a close frame."""
        return b"".join(self._protocol.data_to_send())

    def _payloads(self, events: Sequence[object]) -> list[bytes]:
        payloads = []
        for event in events:
            if not isinstance(event, Frame) or event.opcode not in (Opcode.BINARY, Opcode.CONT):
                continue
            if event.data:
                payloads.append(bytes(event.data))
            elif event.opcode is Opcode.BINARY and event.fin:
                self.finished = True
        return payloads


def open_tunnel(connection: socket.socket, host: str, path: str) -> Tunnel:
    """The websocket handshake for `path` on a connected socket. CliError with the agent's words when it refuses."""
    protocol = ClientProtocol(parse_uri(f"ws://{host}{path}"), max_size=None)
    protocol.send_request(protocol.connect())
    tunnel = Tunnel(protocol)
    try:
        connection.sendall(b"".join(protocol.data_to_send()))
        while not tunnel.handshake(connection.recv(_CHUNK)):
            pass
        connection.sendall(tunnel.answer())
    except TimeoutError:
        raise Unreachable("the agent does not open the tunnel in time") from None
    except OSError as error:
        raise Unreachable(f"the connection broke while the tunnel was opened: {error.strerror or error}") from None
    except WebSocketException as error:
        raise Unreachable(f"the agent does not speak websocket: {error}") from None
    return tunnel


def _refusal(response: Response | None, error: Exception) -> CliError:
    if response is None:
        return Unreachable(f"the agent does not speak websocket: {error}")
    body = " ".join(bytes(response.body or b"").decode(errors="replace").split())
    return CliError(f"the agent refuses the tunnel with HTTP {response.status_code}: {body[:300] or error}")
