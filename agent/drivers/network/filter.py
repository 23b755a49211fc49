"""A VPC's wanted filter as nftables tables (SPEC F2-F7): pure.

The way of a packet that goes through the router:

    raw      (prerouting -300)  from a port: only with the port's own MAC and address, and only IPv4
    out      (forward 0)        egress rules of the port that opened the flow
    in       (forward 10)       ingress rules of the port that the flow was opened to
    mark     (forward 20)       passed: the flow is marked with the generation of the rules it passed
    input    (input 0)          what may reach the router itself

`out` and `in` are two base chains of one hook because an `accept` ends only its own chain. Both let a flow's
packets pass unexamined while the flow carries the mark of the current rules, which is a digest of them. After
a change a flow is examined again at its next packet, in whichever direction that goes: rules match what the
flow's *first* packet had (`ct original`), and reply packets are dispatched by the other interface. So a
permission revoked ends live connections, and one that stays loses nothing (SPEC F6).

    s_<group>_<e|i>_<priority>_<drop|accept>    the rules of one group that share these, stored once
    c_<digest>_<e|i>                            all rules for ports with the same groups: jumps to the above
    m_<group>                                   the addresses of the group's members
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from itertools import chain as concat
from typing import NamedTuple

from agent.core.addresses import METADATA_ADDRESS, NAME_SERVER
from agent.core.specs import Direction, FilterSpec, MemberSpec, RuleSpec, Verdict
from agent.drivers.network import expressions as x
from agent.drivers.network.ruleset import Chain, Hook, NfSet, Table, elements

TABLE = "vpc"
PORT_GROUP = 100  # interface group of every port

# An interval set costs the kernel 80 KB, so a few rules are cheaper one after the other.
_SET_FROM_RULES = 32
_SET_FROM_ELEMENTS = 8

_EVERYWHERE = x.network("0.0.0.0/0")

_Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]  # ranges of address, protocol, port


class Segment(NamedTuple):
    """The rules of one group with one direction, priority and verdict."""

    name: str
    order: tuple[int, bool]  # priority, then drop before accept
    chain: Chain
    sets: dict[str, NfSet]
    peers: frozenset[str]


def translate(spec: FilterSpec) -> tuple[Table, Table]:
    """The inet and the ARP table. Raises ValueError for an address, a network or a port range that cannot be."""
    sets, chains = _examined(spec)
    chains.update(_base_chains(_generation(sets, chains)))
    senders = [x.sender_element(m.tap, m.mac, ip) for m in spec.members for ip in m.ips]
    sets["senders"] = NfSet(("ifname", "ether_addr", "ipv4_addr"), elements(senders))
    return Table(x.NFPROTO_INET, TABLE, sets, chains), _arp_table(spec)


def _examined(spec: FilterSpec) -> tuple[dict[str, NfSet], dict[str, Chain]]:
    """Everything that decides about a flow: dispatch maps, the chains behind them, the sets these match."""
    combos = {member.groups: _combo_name(member.groups) for member in spec.members}
    groups = set(concat.from_iterable(combos))
    segments = {
        (group, way): _segments(group, way, spec.rules.get(group, ())) for group in sorted(groups) for way in Direction
    }
    used = list(concat.from_iterable(segments.values()))
    chains = {segment.name: segment.chain for segment in used}
    sets = {name: value for segment in used for name, value in segment.sets.items()}
    for combo, name in combos.items():
        for way in Direction:
            chains[f"{name}_{_letter(way)}"] = _combo(combo, way, segments, spec.isolated)
    sets["egress"] = _dispatch(spec.members, combos, Direction.EGRESS)
    sets["ingress"] = _dispatch(spec.members, combos, Direction.INGRESS)
    sets["smtp_allowed"] = NfSet(("ifname",), elements(x.interface_element(tap) for tap in spec.smtp_allowed))
    addresses: dict[str, list[x.Element]] = {group: [] for group in groups.union(*(s.peers for s in used))}
    for member in spec.members:
        for group in set(member.groups):
            addresses[group] += [x.address_element(ip) for ip in member.ips]
    sets |= {_members(group): NfSet(("ipv4_addr",), elements(items)) for group, items in addresses.items()}
    return sets, chains


def _generation(sets: dict[str, NfSet], chains: dict[str, Chain]) -> int:
    """A number that differs when anything that decides about flows differs; the same after a restart."""
    digest = hashlib.blake2b(digest_size=4)
    for name in sorted(sets):
        digest.update("\n".join([name, *sorted(sets[name].elements)]).encode() + b"\0")
    for name in sorted(chains):
        digest.update("\n".join([name, *(rule.text for rule in chains[name].rules)]).encode() + b"\0")
    return int.from_bytes(digest.digest(), "big") or 1  # 0 is what a flow has that nobody marked


def _letter(way: Direction) -> str:
    return way.value[0]


def _members(group: str) -> str:
    return f"m_{group}"


def _dispatch(members: tuple[MemberSpec, ...], combos: dict[tuple[str, ...], str], way: Direction) -> NfSet:
    items = (x.goto_element(member.tap, f"{combos[member.groups]}_{_letter(way)}") for member in members)
    return NfSet(("ifname",), elements(items), verdict_map=True)


# ------------------------------------------------------------------------------------- combinations of groups


@lru_cache(4096)
def _combo_name(groups: tuple[str, ...]) -> str:
    return "c_" + hashlib.blake2b(" ".join(sorted(set(groups))).encode(), digest_size=6).hexdigest()


def _combo(
    groups: tuple[str, ...],
    way: Direction,
    segments: dict[tuple[str, Direction], tuple[Segment, ...]],
    isolated: frozenset[str],
) -> Chain:
    """All segments as one list by priority, drop first (F3); then what goes without a rule (F4).

    Members of one group reach each other, unless the group is one of `isolated`.
    """
    own = sorted(set(groups))
    ordered = sorted(
        concat.from_iterable(segments[group, way] for group in own),
        key=lambda segment: (segment.order, segment.name),
    )
    rules = [x.rule(x.jump(segment.name)) for segment in ordered]
    if way is Direction.EGRESS:
        return Chain((*rules, x.rule(x.accept())))
    open_groups = [group for group in own if group not in isolated]
    rules += [x.rule(x.original_address_in("ip saddr", _members(group)), x.accept()) for group in open_groups]
    return Chain((*rules, x.rule(x.counter(), x.drop())))


# ------------------------------------------------------------------------------------- rules of a group


@lru_cache(4096)
def _segments(group: str, way: Direction, rules: tuple[RuleSpec, ...]) -> tuple[Segment, ...]:
    parts: dict[tuple[int, bool], list[RuleSpec]] = {}
    for rule in rules:
        if rule.direction is way:
            parts.setdefault((rule.priority, rule.verdict is Verdict.ACCEPT), []).append(rule)
    return tuple(_segment(group, way, order, parts[order]) for order in sorted(parts))


def _segment(group: str, way: Direction, order: tuple[int, bool], rules: list[RuleSpec]) -> Segment:
    priority, accepts = order
    verdict = x.accept() if accepts else x.drop()
    name = f"s_{group}_{_letter(way)}_{priority}_{'accept' if accepts else 'drop'}"
    address = "ip saddr" if way is Direction.INGRESS else "ip daddr"
    by_group = [rule for rule in rules if rule.peer_group is not None]
    by_address = [rule for rule in rules if rule.peer_group is None]
    for rule in rules:
        _check(rule)
    sets: dict[str, NfSet] = {}
    plain, layers = _layers(by_address)
    made = [x.rule(*_matches(rule, address), verdict) for rule in by_group + plain]
    for layer in layers:
        items = elements(x.interval_element(*zip(*box, strict=True)) for box in layer)
        # The name says what is in it: another content is another set, exchanged together with the rule.
        label = f"{name}_{hashlib.blake2b(' '.join(items).encode(), digest_size=6).hexdigest()}"
        sets[label] = NfSet(("ipv4_addr", "inet_proto", "inet_service"), items, interval=True)
        made.append(x.rule(x.tuple_in(address, label), verdict))
    return Segment(name, order, Chain(tuple(made)), sets, frozenset(rule.peer_group or "" for rule in by_group))


def _check(rule: RuleSpec) -> None:
    if (rule.cidr is None) == (rule.peer_group is None):
        raise ValueError(f"rule {rule} must have either a network or a group as its peer")
    if rule.protocol != "all" and rule.protocol not in x.PROTOCOLS:
        raise ValueError(f"protocol {rule.protocol!r} is none of all, {', '.join(sorted(x.PROTOCOLS))}")
    if rule.ports is None:
        return
    if rule.protocol not in ("tcp", "udp"):
        raise ValueError(f"ports {rule.ports} need protocol tcp or udp, not {rule.protocol}")
    if not 0 <= rule.ports[0] <= rule.ports[1] <= 65535:
        raise ValueError(f"ports {rule.ports} are not a range within 0-65535")


def _matches(rule: RuleSpec, address: str) -> list[x.Part]:
    parts: list[x.Part] = []
    if rule.peer_group is not None:
        parts.append(x.original_address_in(address, _members(rule.peer_group)))
    elif rule.cidr is not None and x.network(rule.cidr) != _EVERYWHERE:
        parts.append(x.original_address(address, rule.cidr))
    if rule.protocol != "all":
        parts.append(x.protocol(rule.protocol))
    if rule.ports is not None:
        parts.append(x.original_port(*rule.ports))
    return parts


def _layers(rules: list[RuleSpec]) -> tuple[list[RuleSpec], list[list[_Box]]]:
    """Rules to write out, and those for interval sets: in layers, for a set takes no overlapping ranges."""
    if len(rules) < _SET_FROM_RULES:
        return rules, []
    layers: list[list[tuple[_Box, RuleSpec]]] = []
    for rule in rules:
        box = _box(rule)
        for layer in layers:
            if not any(_overlap(box, other) for other, _ in layer):
                layer.append((box, rule))
                break
        else:
            layers.append([(box, rule)])
    plain = [rule for layer in layers if len(layer) < _SET_FROM_ELEMENTS for _, rule in layer]
    return plain, [[box for box, _ in layer] for layer in layers if len(layer) >= _SET_FROM_ELEMENTS]


def _box(rule: RuleSpec) -> _Box:
    first, last = (int.from_bytes(end, "big") for end in x.network(rule.cidr or "0.0.0.0/0"))
    number = x.PROTOCOLS.get(rule.protocol)
    return (first, last), (0, 255) if number is None else (number, number), rule.ports or (0, 65535)


def _overlap(one: _Box, other: _Box) -> bool:
    return all(a[0] <= b[1] and b[0] <= a[1] for a, b in zip(one, other, strict=True))


# ------------------------------------------------------------------------------------- the fixed part


def _base_chains(generation: int) -> dict[str, Chain]:
    return {
        "raw": Chain(_raw(), Hook(0, -300)),
        "out": Chain(_out(generation), Hook(2, 0, drop=True)),
        "in": Chain(_in(generation), Hook(2, 10, drop=True)),
        "mark": Chain((x.rule(x.set_flow_mark_from_packet()),), Hook(2, 20)),
        "input": Chain(_input(), Hook(1, 0, drop=True)),
    }


def _raw() -> tuple[x.Rule, ...]:
    from_port = x.group("iifgroup", PORT_GROUP)
    forged = x.sender_not_in("ether saddr", "ip saddr", "senders")
    return (
        x.rule(from_port, x.ipv4(equal=False), x.drop()),
        x.rule(from_port, forged, x.counter(), x.drop()),
    )


def _out(generation: int) -> tuple[x.Rule, ...]:
    from_port, to_port = x.group("iifgroup", PORT_GROUP), x.group("oifgroup", PORT_GROUP)
    original, reply = x.direction(x.ORIGINAL), x.direction(x.REPLY)
    return (
        # `mark` copies it to the flow: a packet that saw the old rules here and new ones in `in` marks nothing new.
        x.rule(x.set_packet_mark(generation)),
        x.rule(x.state("invalid"), x.drop()),
        x.rule(x.state("established", "related"), x.flow_mark(generation), x.accept()),
        # Mail leaves only where the host's owner allows it, whatever the groups say (F5).
        x.rule(
            original,
            from_port,
            x.group("oifgroup", PORT_GROUP, equal=False),
            x.protocol("tcp"),
            x.original_port(25, 25),
            x.interface_in("iifname", "smtp_allowed", inverted=True),
            x.counter(),
            x.drop(),
        ),
        x.rule(original, x.dispatch("iifname", "egress")),
        x.rule(reply, x.dispatch("oifname", "egress")),
        x.rule(original, from_port, x.drop()),
        x.rule(reply, to_port, x.drop()),
        x.rule(x.state("established", "related", "new"), x.accept()),
    )


def _in(generation: int) -> tuple[x.Rule, ...]:
    from_port, to_port = x.group("iifgroup", PORT_GROUP), x.group("oifgroup", PORT_GROUP)
    original, reply = x.direction(x.ORIGINAL), x.direction(x.REPLY)
    return (
        x.rule(x.state("invalid"), x.drop()),
        x.rule(x.state("established", "related"), x.flow_mark(generation), x.accept()),
        x.rule(original, x.dispatch("oifname", "ingress")),
        x.rule(reply, x.dispatch("iifname", "ingress")),
        x.rule(original, to_port, x.drop()),
        x.rule(reply, from_port, x.drop()),
        x.rule(x.state("established", "related", "new"), x.accept()),
    )


def _input() -> tuple[x.Rule, ...]:
    """What may reach the router: ping, metadata, DNS, answers. DHCP is taken from the link before this."""
    from_port = x.group("iifgroup", PORT_GROUP)
    return (
        x.rule(x.state("invalid"), x.drop()),
        x.rule(x.state("established", "related"), x.accept()),
        x.rule(x.interface("iifname", "lo"), x.accept()),
        x.rule(from_port, x.protocol("icmp"), x.header("icmp type", b"\x08", "echo-request"), x.accept()),
        x.rule(
            from_port,
            x.ipv4(),
            x.header("ip daddr", x.ip4(METADATA_ADDRESS), METADATA_ADDRESS),
            x.protocol("tcp"),
            x.header("tcp dport", b"\0\x50", "80"),
            x.accept(),
        ),
        *(
            x.rule(
                from_port,
                x.ipv4(),
                x.header("ip daddr", x.ip4(NAME_SERVER), NAME_SERVER),
                x.protocol(protocol),
                x.header(f"{protocol} dport", b"\0\x35", "53"),
                x.accept(),
            )
            for protocol in ("udp", "tcp")
        ),
    )


def _arp_table(spec: FilterSpec) -> Table:
    """Ports speak ARP only for themselves (F7); 0.0.0.0 is what a guest probes its own address with."""
    senders = [x.sender_element(m.tap, m.mac, ip) for m in spec.members for ip in (*m.ips, "0.0.0.0")]
    from_port = x.group("iifgroup", PORT_GROUP)
    rules = tuple(
        x.rule(from_port, x.sender_not_in(link, "arp saddr ip", "senders"), x.counter(), x.drop())
        for link in ("arp saddr ether", "ether saddr")
    )
    sets = {"senders": NfSet(("ifname", "ether_addr", "ipv4_addr"), elements(senders))}
    return Table(x.NFPROTO_ARP, TABLE, sets, {"input": Chain(rules, Hook(0, 0))})
