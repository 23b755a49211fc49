"""Bandwidth of what guests exchange with the outside (SPEC N6): queues in a VPC's namespace.

Towards a guest HTB on its port, from it HTB on the VPC's end of the pair, with a class for each port. Rules (`table`)
give the packets that cross that end their class and leave all others alone; what has no class is not held up.
The kernel's classes are the only state: they carry the port's link number, so that a fresh agent finds them.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pyroute2 import IPRoute, NetlinkError

from agent.drivers.network import expressions as x
from agent.drivers.network import links
from agent.drivers.network.base_chains import PORT_GROUP
from agent.drivers.network.nat import INSIDE
from agent.drivers.network.ruleset import Chain, Hook, Table

TABLE = "bandwidth"

_ROOT = 0x10000  # handle of the queue: 1:
_INBOUND = _ROOT | 2  # the class on a port
_PORT, _NUMBERS = _ROOT | 0x8000, 0x7FFF  # classes at the pair: the link's number within 1:8000-1:ffff
_BYTES_PER_KBIT = 125  # and second
_BURST_SECONDS = 0.01
_LARGEST_PACKET = 65_535
_QUANTUM = 60_000


def table() -> Table:
    """Which class a packet belongs to, said after routing, which sets the priority itself."""
    to_port, from_port = x.group("oifgroup", PORT_GROUP), x.group("iifgroup", PORT_GROUP)
    rules = (
        x.rule(x.interface("iifname", INSIDE), to_port, x.set_priority(_INBOUND)),
        x.rule(x.interface("oifname", INSIDE), from_port, x.set_priority_by_link(_NUMBERS, _PORT)),
    )
    return Table(x.NFPROTO_INET, TABLE, {}, {"classes": Chain(rules, Hook(2, 30))})


def limit_inbound(ip: IPRoute, number: int, kbit: int) -> None:
    """What comes to the port with this link number from the outside, in kbit/s; 0: nothing is held up."""
    if kbit:
        _limit(ip, number, _INBOUND, kbit)
    else:
        with _tolerating(errno.ENOENT, errno.EINVAL):  # no queue, or one of the kernel's own choice
            ip.tc("del", index=number, handle=_ROOT, root=True)


def limit_outbound(ip: IPRoute, number: int, kbit: int) -> None:
    """What the port with this link number sends by the pair, which may be missing."""
    pair = links.index(ip, INSIDE)
    if pair is None:
        return
    if kbit:
        _limit(ip, pair, _class(number), kbit)
    else:
        with _tolerating(errno.ENOENT, errno.EINVAL):
            ip.tc("del-class", index=pair, handle=_class(number))


def inbound_limited(ip: IPRoute) -> set[int]:
    """The links that have a queue of ours."""
    return {q["index"] for q in ip.get_qdiscs() if q["handle"] == _ROOT and q.get_attr("TCA_KIND") == "htb"}


def outbound_limited(ip: IPRoute, numbers: Iterable[int]) -> set[int]:
    """Those of the ports with these link numbers that have a class at the pair."""
    pair = links.index(ip, INSIDE)
    classes = {found["handle"] for found in ip.get_classes(pair)} if pair is not None else set()
    return {number for number in numbers if _class(number) in classes}


def _class(number: int) -> int:
    return _PORT | number & _NUMBERS


def _limit(ip: IPRoute, index: int, kind: int, kbit: int) -> None:
    rate = kbit * _BYTES_PER_KBIT
    burst = max(15_000, int(rate * _BURST_SECONDS))
    limits = {"rate": rate, "ceil": rate, "burst": burst, "cburst": burst}
    with _tolerating(errno.EEXIST):
        ip.tc("add", "htb", index, _ROOT, default=0)
    ip.tc("replace-class", "htb", index, kind, parent=_ROOT, mtu=_LARGEST_PACKET, quantum=_QUANTUM, **limits)
    # By packets and not by bytes: one that the sender's card would have cut up counts once and always fits.
    ip.tc("replace", "pfifo", index, (kind & 0xFFFF) << 16, parent=kind, limit=max(10, min(1000, rate // 30_000)))


@contextmanager
def _tolerating(*codes: int) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        if error.code not in codes:
            raise
