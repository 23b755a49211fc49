"""A VPC with everything in it that a filter tells apart, and flows between any of it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from random import Random

from probing import Field
from stage import make_namespace
from vpc_lab import Guest, Lab

from agent.core.specs import FilterSpec, ForwardSpec, MemberSpec, PublicSpec
from agent.drivers.network import netns
from agent.drivers.network.nat import inside_ports
from tests.support.filter_reference import Opening
from tests.support.random_filters import Forward

PUBLICS = {"192.168.0.1": "203.0.113.150"}
_FORWARDS = tuple(
    ForwardSpec(protocol, "", host_port, private, port)
    for protocol in ("tcp", "udp")
    for host_port, private, port in ((8080, "192.168.0.4", 80), (80, "192.168.0.4", 8080), (1000, "192.168.1.2", 22))
)


@dataclasses.dataclass
class Model:
    """Guests on the intranet, one of them with two addresses, one with a public one, one the next hop to a network; and
    two on the internet side of the classic network."""

    lab: Lab
    field: Field
    actors: tuple[MemberSpec, ...]
    forwards: tuple[Forward, ...]


@contextlib.contextmanager
def modelled() -> Iterator[Model]:
    host = make_namespace(f"host-{Random().randrange(1 << 32):08x}")
    lab = Lab(uplink="auto", host=host.name)
    try:
        field, guests = _field(lab, host)
        try:
            known = inside_ports(_FORWARDS).items()
            forwards = tuple(Forward(f.protocol, field.address, port, f.private, f.port) for f, port in known)
            yield Model(lab, field, tuple(map(_member, guests)), forwards)
        finally:
            field.close()
    finally:
        lab.close()
        host.close()
        netns.remove(str(host.name))


def _field(lab: Lab, host: netns.Namespace) -> tuple[Field, list[Guest]]:
    lab.vpc()
    guests = [lab.guest(f"192.168.0.{number}", wire=False) for number in range(1, 6)]
    guests += [lab.guest(f"100.125.0.{number}", wire=False) for number in (1, 2)]
    # All others are outside what they are inside, so that only their groups keep them in.
    others = [ip for guest in guests for ip in _member(guest).ips if ip not in PUBLICS] + ["172.30.0.5"]
    publics = [PublicSpec(public, private) for private, public in PUBLICS.items()]
    publics += [PublicSpec(ip, ip) for ip in others]
    spec = dataclasses.replace(lab.vpcs["vpc-a"], nat=(), publics=tuple(publics), forwards=_FORWARDS)
    lab.driver.ensure_vpc(spec)
    lab.driver.apply_filter(FilterSpec("vpc-a", members=tuple(map(_member, guests))))
    for guest in guests:
        lab.driver.wire_port(guest.port)
    field = Field(lab, host, guests)
    field.route(guests[1], "192.168.1.2/32")
    field.route(guests[2], "172.30.0.0/24")
    return field, guests


def _member(guest: Guest) -> MemberSpec:
    member = guest.member()
    if guest.ip.startswith("100."):
        return dataclasses.replace(member, nic_type="internet")
    further = {"192.168.0.2": {"ips": ("192.168.0.2", "192.168.1.2")}, "192.168.0.3": {"forwards": ("172.30.0.0/24",)}}
    return dataclasses.replace(member, **further.get(guest.ip, {}))


def distinct(found: Iterator[Opening], used: set[frozenset[str]]) -> Iterator[Opening]:
    """GRE knows no ports: between two addresses there is one flow."""
    for opening in found:
        if opening.protocol == "gre":
            ends = {opening.source, opening.shown}, {opening.destination, opening.reached[0]}
            pairs = set(map(frozenset, itertools.product(*ends)))
            if pairs & used:
                continue
            used |= pairs
        yield opening


def under(spec: FilterSpec, opening: Opening) -> Opening:
    """The same flow, its ends in the groups they are in now."""
    now = {member.tap: member for member in spec.members}
    sender, receiver = (end and now[end.tap] for end in (opening.sender, opening.receiver))
    return dataclasses.replace(opening, sender=sender, receiver=receiver)


# ------------------------------------------------------------------------------------- for people


def described(opening: Opening) -> str:
    ends = [
        f"{address} ({'/'.join(member.groups) if member else 'outside'})"
        for address, member in ((opening.source, opening.sender), (opening.destination, opening.receiver))
    ]
    there = f", forwarded to {opening.forwarded}" if opening.forwarded else ""
    return f"{ends[0]} -> {ends[1]} {opening.protocol} {opening.port or ''}".rstrip() + there


def listed(spec: FilterSpec) -> str:
    lines = [f"  {member.ips} {member.nic_type} in {'/'.join(member.groups)}" for member in spec.members]
    lines += [f"  isolated: {sorted(spec.isolated)}, mail allowed: {sorted(spec.smtp_allowed)}"]
    for group, rules in spec.rules.items():
        for rule in rules:
            peer = rule.peer_group or rule.cidr
            lines.append(
                f"  {group} {rule.nic_type} {rule.direction.value} {rule.priority} {rule.verdict.value} "
                f"{rule.protocol} {rule.ports or ''} {peer}"
            )
    return "\n".join(lines)
