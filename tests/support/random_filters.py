"""Random security groups, memberships and flows, of which many meet."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

from agent.core.specs import Direction, FilterSpec, MemberSpec, RuleSpec, Verdict
from tests.support.filter_reference import MAIL_PORT, Opening

GROUPS = tuple(f"sg-{letter}" for letter in "abcdef")
OUTSIDE = ("203.0.113.1", "203.0.113.77", "198.51.100.9", "8.8.4.4")
_PORTS = (1, 22, MAIL_PORT, 80, 81, 443, 1000, 1001, 9999, 65535)
_PROTOCOLS = ("all", "tcp", "tcp", "udp", "udp", "icmp", "gre")
_PRIORITIES = (1, 1, 2, 5, 5, 100, 110)
_MANY = 45  # rules of one kind: more than are written out one by one


def filters(random: Random, actors: tuple[MemberSpec, ...]) -> Iterator[FilterSpec]:
    """One after the other, each made from the one before by a few changes."""
    spec = FilterSpec("vpc-a", members=tuple(_grouped(random, actor) for actor in actors))
    networks = _networks(actors)
    rules = {group: tuple(_rules(random, networks)) for group in GROUPS}
    while True:
        spec = dataclasses.replace(
            spec,
            rules=rules,
            smtp_allowed=frozenset(member.tap for member in actors if random.random() < 0.3),
            isolated=frozenset(group for group in GROUPS if random.random() < 0.25),
        )
        yield spec
        group = random.choice(GROUPS)
        rules = {**rules, group: tuple(_rules(random, networks))}
        chosen = random.choice(actors).tap
        members = (_grouped(random, one) if one.tap == chosen else one for one in spec.members)
        spec = dataclasses.replace(spec, members=tuple(members))


def _grouped(random: Random, member: MemberSpec) -> MemberSpec:
    return dataclasses.replace(member, groups=tuple(random.sample(GROUPS, random.choice((1, 1, 2, 3, 5)))))


def _networks(actors: tuple[MemberSpec, ...]) -> list[str]:
    """Such as hold some of the addresses that there are, and not others."""
    addresses = [*OUTSIDE, *(ip for actor in actors for ip in actor.ips)]
    found = ["0.0.0.0/0", "0.0.0.0/0", "10.0.0.0/8", *(net for actor in actors for net in actor.forwards)]
    for length in (8, 24, 28, 31, 32):
        found += [str(ipaddress.ip_network((ip, length), strict=False)) for ip in addresses]
    return found


def _rules(random: Random, networks: list[str]) -> Iterator[RuleSpec]:
    for _ in range(random.choice((0, 1, 3, 6))):
        yield _rule(random, networks)
    if random.random() < 0.15:
        same = _rule(random, networks)
        for _ in range(_MANY):
            one = _rule(random, networks)
            yield dataclasses.replace(
                one, direction=same.direction, verdict=same.verdict, priority=same.priority, nic_type=same.nic_type
            )


def _rule(random: Random, networks: list[str]) -> RuleSpec:
    protocol = random.choice(_PROTOCOLS)
    ports = None
    if protocol in ("tcp", "udp") and random.random() < 0.8:
        low, high = sorted(random.choices(_PORTS, k=2))
        ports = (low, low) if random.random() < 0.5 else (low, high)
    by_group = random.random() < 0.25
    return RuleSpec(
        random.choice(list(Direction)),
        random.choice(list(Verdict)),
        random.choice(_PRIORITIES),
        protocol,
        ports,
        None if by_group else random.choice(networks),
        random.choice(GROUPS) if by_group else None,
        nic_type="internet" if random.random() < 0.25 else "intranet",
    )


class Forward(NamedTuple):
    """A port of an address outside that leads to one of a guest."""

    protocol: str
    address: str
    port: int
    private: str
    reached: int


def openings(
    random: Random, spec: FilterSpec, forwards: Sequence[Forward] = (), publics: Mapping[str, str] | None = None
) -> Iterator[Opening]:
    """Flows between different ports, or a port and the outside; some with a sender's address that is not its own, some
    by one of `forwards` or to one of `publics` (public addresses by the private ones that they stand for)."""
    publics = publics or {}
    everybody = [*spec.members, None]
    while True:
        if forwards and random.random() < 0.1:
            yield _forwarded(random, spec, random.choice(forwards))
            continue
        sender, receiver = random.sample(everybody, 2)
        source = random.choice(_addresses(sender))
        if sender is not None and random.random() < 0.05:
            source = random.choice([*OUTSIDE, *(ip for one in spec.members for ip in one.ips)])
        destination = random.choice(_addresses(receiver))
        if source == destination:
            continue
        protocol = random.choice(("tcp", "tcp", "udp", "udp", "icmp", "gre"))
        ports = [*_PORTS, 2, 26, 79, 82, 999, 1002, 65534] + 8 * [MAIL_PORT] * (receiver is None)
        port = random.choice(ports) if protocol in ("tcp", "udp") else 0
        opening = Opening(sender, source, receiver, destination, protocol, port)
        if receiver is None:
            opening = dataclasses.replace(opening, seen_as=publics.get(source, ""))
        elif destination in publics and (sender is None or random.random() < 0.5):
            opening = dataclasses.replace(opening, destination=publics[destination], forwarded=(destination, port))
        yield opening


def _forwarded(random: Random, spec: FilterSpec, forward: Forward) -> Opening:
    receiver = next(member for member in spec.members if forward.private in member.ips)
    reached = forward.private, forward.reached
    return Opening(None, random.choice(OUTSIDE), receiver, forward.address, forward.protocol, forward.port, reached)


def _addresses(member: MemberSpec | None) -> list[str]:
    if member is None:
        return list(OUTSIDE)
    return [*member.ips, *(str(ipaddress.ip_network(network)[5]) for network in member.forwards)]
