"""The custom entries of a VPC's route table in its router (SPEC N1).

Several routes to one destination stand beside each other, by metric:

    CUSTOM   the entry's next hop, as long as that is there
    CLOSED   nowhere: what an entry names never takes another way because its next hop is gone
    SYSTEM   what the router does without the entry: out by the uplink, or nowhere

A default route by an instance must not catch what has a better way out, or that instance itself: `own_way` lists the
addresses whose packets use every route but such a default one, in both directions: the way back of a packet has to
be its own, or the kernel takes it for forged.
"""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

from pyroute2 import IPRoute

from agent.core.specs import RouteSpec, VpcSpec
from agent.drivers.network import links

CUSTOM_METRIC, CLOSED_METRIC, SYSTEM_METRIC = 10, 20, 30
EVERYWHERE = "0.0.0.0/0"
_PROTOCOL = 82  # marks routes of this module: any number that no routing daemon has
_STATIC = 4  # what pyroute2 marks routes with
_MAIN_TABLE, _WAY_OUT_TABLE = 254, 100  # the second is what `own_way` has for a default route
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


class _Rule(NamedTuple):
    """Of the addresses of `own_way`. The kernel looks for a packet's way back as if it came from `lo`."""

    priority: int
    back: bool
    way_out: bool


# A fence stands between the two kinds: what comes from a port has to have passed the filter before it is routed.
_RULES = (_Rule(5, True, False), _Rule(6, True, True), _Rule(100, False, False), _Rule(101, False, True))


def custom(entries: tuple[RouteSpec, ...], taps: dict[str, int], out: WayOut | None) -> set[Route]:
    """The routes of all entries. `taps`: the numbers of those links of the namespace that there are."""
    wanted = {Route(entry.cidr, CLOSED_METRIC) for entry in entries}
    for entry in entries:
        if not entry.tap and out:
            wanted.add(Route(entry.cidr, CUSTOM_METRIC, out.link, out.via))
        elif entry.tap in taps:
            wanted.add(Route(entry.cidr, CUSTOM_METRIC, taps[entry.tap], entry.via))
    return wanted


def own_way(spec: VpcSpec) -> set[str]:
    """The addresses that a default route by an instance does not concern: its own, and those with a public one."""
    hops = {entry.via for entry in spec.routes if entry.cidr == EVERYWHERE and entry.tap}
    return hops | {public.private for public in spec.publics} if hops else set()


def apply(ip: IPRoute, spec: VpcSpec) -> None:
    """Make the namespace's routes fit the entries; those that stay are not interrupted."""
    taps = {entry.tap: number for entry in spec.routes if entry.tap and (number := links.index(ip, entry.tap))}
    _give_metrics(ip, spec)
    out = way_out(ip)
    wanted, present = custom(spec.routes, taps, out), _present(ip)
    # What leads nowhere first: a destination is never without an answer of its own.
    for route in sorted(wanted, key=lambda route: -route.metric):
        ip.route("replace", **_attributes(route))
    _apply_own_way(ip, own_way(spec), out)
    gone = present - {(route.cidr, route.metric) for route in wanted}
    for cidr, metric in sorted(gone, key=lambda key: key[1]):
        ip.route("del", dst=cidr, priority=metric, proto=_PROTOCOL)


def _give_metrics(ip: IPRoute, spec: VpcSpec) -> None:
    """Former versions made the system's routes without a metric, which goes before all of ours."""
    for message in ip.get_routes(family=socket.AF_INET, table=_MAIN_TABLE, proto=_STATIC):
        cidr, via = _destination(message), message.get_attr("RTA_GATEWAY")
        if cidr in (EVERYWHERE, spec.cidr) and not message.get_attr("RTA_PRIORITY"):
            if via:
                ip.route("replace", dst=cidr, gateway=via, priority=SYSTEM_METRIC)
            ip.route("del", dst=cidr)  # the one with the lowest metric


def way_out(ip: IPRoute) -> WayOut | None:
    """Where the system's default route leads; without an uplink there is none."""
    for message in ip.get_routes(family=socket.AF_INET, table=_MAIN_TABLE, proto=_STATIC):
        if message["dst_len"] == 0 and message.get_attr("RTA_GATEWAY"):
            return WayOut(message.get_attr("RTA_OIF"), message.get_attr("RTA_GATEWAY"))
    return None


def _attributes(route: Route) -> dict[str, Any]:
    attributes: dict[str, Any] = {"dst": route.cidr, "priority": route.metric, "proto": _PROTOCOL}
    if route.link is None:
        return {**attributes, "type": "unreachable"}
    return {**attributes, "oif": route.link, "gateway": route.via, "flags": ["onlink"]}


def _present(ip: IPRoute) -> set[tuple[str, int]]:
    """Destination and metric of this module's routes."""
    found = ip.get_routes(family=socket.AF_INET, table=_MAIN_TABLE, proto=_PROTOCOL)
    return {(_destination(message), message.get_attr("RTA_PRIORITY") or 0) for message in found}


def _destination(message: Any) -> str:
    return f"{message.get_attr('RTA_DST') or '0.0.0.0'}/{message['dst_len']}"


def _apply_own_way(ip: IPRoute, wanted: set[str], out: WayOut | None) -> None:
    rules = {rule.priority: rule for rule in _RULES}
    present = {
        (message.get_attr("FRA_SRC"), rules[priority])
        for message in ip.get_rules(family=socket.AF_INET)
        if (priority := message.get_attr("FRA_PRIORITY")) in rules
    }
    if wanted:
        route = Route(EVERYWHERE, CUSTOM_METRIC, *(out or (None, None)))
        ip.route("replace", table=_WAY_OUT_TABLE, **_attributes(route))
    needed = {(address, rule) for address in wanted for rule in _RULES}
    for address, rule in sorted(needed - present, key=lambda pair: pair[1], reverse=True):
        ip.rule("add", **_selector(address, rule))
    for address, rule in present - needed:
        ip.rule("del", **_selector(address, rule))


def _selector(address: str, rule: _Rule) -> dict[str, Any]:
    """What a rule matches, and what it asks: all routes but the default ones, or the way out."""
    no_default = {"table": _MAIN_TABLE, _SUPPRESS_PREFIX_LENGTH: 0}
    asked = {"table": _WAY_OUT_TABLE} if rule.way_out else no_default
    back = {"iifname": "lo"} if rule.back else {}
    return {"src": address, "src_len": 32, "priority": rule.priority, **back, **asked}
