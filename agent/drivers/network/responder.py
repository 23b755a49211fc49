"""The thread that answers DHCP for all VPCs of the host, and what it saw of each port.

One packet socket per VPC, in its namespace, takes requests off the links before any filter. The kernel wakes
the thread for DHCP only.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections import deque

from agent.core.specs import PortEvent, PortSpec
from agent.drivers.network import bpf, dhcp
from agent.drivers.network.socket_thread import SocketThread

log = logging.getLogger(__name__)

_ETH_P_IP = 0x0800
_HISTORY = 50  # events kept per port
_BURST, _PER_SECOND = 20.0, 5.0  # requests answered per port: a guest cannot keep the thread busy

# Packets of other hosts' DHCP clients: UDP, first fragment, to port 67. (code, if true, if false, value)
_FILTER = (
    (0x30, 0, 0, 9),  # ldb [9]: protocol
    (0x15, 0, 6, socket.IPPROTO_UDP),
    (0x28, 0, 0, 6),  # ldh [6]: fragment offset
    (0x45, 4, 0, 0x1FFF),
    (0xB1, 0, 0, 0),  # ldx 4 * header length
    (0x48, 0, 0, 2),  # ldh [x + 2]: destination port
    (0x15, 0, 1, 67),
    (0x06, 0, 0, 0x40000),  # accept
    (0x06, 0, 0, 0),
)


class _Port:
    def __init__(self, spec: PortSpec) -> None:
        self.spec = spec
        self.tokens = _BURST
        self.refilled = time.monotonic()

    def may_ask(self) -> bool:
        now = time.monotonic()
        self.tokens = min(_BURST, self.tokens + (now - self.refilled) * _PER_SECOND)
        self.refilled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Responder:
    """Its methods may be called from any thread; the thread starts with the first VPC."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: dict[str, socket.socket] = {}
        self._ports: dict[str, dict[str, _Port]] = {}  # by VPC, then by tap
        self._history: dict[str, deque[PortEvent]] = {}
        self._thread = SocketThread("dhcp", self._receive)

    def watch(self, vpc_id: str, sock: socket.socket) -> None:
        """Answer on this socket, see `open_socket`; it is the responder's from now on."""
        with self._lock:
            self._sockets[vpc_id] = sock
            self._thread.add(vpc_id, sock)

    def watches(self, vpc_id: str) -> bool:
        with self._lock:
            return vpc_id in self._sockets

    def forget(self, vpc_id: str) -> None:
        """The VPC is gone, with its ports."""
        with self._lock:
            sock = self._sockets.pop(vpc_id, None)
            if sock is not None:
                self._thread.remove(sock)
                sock.close()
            for tap in self._ports.pop(vpc_id, {}):
                self._history.pop(tap, None)

    def add(self, port: PortSpec) -> None:
        with self._lock:
            self._ports.setdefault(port.vpc_id, {})[port.tap] = _Port(port)

    def drop(self, vpc_id: str, tap: str) -> None:
        """No answers for the port any more; its history stays until another VPC or port takes the name."""
        with self._lock:
            self._ports.get(vpc_id, {}).pop(tap, None)

    def port_at(self, vpc_id: str, address: str) -> PortSpec | None:
        with self._lock:
            found = (port.spec for port in self._ports.get(vpc_id, {}).values() if port.spec.ip == address)
            return next(found, None)

    def note(self, tap: str, what: str) -> None:
        """Remember an event of a port; a repetition of the last one replaces it."""
        with self._lock:
            self._note(tap, what)

    def history(self, tap: str) -> list[PortEvent]:
        with self._lock:
            return list(self._history.get(tap, ()))

    def close(self) -> None:
        self._thread.close()
        for vpc_id in list(self._sockets):
            self.forget(vpc_id)

    # --------------------------------------------------------------------------------- the thread

    def _receive(self, vpc_id: str, sock: socket.socket) -> None:
        try:
            packet, (tap, _, kind, _, source) = sock.recvfrom(2048)
        except OSError as error:  # closed meanwhile, or a link went down
            log.debug("dhcp socket of %s: %s", vpc_id, error)
            return
        if kind == socket.PACKET_OUTGOING:
            return
        with self._lock:
            port = self._ports.get(vpc_id, {}).get(tap)
            if port is None or not port.may_ask():
                return
        try:
            self._answer(sock, port.spec, packet, source)
        except Exception:
            # What a guest sends must never end the thread that serves all the others.
            log.exception("dhcp request of port %s", tap)

    def _answer(self, sock: socket.socket, port: PortSpec, packet: bytes, source: bytes) -> None:
        request = dhcp.parse(packet)
        if request is None:
            self.note(port.tap, "unreadable DHCP message")
            return
        self.note(port.tap, dhcp.NAMES[request.kind])
        answer = dhcp.answer(request, port)
        if answer is None:
            if request.hardware[:6] != bytes.fromhex(port.mac.replace(":", "")):
                self.note(port.tap, f"DHCP ignored: from {request.hardware[:6].hex(':')}, the port is {port.mac}")
            return
        to = b"\xff" * 6 if answer.broadcast else source
        try:
            sock.sendto(answer.packet, (port.tap, _ETH_P_IP, 0, 0, to))
        except OSError as error:
            self.note(port.tap, f"{dhcp.NAMES[answer.kind]} could not be sent: {error.strerror}")
            return
        self.note(port.tap, f"{dhcp.NAMES[answer.kind]} {port.ip}")

    def _note(self, tap: str, what: str) -> None:
        events = self._history.setdefault(tap, deque(maxlen=_HISTORY))
        events.append(PortEvent(time.time(), what))


def open_socket() -> socket.socket:
    """A packet socket on all links of the calling thread's namespace that gets DHCP requests only."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_IP))
    try:
        bpf.attach(sock, _FILTER)
        with contextlib.suppress(BlockingIOError):
            while True:
                sock.recv(1)  # what came before the filter was there
    except BaseException:
        sock.close()
        raise
    return sock
