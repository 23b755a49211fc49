"""A few connections to libvirt, shared by threads and renewed when libvirtd was restarted.

libvirtd works on five requests at a time per connection, so one would make long calls wait for each other.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import libvirt

from agent.core.errors import DriverError
from agent.drivers.hypervisor import events
from agent.drivers.hypervisor.errors import driver_error, unreachable

KEEPALIVE_SECONDS = 5
KEEPALIVE_COUNT = 6


def connect(uri: str) -> libvirt.virConnect:
    """A connection whose death is noticed; raises DriverError (transient) if libvirt cannot be reached."""
    events.ensure_loop()
    try:
        connection = libvirt.open(uri)
        connection.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT)
    except libvirt.libvirtError as error:
        raise unreachable(error, uri) from None
    return connection


class ConnectionPool:
    """At most `size` connections, opened when first needed."""

    def __init__(self, uri: str, size: int = 4) -> None:
        self._uri = uri
        self._slots = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[libvirt.virConnect] = []
        self._closed = False

    @contextlib.contextmanager
    def connection(self, doing: str) -> Iterator[libvirt.virConnect]:
        """One connection for a while; a libvirtError inside becomes a DriverError "cannot `doing`: …"."""
        with self._slots:
            connection = self._take()
            try:
                yield connection
            except libvirt.libvirtError as error:
                raise driver_error(error, doing) from None
            finally:
                self._give_back(connection)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            close_quietly(connection)

    def _take(self) -> libvirt.virConnect:
        with self._lock:
            if self._closed:
                raise DriverError("the hypervisor driver is closed")
            idle, self._idle = self._idle, []
        while idle:
            connection = idle.pop()
            if is_alive(connection):
                with self._lock:
                    self._idle.extend(idle)
                return connection
            close_quietly(connection)
        return connect(self._uri)

    def _give_back(self, connection: libvirt.virConnect) -> None:
        alive = is_alive(connection)
        with self._lock:
            if alive and not self._closed:
                self._idle.append(connection)
                return
        close_quietly(connection)


def is_alive(connection: libvirt.virConnect) -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


def close_quietly(connection: libvirt.virConnect) -> None:
    """A broken connection complains even about being closed; there is nothing to do about it."""
    with contextlib.suppress(libvirt.libvirtError):
        connection.close()
