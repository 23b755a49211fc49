"""Notices when somebody else changes our nftables tables.

The kernel tells a socket in the namespace of every change and of who asked for it. A filter on the socket keeps
what we asked for ourselves from waking anybody.
"""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pyroute2.netlink import NETLINK_NETFILTER
from pyroute2.netlink.nfnetlink import nftsocket as nft

from agent.drivers.network import bpf
from agent.drivers.network.netns import Namespace
from agent.drivers.network.nfnl import attributes, number, split, string
from agent.drivers.network.pace import Pace

log = logging.getLogger(__name__)

_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES_GROUP = 270, 1, 7
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 4 << 20
_SENDER_OFFSET = 12  # of who asked, in a message's header
_PROCESS_ID, _PROCESS_NAME = 2, 3  # attributes of NEWGEN, which ends the messages of a change
_END_SECONDS = 0.1  # within which it comes
_SHOWN = 3  # things named in a report

# What a message is about: a verb, a kind of thing, and the attribute with its name.
_WHAT = {
    nft.NFT_MSG_NEWTABLE: ("changed", "table", 1),
    nft.NFT_MSG_DELTABLE: ("deleted", "table", 1),
    nft.NFT_MSG_NEWCHAIN: ("changed", "chain", 3),
    nft.NFT_MSG_DELCHAIN: ("deleted", "chain", 3),
    nft.NFT_MSG_NEWRULE: ("added a rule to", "chain", 2),
    nft.NFT_MSG_DELRULE: ("deleted a rule of", "chain", 2),
    nft.NFT_MSG_NEWSET: ("changed", "set", 2),
    nft.NFT_MSG_DELSET: ("deleted", "set", 2),
    nft.NFT_MSG_NEWSETELEM: ("added elements to", "set", 2),
    nft.NFT_MSG_DELSETELEM: ("deleted elements of", "set", 2),
    nft.NFT_MSG_NEWOBJ: ("changed", "object", 2),
    nft.NFT_MSG_DELOBJ: ("deleted", "object", 2),
    nft.NFT_MSG_NEWFLOWTABLE: ("changed", "flowtable", 2),
    nft.NFT_MSG_DELFLOWTABLE: ("deleted", "flowtable", 2),
}


class Notice(NamedTuple):
    """One thing that changed, or who changed what came before (`kind` NFT_MSG_NEWGEN)."""

    kind: int
    family: int
    values: dict[int, bytes]


class Monitor:
    """What others than the sockets `own_ports` change in nftables, in the namespace of the thread that makes this."""

    def __init__(self, own_ports: Sequence[int]) -> None:
        flags = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, flags, NETLINK_NETFILTER)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
            bpf.attach(self._socket, _others(own_ports))
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES_GROUP)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def read(self) -> tuple[list[Notice], bool]:
        """What has changed, up to now; and whether there may be more than was told."""
        found: list[Notice] = []
        lost = False
        while True:
            try:
                found += _notices(self._socket.recv(1 << 18))
            except BlockingIOError:
                if not found or found[-1].kind == nft.NFT_MSG_NEWGEN:
                    return found, lost
                if not _readable(self._socket, _END_SECONDS):
                    return found, lost
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost = True


def _readable(sock: socket.socket, seconds: float) -> bool:
    """Within that time. Its number may be higher than select() can have it: there are several for each VPC."""
    with selectors.DefaultSelector() as one:
        one.register(sock, selectors.EVENT_READ)
        return bool(one.select(seconds))


def _others(own_ports: Sequence[int]) -> list[bpf.Line]:
    program = [(0x20, 0, 0, _SENDER_OFFSET)]  # ld [12]
    for left, port in enumerate(reversed(own_ports)):
        as_loaded = int.from_bytes(struct.pack("=I", port), "big")
        program.insert(1, (0x15, left + 1, 0, as_loaded))
    return [*program, (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)]  # accept, ignore


def _notices(datagram: bytes) -> Iterator[Notice]:
    for kind, _, payload, _ in split(datagram):
        yield Notice(kind & 0xFF, payload[0], dict(attributes(payload[4:])))


def describe(notices: list[Notice], ours: set[tuple[int, str]]) -> str:
    """For people: who changed what of the tables `ours`; empty if nobody did."""
    done: dict[str, None] = {}
    who = "something"
    for kind, family, values in notices:
        if kind == nft.NFT_MSG_NEWGEN:
            who = f"{string(values[_PROCESS_NAME])} (process {number(values[_PROCESS_ID])})"
        elif kind in _WHAT and (family, table := string(values[1])) in ours:
            verb, thing, name = _WHAT[kind]
            inside = "" if thing == "table" else f" of table {table}"
            done[f"{verb} {thing} {string(values[name]) if name in values else '?'}{inside}"] = None
    if not done:
        return ""
    if gone := [line for line in done if line.startswith("deleted table")]:
        done = dict.fromkeys(gone)  # with all that was in them
    first = ", ".join(list(done)[:_SHOWN])
    return f"{who} {first}{f' and {len(done) - _SHOWN} more' if len(done) > _SHOWN else ''}"


class Tables(Protocol):
    """What is watched."""

    @property
    def port(self) -> int:
        """Of the socket that changes them."""

    def names(self) -> set[tuple[int, str]]:
        """Family and name of each of our tables."""


@dataclass
class _Watched:
    tables: Sequence[Tables]
    monitor: Monitor
    changed: Callable[[str], None]
    pace: Pace = field(default_factory=Pace)


class Strangers:
    """One thread for all namespaces; it starts with the first. Methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._watched: dict[str, _Watched] = {}  # by namespace
        self._resting: dict[str, float] = {}  # until when
        self._thread: threading.Thread | None = None
        self._closing = False

    def watch(self, namespace: Namespace, tables: Sequence[Tables], changed: Callable[[str], None]) -> None:
        """Call `changed`, on the thread of this, with what somebody did to one of `tables`, all we have there."""
        name = str(namespace.name)
        monitor = namespace.run(lambda: Monitor([one.port for one in tables]))
        with self._lock:
            self._watched[name] = _Watched(tables, monitor, changed)
            self._selector.register(monitor, selectors.EVENT_READ, name)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="nftables", daemon=True)
                self._thread.start()
        self._wake()

    def forget(self, namespace: str) -> None:
        with self._lock:
            watched = self._watched.pop(namespace, None)
            if watched is not None:
                if self._resting.pop(namespace, None) is None:
                    self._selector.unregister(watched.monitor)
                watched.monitor.close()

    def close(self) -> None:
        with self._lock:
            self._closing = True
        self._wake()
        if self._thread is not None:
            self._thread.join()
        for name in list(self._watched):
            self.forget(name)
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    # --------------------------------------------------------------------------------- the thread

    def _wake(self) -> None:
        os.write(self._wake_write, b"\0")

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select(self._until_rested()):
                if key.data is None:
                    os.read(self._wake_read, 4096)
                else:
                    try:
                        self._look(key.data)
                    except Exception:  # the thread serves all the others, too
                        log.exception("cannot follow or undo what changed in %s", key.data)
                        self._rest(key.data)
            with self._lock:
                if self._closing:
                    return

    def _until_rested(self) -> float | None:
        """Seconds until one is to be watched again, None when there is none; those whose time has come are."""
        with self._lock:
            now = time.monotonic()
            for name in [name for name, end in self._resting.items() if end <= now]:
                del self._resting[name]
                self._selector.register(self._watched[name].monitor, selectors.EVENT_READ, name)
            return min(self._resting.values()) - now if self._resting else None

    def _look(self, name: str) -> None:
        with self._lock:
            watched = self._watched.get(name)
            notices, lost = watched.monitor.read() if watched is not None else ([], False)
        if watched is None:
            return
        what = describe(notices, set().union(*(tables.names() for tables in watched.tables)))
        if lost and not what:
            what = "something changed more than could be followed"
        if what:
            watched.changed(what)
            self._rest(name)

    def _rest(self, name: str) -> None:
        with self._lock:
            watched = self._watched.get(name)
            if watched is not None and (seconds := watched.pace.rest()):
                self._selector.unregister(watched.monitor)
                self._resting[name] = time.monotonic() + seconds
