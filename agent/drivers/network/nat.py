"""How the addresses of a VPC are translated where its router meets the host (SPEC N3-N5): pure.

    prerouting   a public address to the guest that has it; a port of the host (which comes as one of the VPC's end
                 of the pair) to the guest that it leads to
    postrouting  out of the pair: a guest's address to its public one, else to the VPC's end, if it may go out
    check        nothing leaves with another address than these, and a flow lives as long as what it is translated by

The kernel keeps a flow's translation as long as the flow. So `check` compares what each flow was given with what
holds now, at every packet: what was unbound or bound elsewhere is dead at its next packet, in both directions.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from agent.core.specs import ForwardSpec, VpcSpec
from agent.drivers.network import expressions as x
from agent.drivers.network import set_elements as e
from agent.drivers.network.flows import Flow
from agent.drivers.network.ruleset import Chain, Hook, NfSet, Table, elements

TABLE = "nat"
INSIDE = "up0"  # the VPC's end of the pair
_PORTS = range(1024, 65536)
_ADDRESS, _PROTOCOL, _PORT = "ipv4_addr", "inet_proto", "inet_service"

_Items = Iterable[tuple[tuple[str, ...], tuple[str, ...]]]  # keys and values


class Ends(NamedTuple):
    """The addresses of the pair between a VPC and the host."""

    outside: str  # the host's
    inside: str  # the VPC's


def leads_out(spec: VpcSpec) -> bool:
    """Whether guests without a public address may go out, where the host lets them."""
    return bool(spec.nat) or any(not route.tap for route in spec.routes)


def inside_ports(forwards: Iterable[ForwardSpec]) -> dict[ForwardSpec, int]:
    """By which port of the VPC's end each one comes: the same whatever else is forwarded, as far as that can be."""
    ports: dict[ForwardSpec, int] = {}
    taken: set[tuple[str, int]] = set()
    for forward in sorted(forwards, key=lambda f: (f.host_address, f.protocol, f.host_port)):
        port = forward.host_port if not forward.host_address else _scattered(forward)
        while (forward.protocol, port) in taken:
            port = _PORTS[(port + 1) % len(_PORTS)]
        taken.add((forward.protocol, port))
        ports[forward] = port
    return ports


def _scattered(forward: ForwardSpec) -> int:
    return _PORTS[zlib.crc32(f"{forward.host_address} {forward.host_port}".encode()) % len(_PORTS)]


def translate(spec: VpcSpec, ends: Ends | None) -> Table:
    """The table of the VPC's namespace. Without a pair (`ends` None) public addresses work within the VPC only."""
    ports = inside_ports(spec.forwards) if ends else {}
    chains = {
        "prerouting": Chain(_prerouting(ends), Hook(0, -100, kind="nat")),
        "postrouting": Chain(_postrouting(spec), Hook(4, 100, kind="nat")),
        "check": Chain(_check(spec, ends), Hook(4, 150)),
    }
    return Table(x.NFPROTO_INET, TABLE, {**_public_sets(spec, ends), **_forward_sets(ports)}, chains)


def outdated(spec: VpcSpec, ends: Ends | None) -> Callable[[Flow], bool]:
    """Of a flow through the VPC's namespace: whether `check` drops it, as what it was translated by is gone."""
    bound = {(public.address, public.private) for public in spec.publics}
    forwarded = {
        (x.PROTOCOLS[forward.protocol], port, forward.private, forward.port)
        for forward, port in inside_ports(spec.forwards).items()
    }
    inside = ends.inside if ends else None

    def is_outdated(flow: Flow) -> bool:
        asked, answers = flow.destination, flow.answering
        if asked != answers and (asked.address, answers.address) not in bound:
            by_port = (flow.protocol, asked.port, *answers) in forwarded
            return not (asked.address == inside and by_port)
        private, public = flow.source.address, flow.answered.address
        return private != public and public != inside and (public, private) not in bound

    return is_outdated


# ------------------------------------------------------------------------------------- sets


def _public_sets(spec: VpcSpec, ends: Ends | None) -> dict[str, NfSet]:
    bound = [(public.address, public.private) for public in spec.publics if public.address != public.private]
    # What a guest sends has one address, also where it has several.
    public_of = {private: public for public, private in sorted(bound, reverse=True)}
    leaving = {public.address for public in spec.publics} | ({ends.inside} if ends else set())
    return {
        "publics": _map((_ADDRESS,), (_ADDRESS,), [((public,), (private,)) for public, private in bound]),
        "privates": _map((_ADDRESS,), (_ADDRESS,), [((private,), (public,)) for private, public in public_of.items()]),
        "selves": _tuples((_ADDRESS, _ADDRESS), [(private, private) for private in public_of]),
        "bound": _tuples((_ADDRESS, _ADDRESS), bound),
        "leaving": _tuples((_ADDRESS,), [(address,) for address in sorted(leaving)]),
    }


def _forward_sets(ports: dict[ForwardSpec, int]) -> dict[str, NfSet]:
    known = [((f.protocol, str(port)), (f.private, str(f.port))) for f, port in ports.items()]
    return {
        "forwards": _map((_PROTOCOL, _PORT), (_ADDRESS, _PORT), known),
        "forwarded": _tuples((_PROTOCOL, _PORT, _ADDRESS, _PORT), [(*key, *value) for key, value in known]),
    }


def _map(keys: tuple[str, ...], values: tuple[str, ...], items: _Items) -> NfSet:
    return NfSet(keys, elements(e.mapped_element(key, value) for key, value in items), data=values)


def _tuples(types: tuple[str, ...], items: Iterable[tuple[str, ...]]) -> NfSet:
    return NfSet(types, elements(e.tuple_element(*item) for item in items))


# ------------------------------------------------------------------------------------- chains


def _prerouting(ends: Ends | None) -> tuple[x.Rule, ...]:
    rules = [x.rule(x.ipv4(), x.address_by("dnat", "ip daddr", "publics"))]
    if ends:
        arrived = (x.interface("iifname", INSIDE), x.ipv4(), x.header("ip daddr", x.ip4(ends.inside), ends.inside))
        rules.append(x.rule(*arrived, x.destination_by_port("forwards")))
    return tuple(rules)


def _postrouting(spec: VpcSpec) -> tuple[x.Rule, ...]:
    out = x.interface("oifname", INSIDE)
    public = x.address_by("snat", "ip saddr", "privates")
    return (
        x.rule(out, x.ipv4(), public),
        # A guest that speaks to its own public address hears from that, too, and not from itself.
        x.rule(x.ipv4(), x.addresses_in("selves"), public),
        *(x.rule(out, x.ipv4(), x.header_within("ip saddr", cidr), x.masquerade()) for cidr in spec.nat),
        *(x.rule(out, x.ipv4(), x.header_within("ip daddr", cidr), x.masquerade()) for cidr in _by_host(spec)),
    )


def _check(spec: VpcSpec, ends: Ends | None) -> tuple[x.Rule, ...]:
    out, dnat, snat = x.interface("oifname", INSIDE), x.status("dnat"), x.status("snat")
    original, reply = x.ORIGINAL, x.REPLY
    rules = [
        x.rule(out, x.ipv4(), x.header_in("ip saddr", "leaving", inverted=True), x.counter(), x.drop()),
        x.rule(dnat, x.tracked_in("bound", (original, "ip daddr"), (reply, "ip saddr")), x.accept()),
    ]
    if ends:
        keys = (original, "protocol"), (original, "proto-dst"), (reply, "ip saddr"), (reply, "proto-src")
        arrived = x.tracked_address(original, "ip daddr", ends.inside)
        rules.append(x.rule(dnat, arrived, x.tracked_in("forwarded", *keys), x.accept()))
    rules += [
        x.rule(dnat, x.counter(), x.drop()),
        x.rule(snat, x.tracked_in("bound", (reply, "ip daddr"), (original, "ip saddr")), x.accept()),
    ]
    if ends:
        left = x.tracked_address(reply, "ip daddr", ends.inside)
        rules += [x.rule(snat, left, x.tracked_address(original, "ip saddr", cidr), x.accept()) for cidr in spec.nat]
        rules += [
            x.rule(snat, left, x.tracked_address(original, "ip daddr", cidr), x.accept()) for cidr in _by_host(spec)
        ]
    return (*rules, x.rule(snat, x.counter(), x.drop()))


def _by_host(spec: VpcSpec) -> list[str]:
    return [route.cidr for route in spec.routes if not route.tap]
