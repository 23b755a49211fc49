"""Connections that the kernel tracks, and forgetting those whose addresses are translated no more as they were.

Such a flow is dead at its next packet (nat.py). Whoever goes on sending keeps it from being forgotten, though, and
would never be led to where the address or port leads now.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pyroute2.netlink import NETLINK_NETFILTER, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_CTNETLINK

from agent.drivers.network.nfnl import attr, attributes, split

log = logging.getLogger(__name__)

_GET, _DELETE = NFNL_SUBSYS_CTNETLINK << 8 | 1, NFNL_SUBSYS_CTNETLINK << 8 | 2
_ORIGINAL, _REPLY, _STATUS, _ID = 1, 2, 3, 12  # attributes of a flow
_ADDRESSES, _PROTOCOL = 1, 2  # of a tuple
_HEADER = struct.Struct("=IHHIIBBH")
_NESTED = 0x8000
_SEEN_REPLY = 0x2
_NO_PORT = b"\0\0"
_TIMEOUT_SECONDS = 60.0


class End(NamedTuple):
    address: str
    port: int  # 0 where the protocol has none


class Flow(NamedTuple):
    """Who asked whom, and between whom the answers go, before they are translated back."""

    protocol: int
    source: End
    destination: End
    answering: End
    answered: End
    seen_reply: bool


def forget(stale: Callable[[Flow], bool]) -> None:
    """Those of the calling thread's namespace of which `stale` says so. A kernel that cannot tell forgets by itself,
    when their senders pause."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with contextlib.closing(socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER)) as sock:
        sock.bind((0, 0))
        sock.settimeout(_TIMEOUT_SECONDS)
        try:
            found = [values for values in _dump(sock) if (flow := _flow(values)) and stale(flow)]
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # of a kernel without nf_conntrack_netlink
                raise
            log.warning("the kernel does not tell of its connections, so old ones keep their translations")
            return
        for values in found:
            body = attr(_ORIGINAL | _NESTED, values[_ORIGINAL]) + attr(_ID, values[_ID])
            sock.send(
                _HEADER.pack(20 + len(body), _DELETE, NLM_F_REQUEST | NLM_F_ACK, 2, 0, socket.AF_INET, 0, 0) + body
            )
            _acknowledged(sock)


def _dump(sock: socket.socket) -> Iterator[dict[int, bytes]]:
    sock.send(_HEADER.pack(20, _GET, NLM_F_REQUEST | NLM_F_DUMP, 1, 0, socket.AF_INET, 0, 0))
    while True:
        for kind, _, payload, _ in split(sock.recv(1 << 18)):
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                raise OSError(-struct.unpack_from("i", payload)[0], "cannot list the connections")
            yield dict(attributes(payload[4:]))


def _acknowledged(sock: socket.socket) -> None:
    for _, _, payload, _ in split(sock.recv(1 << 16)):
        code = -struct.unpack_from("i", payload)[0]
        if code not in (0, errno.ENOENT):  # it may have ended meanwhile
            raise OSError(code, "cannot forget a connection")


def _flow(values: dict[int, bytes]) -> Flow | None:
    if _ORIGINAL not in values or _REPLY not in values:
        return None
    protocol, source, destination = _tuple(values[_ORIGINAL])
    _, answering, answered = _tuple(values[_REPLY])
    (status,) = struct.unpack("!I", values[_STATUS])
    return Flow(protocol, source, destination, answering, answered, bool(status & _SEEN_REPLY))


def _tuple(data: bytes) -> tuple[int, End, End]:
    parts = dict(attributes(data))
    addresses, protocol = dict(attributes(parts[_ADDRESSES])), dict(attributes(parts[_PROTOCOL]))

    def end(side: int) -> End:
        return End(socket.inet_ntoa(addresses[side]), int.from_bytes(protocol.get(side + 1, _NO_PORT), "big"))

    return protocol[1][0], end(1), end(2)
