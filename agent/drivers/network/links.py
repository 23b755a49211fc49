"""Reading links and addresses through pyroute2."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any, NamedTuple

from pyroute2 import IPRoute

from agent.core.errors import DriverError


class Link(NamedTuple):
    number: int
    name: str
    kind: str  # tun, veth, ... or empty
    group: int
    alias: str
    attached: bool  # carrier: for a tap, a process has it open


def _link(message: Any) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    return Link(
        message["index"],
        message.get_attr("IFLA_IFNAME"),
        (info.get_attr("IFLA_INFO_KIND") if info else None) or "",
        message.get_attr("IFLA_GROUP") or 0,
        message.get_attr("IFLA_IFALIAS") or "",
        bool(message.get_attr("IFLA_CARRIER")),
    )


def all(ip: IPRoute) -> list[Link]:
    return [_link(message) for message in ip.get_links()]


def index(ip: IPRoute, name: str) -> int | None:
    found = ip.link_lookup(ifname=name)
    return found[0] if found else None


def required(ip: IPRoute, name: str) -> int:
    """The index of a link that must be there; DriverError if it is not."""
    number = index(ip, name)
    if number is None:
        raise DriverError(f"link {name} has vanished", transient=True)
    return number


def find(ip: IPRoute, name: str) -> Link | None:
    number = index(ip, name)
    return _link(ip.get_links(number)[0]) if number is not None else None


def delete(ip: IPRoute, name: str) -> None:
    """No-op without a link of that name."""
    number = index(ip, name)
    if number is not None:
        ip.link("del", index=number)


def addresses(ip: IPRoute, number: int) -> list[tuple[str, int]]:
    """IPv4 addresses of a link with their prefix lengths."""
    found = ip.get_addr(index=number, family=socket.AF_INET)
    return [
        (message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"), message["prefixlen"]) for message in found
    ]


def routed(ip: IPRoute, *, but: int | None = None) -> list[ipaddress.IPv4Network]:
    """Where IPv4 routes lead, the default route and those through link `but` aside."""
    found = []
    for message in ip.get_routes(family=socket.AF_INET):
        to = message.get_attr("RTA_DST")
        if to and message["dst_len"] and message.get_attr("RTA_OIF") != but:
            found.append(ipaddress.IPv4Network((to, message["dst_len"]), strict=False))
    return found


def default_interface(ip: IPRoute) -> str | None:
    """The link of the default route with the lowest metric in the main table, None without one."""
    routes = [
        (message.get_attr("RTA_PRIORITY") or 0, message.get_attr("RTA_OIF"))
        for message in ip.get_routes(family=socket.AF_INET, table=254)
        if message["dst_len"] == 0 and message.get_attr("RTA_OIF")
    ]
    return ip.get_links(min(routes)[1])[0].get_attr("IFLA_IFNAME") if routes else None
