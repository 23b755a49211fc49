"""Copies stdin and stdout to and from a socket, with half-close and without letting one direction block the other."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
from typing import Protocol

_CHUNK = 65536
_HIGH_WATER = 1 << 20  # bytes waiting for the socket before stdin is no longer read
_GOODBYE_SECONDS = 1.0
_WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Codec(Protocol):
    """How payload travels on the socket. `finished`: the far end will send no more payload; `early`: what came
    before the relay began."""

    early: list[bytes]

    @property
    def finished(self) -> bool: ...

    def encode(self, payload: bytes) -> bytes:
        """What to send for `payload` of stdin; empty payload: stdin has ended."""
        ...

    def decode(self, received: bytes) -> tuple[list[bytes], bytes]:
        """Payloads for stdout and what must be answered at once; empty `received`: the socket has ended."""
        ...


class Plain:
    """Bytes as they are."""

    def __init__(self) -> None:
        self.finished = False
        self.early: list[bytes] = []

    def encode(self, payload: bytes) -> bytes:
        return payload

    def decode(self, received: bytes) -> tuple[list[bytes], bytes]:
        self.finished = not received
        return [received] if received else [], b""


def relay(
    connection: socket.socket,
    codec: Codec,
    *,
    half_close: bool,
    source: int = 0,
    sink: int = 1,
    idle_seconds: float | None = None,
) -> None:
    """Copy until the far end has ended, or nobody reads our output any more.

    `half_close`: the end of stdin shuts the socket's sending side down (a plain stream); otherwise the codec
    says it in its own way. `idle_seconds`: leave when the far end is silent for so long after the end of stdin.
    OSError when the connection breaks.
    """
    _Relay(connection, codec, half_close, source, sink, idle_seconds).run()


class _Relay:
    def __init__(
        self,
        connection: socket.socket,
        codec: Codec,
        half_close: bool,
        source: int,
        sink: int,
        idle_seconds: float | None,
    ) -> None:
        self.connection, self.codec, self.half_close = connection, codec, half_close
        self.source, self.sink, self.idle_seconds = source, sink, idle_seconds
        self.waiting = bytearray()
        self.source_open, self.shut = True, False

    def run(self) -> None:
        self.connection.setblocking(False)
        if not all(self._write(payload) for payload in self.codec.early):
            return
        self._receive()  # what came together with the handshake may wait inside TLS, unseen by poll
        while not self.codec.finished:
            events = self._poll()
            if not events:
                break
            if events.get(self.sink, 0):  # an error on the sink: its reader has gone
                return
            if self.source in events:
                self._read_source()
            if self.connection.fileno() in events and not self._receive():
                return
            self._send()
        self._say_goodbye()

    def _poll(self) -> dict[int, int]:
        poller = select.poll()
        poller.register(self.connection, select.POLLIN | (select.POLLOUT if self.waiting else 0))
        poller.register(self.sink, 0)
        if self.source_open and len(self.waiting) < _HIGH_WATER:
            poller.register(self.source, select.POLLIN)
        idle = self.idle_seconds is not None and not self.source_open and not self.waiting
        return dict(poller.poll(self.idle_seconds * 1000 if idle and self.idle_seconds is not None else None))

    def _read_source(self) -> None:
        payload = os.read(self.source, _CHUNK)
        self.source_open = bool(payload)
        self.waiting += self.codec.encode(payload)

    def _receive(self) -> bool:
        """Everything there is; whether our output was taken."""
        while not self.codec.finished:
            try:
                received = self.connection.recv(_CHUNK)
            except _WAIT:
                return True
            payloads, answer = self.codec.decode(received)
            self.waiting += answer
            if not all(self._write(payload) for payload in payloads):
                return False
            if len(received) < _CHUNK and not isinstance(self.connection, ssl.SSLSocket):
                return True
        return True

    def _write(self, payload: bytes) -> bool:
        view = memoryview(payload)
        while view:
            try:
                view = view[os.write(self.sink, view) :]
            except BlockingIOError:
                select.select([], [self.sink], [])
            except BrokenPipeError:
                return False
        return True

    def _say_goodbye(self) -> None:
        """What the codec answers to the end, for a far end that waits for it; it may be gone as well."""
        self.connection.settimeout(_GOODBYE_SECONDS)
        with contextlib.suppress(OSError):
            self.connection.sendall(self.waiting)

    def _send(self) -> None:
        while self.waiting:
            try:
                sent = self.connection.send(self.waiting[:_HIGH_WATER])
            except _WAIT:
                return
            except (BrokenPipeError, ConnectionResetError):
                self.waiting.clear()  # nobody listens; why, if anything, is what is left to receive
                self.source_open, self.shut = False, True
                return
            del self.waiting[:sent]
        if not self.source_open and self.half_close and not self.shut:
            self.shut = True
            self.connection.shutdown(socket.SHUT_WR)
