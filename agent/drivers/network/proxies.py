"""Ways to public addresses on the host: a route each, and an answer to ARP where they are of a network it is on.

Both carry `PROTOCOL`, the number by which the kernel says who made them; what others made stays. An entry answers for
one address on one interface, never for whatever the host could reach.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pyroute2 import IPRoute, NetlinkError
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE
from pyroute2.netlink.rtnl import RTM_GETNEIGH
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from agent.core.errors import DriverError
from agent.drivers.network import links
from agent.drivers.network.host_table import Pair

PROTOCOL = 236  # of our routes and entries; nobody else's in /etc/iproute2/rt_protos
_NTF_PROXY = 0x08
_MAIN_TABLE = 254
_TIMEOUT_SECONDS = 10.0


class Way(NamedTuple):
    """A route to a public address."""

    address: str
    through: int  # the number of the pair's link
    via: str
    source: str  # of the host's own processes


def publish(ip: IPRoute, pairs: Iterable[Pair], prefix: str, interface: str | None) -> set[str]:
    """Make the host's routes and ARP entries for public addresses exactly those of `pairs`; nothing is touched that
    is right. Returns the addresses that another agent of this host has, which stay its.

    `interface`: on whose networks the host answers for them. Called in the host's namespace.
    """
    numbers = {link.name: link.number for link in links.all(ip) if link.name.startswith(f"{prefix}-up")}
    own_links, present = set(numbers.values()), set(_ways(ip))
    foreign = {way.address for way in present if way.through not in own_links}
    wanted = {way for way in _wanted(pairs, numbers) if way.address not in foreign}
    addresses = {way.address for way in wanted}
    # An entry always has its route: another agent takes one without for left over.
    for way in wanted - present:
        _lead(ip, way)
    _answer(ip, addresses, interface, foreign)
    for way in present - wanted:
        if way.through in own_links and way.address not in addresses:
            _ignoring(errno.ESRCH, ip.route, "del", dst=f"{way.address}/32", oif=way.through, proto=PROTOCOL)
    return {address for pair in pairs for address in pair.publics} & foreign


def _wanted(pairs: Iterable[Pair], numbers: dict[str, int]) -> Iterator[Way]:
    """One for each address: of two pairs that have it, one is about to lose it, and the later one counts."""
    owners = {address: pair for pair in pairs for address in pair.publics}
    for address, pair in owners.items():
        if pair.name not in numbers:
            raise DriverError(f"link {pair.name} has vanished", transient=True)
        yield Way(address, numbers[pair.name], pair.ends.inside, pair.ends.outside)


def _lead(ip: IPRoute, way: Way) -> None:
    ip.route(
        "replace",
        dst=f"{way.address}/32",
        gateway=way.via,
        oif=way.through,
        prefsrc=way.source,
        proto=PROTOCOL,
    )


def published(ip: IPRoute, index: int) -> tuple[str, ...]:
    """The public addresses that lead to link `index`."""
    return tuple(sorted(way.address for way in _ways(ip) if way.through == index))


def _answer(ip: IPRoute, addresses: set[str], interface: str | None, foreign: set[str]) -> None:
    wanted: set[tuple[str, int]] = set()
    if interface is not None and (index := links.index(ip, interface)) is not None:
        networks = [
            ipaddress.IPv4Network(f"{own}/{length}", strict=False) for own, length in links.addresses(ip, index)
        ]
        wanted = {(a, index) for a in addresses if any(ipaddress.IPv4Address(a) in network for network in networks)}
    present = set(_proxies())
    for address, through in present - wanted:
        if address not in foreign:  # another agent's
            _ignoring(errno.ENOENT, ip.neigh, "del", dst=address, ifindex=through, flags=_NTF_PROXY)
    for address, through in wanted - present:
        ip.neigh("replace", dst=address, ifindex=through, flags=_NTF_PROXY, protocol=PROTOCOL)


def _ignoring(code: int, function: object, *arguments: object, **named: object) -> None:
    """What is gone already need not be removed."""
    try:
        function(*arguments, **named)  # type: ignore[operator]
    except NetlinkError as error:
        if error.code != code:
            raise


def _ways(ip: IPRoute) -> Iterator[Way]:
    """Those of this host's agents."""
    for route in ip.get_routes(family=socket.AF_INET, table=_MAIN_TABLE, proto=PROTOCOL):
        if route["proto"] == PROTOCOL:
            names = ("RTA_DST", "RTA_OIF", "RTA_GATEWAY", "RTA_PREFSRC")
            yield Way(*(route.get_attr(name) for name in names))


def _proxies() -> Iterator[tuple[str, int]]:
    """Our ARP entries in the calling thread's namespace: address and link. pyroute2 cannot ask for these."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with contextlib.closing(socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)) as rtnl:
        head = struct.pack("=IHHII", 28, RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
        rtnl.settimeout(_TIMEOUT_SECONDS)  # everything about the host's network waits for this
        rtnl.send(head + struct.pack("=BxxxiHBB", socket.AF_INET, 0, 0, _NTF_PROXY, 0))
        while True:
            for message in MarshalRtnl().parse(rtnl.recv(1 << 18)):
                if message["header"]["type"] == NLMSG_DONE:
                    return
                if message.get_attr("NDA_PROTOCOL") == PROTOCOL:
                    yield message.get_attr("NDA_DST"), message["ifindex"]
