"""Notices when the host's links, addresses or routes change: its uplink comes, goes, or gets another address."""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
from collections.abc import Callable

from agent.drivers.network.pace import Pace

log = logging.getLogger(__name__)

# RTMGRP_LINK, _IPV4_IFADDR and _IPV4_ROUTE; the last is RTNLGRP_IPV4_NETCONF, of forwarding switched on or off.
_GROUPS = 0x1 | 0x10 | 0x40 | 1 << 23
_PAUSE_SECONDS = 0.2  # changes come in crowds: one look after each


class Changes:
    """Calls `changed` on a thread of its own after something changed in the namespace of the thread that makes this.

    What `changed` does there itself is a change, too. So it must change nothing where there is nothing to do.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.bind((0, _GROUPS))
        self._end_read, self._end_write = os.pipe2(os.O_CLOEXEC)
        self._changed = changed
        self._pace = Pace()
        self._thread = threading.Thread(target=self._serve, name="host-changes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """After this `changed` is not called any more."""
        os.write(self._end_write, b"\0")  # closing is not enough where a child process has it, too
        self._thread.join()
        os.close(self._end_write)
        os.close(self._end_read)
        self._socket.close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as changes, selectors.DefaultSelector() as end:
            changes.register(self._socket, selectors.EVENT_READ)
            for one in (changes, end):
                one.register(self._end_read, selectors.EVENT_READ)
            while True:
                changes.select()
                if end.select(_PAUSE_SECONDS):
                    return
                self._drain()
                self._tell()
                if end.select(self._pace.rest()):
                    return

    def _drain(self) -> None:
        """What it says does not matter, as `changed` looks for itself; so nothing is lost where some is missed."""
        while True:
            try:
                self._socket.recv(1 << 18)
            except BlockingIOError:
                return
            except OSError as error:
                log.debug("changes of the host were missed: %s", error)

    def _tell(self) -> None:
        try:
            self._changed()
        except Exception:  # what vanished under its hands is told of as a change, after which it is called again
            log.warning("cannot follow a change of the host's interfaces", exc_info=True)
