"""A guest's serial line as a socket: libvirt's console stream at one end, a socketpair at the other.

Both are served by callbacks in libvirt's event loop, which never block: what one side does not take yet is kept up to
`HELD` bytes, and then the other side is not read from. The log that QEMU writes of the line goes on beside it.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

import libvirt

from agent.core.errors import DriverError
from agent.drivers.hypervisor.errors import driver_error, one_line
from agent.drivers.hypervisor.pool import close_quietly

log = logging.getLogger(__name__)

PIECE = 16 << 10  # bytes moved at once
HELD = 256 << 10  # bytes waiting for a side that is slow
AGAIN = -2  # what a stream answers that would have to wait
BROKEN = libvirt.VIR_STREAM_EVENT_ERROR | libvirt.VIR_STREAM_EVENT_HANGUP
GONE = libvirt.VIR_EVENT_HANDLE_HANGUP | libvirt.VIR_EVENT_HANDLE_ERROR
CLOSE_SECONDS = 10.0
STOP_SECONDS = 2.0  # between the end of a guest's serial line and libvirt's knowing that the guest has ended

CLOSED = "the serial line was closed, or taken over through libvirt"
STOPPED = "the instance has stopped"
LOST = "the connection to libvirt was lost"


class SerialConsole:
    """Satisfies core.protocols.Console. Takes over `connection`, which is closed with it.

    `ended` is called once, from a thread of its own, when the line has been given up: with the reason, or with
    an empty text when our side closed it. Raises DriverError when the line cannot be had.
    """

    def __init__(self, connection: libvirt.virConnect, name: str, *, force: bool, ended: Callable[[str], None]) -> None:
        self._connection, self._name, self._tell = connection, name, ended
        self.stream, self._inner = socket.socketpair()
        self._inner.setblocking(False)
        self._to_guest, self._to_reader = bytearray(), bytearray()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._reason = ""
        self._line = self._open(force)
        self._watch = libvirt.virEventAddHandle(
            self._inner.fileno(), libvirt.VIR_EVENT_HANDLE_READABLE | GONE, self._on_reader, None
        )
        self._reading = True  # from the reader, until it has nothing more to say
        self._line.eventAddCallback(libvirt.VIR_STREAM_EVENT_READABLE | BROKEN, self._on_line, None)
        self._thread = threading.Thread(target=self._await_end, name=f"console {name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give the line up; returns when others can have it, after 10 s at the latest."""
        self._end("")
        self._thread.join(CLOSE_SECONDS)

    def _open(self, force: bool) -> libvirt.virStream:
        doing = f"open the serial console of domain {self._name}"
        flags = libvirt.VIR_DOMAIN_CONSOLE_FORCE if force else 0
        try:
            line = self._connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
            self._connection.lookupByName(self._name).openConsole(None, line, flags)
        except libvirt.libvirtError as error:
            self.stream.close()
            self._inner.close()
            if "Active console session exists" in one_line(error):
                raise DriverError(f"cannot {doing}: somebody uses it through libvirt (`virsh console`)") from None
            raise driver_error(error, doing) from None
        return line

    # ------------------------------------------------------------------------------ in libvirt's event loop

    def _on_line(self, line: libvirt.virStream, events: int, _: object) -> None:
        with self._lock, self._guarded():
            if self._over.is_set():
                return
            if events & libvirt.VIR_STREAM_EVENT_READABLE:
                self._take_from_line(line)
            if events & libvirt.VIR_STREAM_EVENT_WRITABLE:
                self._give_to_line(line)
            if events & BROKEN and not events & libvirt.VIR_STREAM_EVENT_READABLE:
                self._end(CLOSED)
            self._adjust()

    def _on_reader(self, watch: int, descriptor: int, events: int, _: object) -> None:
        with self._lock, self._guarded():
            if self._over.is_set():
                return
            if events & libvirt.VIR_EVENT_HANDLE_READABLE:
                data = self._inner.recv(PIECE)
                self._reading = self._reading and bool(data)
                self._to_guest += data
                self._give_to_line(self._line)
            if events & libvirt.VIR_EVENT_HANDLE_WRITABLE:
                self._give_to_reader()
            if events & GONE and not events & libvirt.VIR_EVENT_HANDLE_READABLE:
                self._end("")
            self._adjust()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Nobody else would hear of an exception in a callback."""
        try:
            yield
        except BlockingIOError:
            return
        except OSError:
            self._end("")
        except libvirt.libvirtError as error:
            self._end(f"the serial console broke: {one_line(error)}")

    def _take_from_line(self, line: libvirt.virStream) -> None:
        data = line.recv(PIECE)
        if data == AGAIN:
            return
        if not data:
            self._end(CLOSED)
            return
        self._to_reader += data
        self._give_to_reader()

    def _give_to_reader(self) -> None:
        while self._to_reader:
            try:
                del self._to_reader[: self._inner.send(self._to_reader[:PIECE])]
            except BlockingIOError:
                return

    def _give_to_line(self, line: libvirt.virStream) -> None:
        while self._to_guest:
            sent = line.send(bytes(self._to_guest[:PIECE]))
            if sent == AGAIN:
                return
            del self._to_guest[:sent]

    def _adjust(self) -> None:
        """Ask for the events that something can be done about."""
        if self._over.is_set():
            return
        line = BROKEN
        line |= libvirt.VIR_STREAM_EVENT_READABLE if len(self._to_reader) < HELD else 0
        line |= libvirt.VIR_STREAM_EVENT_WRITABLE if self._to_guest else 0
        self._line.eventUpdateCallback(line)
        reader = GONE
        reader |= libvirt.VIR_EVENT_HANDLE_READABLE if self._reading and len(self._to_guest) < HELD else 0
        reader |= libvirt.VIR_EVENT_HANDLE_WRITABLE if self._to_reader else 0
        libvirt.virEventUpdateHandle(self._watch, reader)

    # ------------------------------------------------------------------------------ the end

    def _end(self, reason: str) -> None:
        if not self._over.is_set():
            self._reason = reason
            self._over.set()

    def _await_end(self) -> None:
        """In a thread of its own: libvirt's answers would be waited for in the loop that has to deliver them."""
        self._over.wait()
        with self._lock:
            libvirt.virEventRemoveHandle(self._watch)
            with contextlib.suppress(libvirt.libvirtError):
                self._line.eventRemoveCallback()
        reason = self._explained()
        # A guest's last words may still wait for a reader that is slow, not gone.
        self._inner.settimeout(CLOSE_SECONDS)
        with contextlib.suppress(OSError):
            if reason:
                self._inner.sendall(self._to_reader)
        with contextlib.suppress(libvirt.libvirtError):
            self._line.abort()
        close_quietly(self._connection)
        try:
            self._tell(reason)
        except Exception:
            log.exception("at the end of the serial console of %s", self._name)
        self._inner.close()

    def _explained(self) -> str:
        """Why the line ended, by what has become of the guest."""
        if not self._reason:
            return ""
        deadline = time.monotonic() + STOP_SECONDS
        try:
            domain = self._connection.lookupByName(self._name)
            while domain.isActive():
                if time.monotonic() > deadline:
                    return self._reason
                time.sleep(0.05)
        except libvirt.libvirtError as error:
            return STOPPED if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN else LOST
        return STOPPED
