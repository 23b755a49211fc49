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

from pyroute2 import IPRoute, NetlinkError
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE
from pyroute2.netlink.rtnl import RTM_GETNEIGH
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from agent.drivers.network import links
from agent.drivers.network.host_table import Pair

PROTOCOL = 236  # of our routes and entries; nobody else's in /etc/iproute2/rt_protos
_NTF_PROXY = 0x08
_MAIN_TABLE = 254


def publish(ip: IPRoute, pairs: Iterable[Pair], prefix: str, interface: str | None) -> None:
    """Make the host's routes and ARP entries for public addresses exactly those of `pairs`.

    An address may still be of the VPC that is about to lose it: then it leads to one of the two for a moment.
    `interface`: on whose networks the host answers for them. Called in the host's namespace.
    """
    present = _routes(ip)
    own_links = {link.number for link in links.all(ip) if link.name.startswith(f"{prefix}-up")}
    owners = {address: pair for pair in pairs for address in pair.publics}
    wanted = {address: links.required(ip, pair.name) for address, pair in owners.items()}
    foreign = {address for address, through in present if through not in own_links}
    _answer(ip, set(wanted) - foreign, interface, foreign)
    for address, through in present:
        if through in own_links and wanted.get(address) != through:
            _ignoring(errno.ESRCH, ip.route, "del", dst=f"{address}/32", oif=through, proto=PROTOCOL)
    for address, index in wanted.items():
        ends = owners[address].ends
        ip.route("replace", dst=f"{address}/32", gateway=ends.inside, oif=index, prefsrc=ends.outside, proto=PROTOCOL)


def published(ip: IPRoute, index: int) -> tuple[str, ...]:
    """The public addresses that lead to link `index`."""
    return tuple(sorted(address for address, through in _routes(ip) if through == index))


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


def _routes(ip: IPRoute) -> list[tuple[str, int]]:
    """Our routes of the host: address and link."""
    found = ip.get_routes(family=socket.AF_INET, table=_MAIN_TABLE, proto=PROTOCOL)
    return [(route.get_attr("RTA_DST"), route.get_attr("RTA_OIF")) for route in found if route["proto"] == PROTOCOL]


def _proxies() -> Iterator[tuple[str, int]]:
    """Our ARP entries in the calling thread's namespace: address and link. pyroute2 cannot ask for these."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with contextlib.closing(socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)) as rtnl:
        head = struct.pack("=IHHII", 28, RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
        rtnl.send(head + struct.pack("=BxxxiHBB", socket.AF_INET, 0, 0, _NTF_PROXY, 0))
        while True:
            for message in MarshalRtnl().parse(rtnl.recv(1 << 18)):
                if message["header"]["type"] == NLMSG_DONE:
                    return
                if message.get_attr("NDA_PROTOCOL") == PROTOCOL:
                    yield message.get_attr("NDA_DST"), message["ifindex"]
