"""What becomes of one packet on its way through a namespace, as the kernel's own trace tells it."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pyroute2.netlink import NETLINK_NETFILTER

from agent.drivers.network import netns
from agent.drivers.network.nfnl import attributes, split

_SOL_NETLINK, _ADD_MEMBERSHIP, _TRACES = 270, 1, 9
_TABLE, _CHAIN, _HANDLE, _KIND, _VERDICT, _POLICY = 1, 2, 3, 4, 5, 16
_BY_POLICY, _BY_RULE = 1, 3
_DROP = 0
_FAMILIES = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge"}
_AGAIN_SECONDS, _ATTEMPTS = 0.2, 15


@dataclass(frozen=True)
class End:
    """Where nftables dropped it. `handle`: the rule's, 0: it was the chain's policy."""

    family: str
    table: str
    chain: str
    handle: int = 0

    def __str__(self) -> str:
        why = f"its rule with handle {self.handle}" if self.handle else "its policy"
        return f"the chain {self.chain} of the table {self.family} {self.table}, by {why}"


def follow(namespace: netns.Namespace, send: Callable[[], None]) -> End | None:
    """Where the packet ended that `send` sends and a rule marks for tracing; None: no chain of nftables dropped it.

    It is sent again and again for a while: a link that was just made drops the first ones.
    """
    with contextlib.closing(namespace.run(_listen)) as listener:
        listener.settimeout(_AGAIN_SECONDS)
        for _ in range(_ATTEMPTS):
            send()
            with contextlib.suppress(TimeoutError):
                while True:
                    for end in _ends(listener.recv(1 << 16)):
                        return end
    return None


def _listen() -> socket.socket:
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    listener = socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER)
    listener.bind((0, 0))
    listener.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _TRACES)
    return listener


def _ends(data: bytes) -> Iterator[End]:
    for _, _, payload, _ in split(data):
        values = dict(attributes(payload[4:]))
        kind = _number(values.get(_KIND, b""))
        if kind == _BY_POLICY and _number(values.get(_POLICY, b"")) == _DROP:
            yield _end(payload[0], values, 0)
        if kind == _BY_RULE and _verdict(values) == _DROP:
            yield _end(payload[0], values, struct.unpack("!Q", values[_HANDLE])[0])


def _verdict(values: dict[int, bytes]) -> int | None:
    return _number(dict(attributes(values.get(_VERDICT, b""))).get(1, b""))


def _number(data: bytes) -> int | None:
    return struct.unpack("!i", data)[0] if len(data) == 4 else None


def _end(family: int, values: dict[int, bytes], handle: int) -> End:
    table, chain = (values[kind].rstrip(b"\0").decode() for kind in (_TABLE, _CHAIN))
    return End(_FAMILIES.get(family, str(family)), table, chain, handle)
