"""The rules of a security group as nftables chains and sets: pure (SPEC F2, F3).

A segment holds the rules of one group that share NIC type, direction, priority and verdict. It is stored once,
whoever is in the group, and jumped to from wherever its turn comes.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from agent.core.specs import INTRANET, Direction, RuleSpec, Verdict
from agent.drivers.network import expressions as x
from agent.drivers.network import set_elements as e
from agent.drivers.network.ruleset import Chain, NfSet, elements

# An interval set costs the kernel 80 KB, so a few rules are cheaper one after the other.
_SET_FROM_RULES = 32
_SET_FROM_ELEMENTS = 8

_EVERYWHERE = x.network("0.0.0.0/0")

_Box = tuple[int, int, int, int, int, int]  # first and last address, protocol, port


class Side(NamedTuple):
    """Which of a group's rules: those for ports of one NIC type, in one direction."""

    nic_type: str
    way: Direction

    @property
    def label(self) -> str:
        """`i`, `e`; `internet_i`, `internet_e` for the second NIC of the classic network."""
        letter = self.way.value[0]
        return letter if self.nic_type == INTRANET else f"{self.nic_type}_{letter}"


class Segment(NamedTuple):
    name: str
    order: tuple[int, bool]  # priority, then drop before accept
    chain: Chain
    sets: dict[str, NfSet]
    peers: frozenset[str]


Segments = dict[Side, tuple[Segment, ...]]


def members_set(group: str) -> str:
    """The name of the set with the private addresses of the group's members."""
    return f"m_{group}"


def segments(group: str, rules: tuple[RuleSpec, ...]) -> Segments:
    """ValueError for a network, a protocol or a port range that cannot be."""
    parts: dict[Side, dict[tuple[int, bool], list[RuleSpec]]] = {}
    for rule in rules:
        _check(rule)
        order = rule.priority, rule.verdict is Verdict.ACCEPT
        parts.setdefault(Side(rule.nic_type, rule.direction), {}).setdefault(order, []).append(rule)
    return {
        side: tuple(_segment(group, side, order, by_order[order]) for order in sorted(by_order))
        for side, by_order in parts.items()
    }


def _segment(group: str, side: Side, order: tuple[int, bool], rules: list[RuleSpec]) -> Segment:
    priority, accepts = order
    verdict = x.accept() if accepts else x.drop()
    name = f"s_{group}_{side.label}_{priority}_{'accept' if accepts else 'drop'}"
    by_group = [rule for rule in rules if rule.peer_group is not None]
    by_address = [rule for rule in rules if rule.peer_group is None]
    sets: dict[str, NfSet] = {}
    plain, layers = _layers(by_address)
    made = [x.rule(*_matches(rule), verdict) for rule in by_group + plain]
    for layer in layers:
        items = elements(e.interval_element(_shown(rule), box[::2], box[1::2]) for box, rule in layer.items())
        # The name says what is in it: another content is another set, exchanged together with the rule.
        label = f"{name}_{hashlib.blake2b(' '.join(items).encode(), digest_size=6).hexdigest()}"
        sets[label] = NfSet(("ipv4_addr", "inet_proto", "inet_service"), items, interval=True)
        made.append(x.rule(x.flow_in(side.way, label), verdict))
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


def _matches(rule: RuleSpec) -> list[x.Part]:
    parts: list[x.Part] = []
    if rule.peer_group is not None:
        parts.append(x.peer_in(rule.direction, members_set(rule.peer_group)))
    elif rule.cidr is not None and x.network(rule.cidr) != _EVERYWHERE:
        parts.append(x.peer(rule.direction, rule.cidr))
    if rule.protocol != "all":
        parts.append(x.flow_protocol(rule.protocol))
    if rule.ports is not None:
        parts.append(x.flow_port(rule.direction, *rule.ports))
    return parts


def _layers(rules: list[RuleSpec]) -> tuple[list[RuleSpec], list[dict[_Box, RuleSpec]]]:
    """Rules to write out, and those for interval sets: in layers, for a set takes no overlapping ranges."""
    if len(rules) < _SET_FROM_RULES:
        return rules, []
    layers: list[dict[_Box, RuleSpec]] = []
    for rule in rules:
        box = _box(rule)
        for layer in layers:
            if not _overlaps(box, layer):
                layer[box] = rule
                break
        else:
            layers.append({box: rule})
    plain = [rule for layer in layers if len(layer) < _SET_FROM_ELEMENTS for rule in layer.values()]
    return plain, [layer for layer in layers if len(layer) >= _SET_FROM_ELEMENTS]


def _box(rule: RuleSpec) -> _Box:
    first, last = (int.from_bytes(end, "big") for end in x.network(rule.cidr or "0.0.0.0/0"))
    number = x.PROTOCOLS.get(rule.protocol)
    return first, last, *((0, 255) if number is None else (number, number)), *(rule.ports or (0, 65535))


def _shown(rule: RuleSpec) -> str:
    first, last = rule.ports or (0, 65535)
    return f"{rule.cidr} . {rule.protocol} . {first}-{last}"


def _overlaps(box: _Box, layer: dict[_Box, RuleSpec]) -> bool:
    """Whether the box shares a point with one of the layer."""
    first, last, low, high, from_port, to_port = box
    return any(
        first <= other[1]
        and other[0] <= last
        and from_port <= other[5]
        and other[4] <= to_port
        and low <= other[3]
        and other[2] <= high
        for other in layer
    )
