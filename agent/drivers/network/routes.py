"""The custom entries of a VPC's route table in its router (SPEC N1).

Several routes to one destination stand beside each other, by metric:

    CUSTOM   the entry's next hop, as long as that is there
    CLOSED   nowhere: what an entry names never takes another way because its next hop is gone
    SYSTEM   what the router does without the entry: out by the uplink, or nowhere

A default route by an instance must not catch what has a better way out, or that instance itself: `own_way` lists the
addresses whose packets use every route but such a default one.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any, NamedTuple

from pyroute2 import IPRoute

from agent.core.specs import RouteSpec, VpcSpec
from agent.drivers.network import links

CUSTOM_METRIC, CLOSED_METRIC, SYSTEM_METRIC = 10, 20, 30
EVERYWHERE = "0.0.0.0/0"
WAY_OUT_TABLE = 100  # what `own_way` has for a default route
_PROTOCOL = 82  # marks routes of this module: any number that no routing daemon has
_STATIC = 4  # what pyroute2 marks routes with
_MAIN_TABLE = 254
_NO_DEFAULT, _WAY_OUT = 100, 101  # priorities of the rules of `own_way`
_SUPPRESS_PREFIX_LENGTH = "FRA_SUPPRESS_PREFIXLEN"


class Route(NamedTuple):
    """`link` None: nowhere."""

    cidr: str
    metric: int
    link: int | None = None
    via: str | None = None


class WayOut(NamedTuple):
    """Where the outside is: a link of the namespace and the address behind it."""

    link: int
    via: str


def custom(routes: tuple[RouteSpec, ...], taps: dict[str, int], way_out: WayOut | None) -> set[Route]:
    """The routes of all entries. `taps`: the numbers of those links of the namespace that there are."""
    wanted = {Route(route.cidr, CLOSED_METRIC) for route in routes}
    for route in routes:
        if not route.tap and way_out:
            wanted.add(Route(route.cidr, CUSTOM_METRIC, way_out.link, way_out.via))
        elif route.tap in taps:
            wanted.add(Route(route.cidr, CUSTOM_METRIC, taps[route.tap], route.via))
    return wanted


def own_way(spec: VpcSpec) -> set[str]:
    """The addresses that a default route by an instance does not concern: its own, and those with a public one."""
    hops = {route.via for route in spec.routes if route.cidr == EVERYWHERE and route.tap}
    return hops | {public.private for public in spec.publics} if hops else set()


def apply(ip: IPRoute, spec: VpcSpec, uplink: str | None) -> None:
    """Make the namespace's routes fit the entries; those that stay are not interrupted. `uplink` as of Router."""
    taps = {route.tap: number for route in spec.routes if route.tap and (number := links.index(ip, route.tap))}
    way_out = _way_out(ip, uplink)
    wanted, present = custom(spec.routes, taps, way_out), _present(ip)
    _remove_former(ip, spec)
    # What leads nowhere first: a destination is never without an answer of its own.
    for route in sorted(wanted, key=lambda route: -route.metric):
        ip.route("replace", **_attributes(route))
    _apply_own_way(ip, own_way(spec), way_out)
    gone = present - {(route.cidr, route.metric) for route in wanted}
    for cidr, metric in sorted(gone, key=lambda key: key[1]):
        ip.route("del", dst=cidr, priority=metric, proto=_PROTOCOL)


def _remove_former(ip: IPRoute, spec: VpcSpec) -> None:
    """Version 0.1 made the system's routes without a metric, which goes before all of ours."""
    for message in ip.get_routes(family=socket.AF_INET, table=_MAIN_TABLE, proto=_STATIC):
        cidr = _destination(message)
        if cidr in (EVERYWHERE, spec.cidr) and not message.get_attr("RTA_PRIORITY"):
            ip.route("del", dst=cidr)  # the one with the lowest metric


def _way_out(ip: IPRoute, uplink: str | None) -> WayOut | None:
    """The pair's addresses are the first two of a /30: the host's and the VPC's."""
    number = links.index(ip, uplink) if uplink else None
    found = links.addresses(ip, number) if number is not None else []
    if number is None or not found:
        return None
    return WayOut(number, str(ipaddress.IPv4Network(f"{found[0][0]}/30", strict=False)[1]))


def _attributes(route: Route) -> dict[str, Any]:
    attributes: dict[str, Any] = {"dst": route.cidr, "priority": route.metric, "proto": _PROTOCOL}
    if route.link is None:
        return {**attributes, "type": "unreachable"}
    return {**attributes, "oif": route.link, "gateway": route.via, "flags": ["onlink"]}


def _present(ip: IPRoute) -> set[tuple[str, int]]:
    """Destination and metric of this module's routes."""
    found = ip.get_routes(family=socket.AF_INET, table=_MAIN_TABLE)
    return {
        (_destination(message), message.get_attr("RTA_PRIORITY") or 0)
        for message in found
        if message["proto"] == _PROTOCOL
    }


def _destination(message: Any) -> str:
    return f"{message.get_attr('RTA_DST') or '0.0.0.0'}/{message['dst_len']}"


def _apply_own_way(ip: IPRoute, wanted: set[str], way_out: WayOut | None) -> None:
    present = {
        (message.get_attr("FRA_SRC"), message.get_attr("FRA_PRIORITY"))
        for message in ip.get_rules(family=socket.AF_INET)
        if message.get_attr("FRA_PRIORITY") in (_NO_DEFAULT, _WAY_OUT)
    }
    if wanted:
        route = Route(EVERYWHERE, CUSTOM_METRIC, *(way_out or (None, None)))
        ip.route("replace", table=WAY_OUT_TABLE, **_attributes(route))
    for address in wanted:
        if (address, _WAY_OUT) not in present:
            ip.rule("add", src=address, src_len=32, table=WAY_OUT_TABLE, priority=_WAY_OUT)
        if (address, _NO_DEFAULT) not in present:
            suppress = {_SUPPRESS_PREFIX_LENGTH: 0}
            ip.rule("add", src=address, src_len=32, table=_MAIN_TABLE, priority=_NO_DEFAULT, **suppress)
    for address, priority in present:
        if address not in wanted:
            ip.rule("del", src=address, src_len=32, priority=priority)
