"""libvirt's event loop in a thread of its own, and the watcher that tells of every change of a domain.

libvirt has one event implementation per process, registered before the first connection. Its callbacks run in
the loop's thread, which also answers keepalives: they only put what happened in a queue. The watcher's own thread
takes it from there, calls the subscribers, and connects again when libvirtd was restarted.
"""

from __future__ import annotations

import enum
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

import libvirt

from agent.core.errors import DriverError

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 5.0
CLOSE_SECONDS = 10.0  # a libvirtd that hangs must not keep the agent from ending

EVENTS = (
    libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
    libvirt.VIR_DOMAIN_EVENT_ID_REBOOT,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,  # the guest has let go of it
)

_loop_lock = threading.Lock()
_loop: threading.Thread | None = None


def ensure_loop() -> None:
    """Run libvirt's event loop from now on; also keeps libvirt from printing its errors to stderr."""
    global _loop
    with _loop_lock:
        if _loop is not None:
            return
        libvirt.registerErrorHandler(lambda *_: None, None)
        libvirt.virEventRegisterDefaultImpl()
        _loop = threading.Thread(target=_run_loop, name="libvirt-events", daemon=True)
        _loop.start()


def _run_loop() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError as error:
            log.error("libvirt event loop: %s", error)


class _Signal(enum.Enum):
    LOST = enum.auto()
    STOP = enum.auto()


class Watcher:
    """Calls `callback` with a domain's name for each event, and with None after each (re)connection."""

    def __init__(self, connect: Callable[[], libvirt.virConnect], callback: Callable[[str | None], None]) -> None:
        self._connect = connect
        self._callback = callback
        self._queue: queue.SimpleQueue[str | _Signal] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="libvirt-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._queue.put(_Signal.STOP)
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            connection = self._open()
            if connection is None:
                return
            self._deliver(None)
            while isinstance(item := self._queue.get(), str):
                self._deliver(item)
            try:
                connection.close()
            except libvirt.libvirtError as error:
                log.debug("closing the event connection: %s", error)

    def _open(self) -> libvirt.virConnect | None:
        """A connection with our callbacks registered; None when closed meanwhile."""
        pause, told = FIRST_RETRY_SECONDS, ""
        while not self._stopped.is_set():
            try:
                connection = self._connect()
                self._register(connection)
                return connection
            except (DriverError, libvirt.libvirtError) as error:
                if str(error) != told:
                    told = str(error)
                    log.warning("no events from libvirt: %s", told)
            self._stopped.wait(pause)
            pause = min(2 * pause, LAST_RETRY_SECONDS)
        return None

    def _register(self, connection: libvirt.virConnect) -> None:
        connection.registerCloseCallback(self._on_close, None)
        for event in EVENTS:
            connection.domainEventRegisterAny(None, event, self._on_event, None)

    def _on_event(self, _connection: libvirt.virConnect, domain: libvirt.virDomain, *_: Any) -> None:
        self._queue.put(domain.name())

    def _on_close(self, *_: Any) -> None:
        self._queue.put(_Signal.LOST)

    def _deliver(self, name: str | None) -> None:
        """A subscriber's mistake must not end the events of all others."""
        try:
            self._callback(name)
        except Exception:
            log.exception("while handling the change of domain %s", name)
