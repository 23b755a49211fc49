"""Reading links and addresses through pyroute2."""

from __future__ import annotations

from typing import Any, NamedTuple

from pyroute2 import IPRoute


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
    found = ip.get_addr(index=number, family=2)
    return [
        (message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"), message["prefixlen"]) for message in found
    ]
