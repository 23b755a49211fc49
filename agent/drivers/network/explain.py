"""What the filter of a VPC says of a flow, and which rule of which group decides (SPEC F2-F5): pure.

The answer comes from running the flow's first packet through the compiled tables; names of chains and sets
(filter.py) lead back to groups, and what a rule compares with back to the rule.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import struct
from collections.abc import Iterator

from agent.core.specs import Decision, Direction, FlowDecision, FlowSpec, RuleSpec, Verdict, Why
from agent.drivers.network import expressions as x
from agent.drivers.network.base_chains import PORT_GROUP
from agent.drivers.network.machine import SOURCE, Machine, Outcome, Packet, Step
from agent.drivers.network.ruleset import Table

_ROUTER_MAC = bytes(6)  # no rule looks at it
_ANY_PORT = 40000  # of the sender, of which no rule speaks
_ECHO_REQUEST = 8
_NUMBERS = {number: name for name, number in x.PROTOCOLS.items()}
_EVERYWHERE = (0, 0xFFFFFFFF)
_EVERY_PORT = (0, 65535)


def explain(table: Table, flow: FlowSpec, outside: str) -> list[FlowDecision]:
    """`table`: the inet one; `outside`: the name of the interface that leads out. Raises ValueError for an address
    or a protocol that cannot be."""
    machine = Machine(table)
    if flow.source is not None:
        return [_one(machine, flow, outside, flow.source)[0]]
    return _all(machine, flow, outside)


def packet_of(flow: FlowSpec, source: str, outside: str) -> Packet:
    """The packet that opens the flow, as it is in the router."""
    protocol = x.PROTOCOLS.get(flow.protocol)
    if protocol is None:
        raise ValueError(f"protocol {flow.protocol!r} is none of {', '.join(sorted(x.PROTOCOLS))}")
    echo = flow.protocol == "icmp"
    has_ports = flow.protocol in ("tcp", "udp")
    original = _ECHO_REQUEST << 8 if echo else flow.port  # connection tracking has type and code of ICMP for a port
    own = _ANY_PORT if has_ports or echo else 0
    answering = own if echo else flow.reached_port
    addresses = x.ip4(source), x.ip4(flow.destination)
    meta = {
        "iifname": x.ifname(flow.source_tap or outside),
        "oifname": x.ifname(flow.destination_tap or outside),
        "iifgroup": struct.pack("=I", PORT_GROUP if flow.source_tap else 0),
        "oifgroup": struct.pack("=I", PORT_GROUP if flow.destination_tap else 0),
        "nfproto": bytes([x.NFPROTO_IPV4]),
        "l4proto": bytes([protocol]),
        "mark": bytes(4),
    }
    ct = {
        ("state", None): struct.pack("=I", x.NEW),
        ("direction", None): bytes([x.ORIGINAL]),
        ("mark", None): bytes(4),
        ("protocol", None): bytes([protocol]),
        ("ip saddr", x.ORIGINAL): addresses[0],
        ("ip daddr", x.ORIGINAL): addresses[1],
        ("proto-dst", x.ORIGINAL): struct.pack("!H", original),
        ("proto-src", x.REPLY): struct.pack("!H", answering),
    }
    link = _ROUTER_MAC + x.mac(flow.source_mac or "00:00:00:00:00:00") + b"\x08\x00"
    network = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, protocol, 0, *addresses)
    transport = struct.pack("!HHI", original if echo else own, 0 if echo else flow.port, 0)
    return Packet(meta, ct, (link, network, transport))


# ------------------------------------------------------------------------------------- sources


def _one(machine: Machine, flow: FlowSpec, outside: str, source: str) -> tuple[FlowDecision, int]:
    """The decision about one sender, and the first higher address for which it may be another one."""
    packet = packet_of(flow, source, outside)
    sender = receiver = None
    horizon = _EVERYWHERE[1] + 1
    if flow.source_tap:
        raw = machine.run("raw", packet)
        out = machine.run("out", packet) if raw.accepted else raw
        sender = _decision(out)
        horizon = min(horizon, raw.horizon, out.horizon)
    if flow.destination_tap:
        entering = machine.run("in", packet)
        receiver = _decision(entering)
        horizon = min(horizon, entering.horizon)
    return FlowDecision((f"{source}/32",), sender, receiver), horizon


def _all(machine: Machine, flow: FlowSpec, outside: str) -> list[FlowDecision]:
    """All addresses but those inside, those treated alike together; the most numerous last, which are "the others":
    without `sources`."""
    found: dict[FlowDecision, list[tuple[int, int]]] = {}
    inside = ipaddress.IPv4Network(flow.inside)
    hole = int(inside.network_address), int(inside.broadcast_address)
    start = 0
    while start <= _EVERYWHERE[1]:
        if hole[0] <= start <= hole[1]:
            start = hole[1] + 1
            continue
        decision, horizon = _one(machine, flow, outside, str(ipaddress.IPv4Address(start)))
        end = min(horizon, hole[0] if start < hole[0] else horizon)
        found.setdefault(dataclasses.replace(decision, sources=()), []).append((start, end - 1))
        start = end
    most = max(found, key=lambda decision: sum(last - first for first, last in found[decision]))
    others = [decision for decision in found if decision != most]
    return [*(dataclasses.replace(one, sources=tuple(_networks(found[one]))) for one in others), most]


def _networks(ranges: list[tuple[int, int]]) -> Iterator[str]:
    """Ranges in ascending order, as few networks."""
    joined: list[tuple[int, int]] = []
    for first, last in ranges:
        if joined and joined[-1][1] + 1 == first:
            first = joined.pop()[0]
        joined.append((first, last))
    for ends in joined:
        yield from map(str, ipaddress.summarize_address_range(*map(ipaddress.IPv4Address, ends)))


# ------------------------------------------------------------------------------------- back to groups and rules


def _decision(outcome: Outcome) -> Decision:
    verdict = Verdict.ACCEPT if outcome.accepted else Verdict.DROP
    trail = tuple(f"{step.chain} {step.number}: {step.text}" for step in outcome.steps)
    if not outcome.steps:
        return Decision(verdict, Why.UNKNOWN, trail=trail)
    last = outcome.steps[-1]
    kind, _, rest = last.chain.partition("_")
    if kind == "s":
        group, *nic_type, letter, priority, _ = rest.split("_")
        direction = Direction.INGRESS if letter == "i" else Direction.EGRESS
        rule = _rule(last, direction, verdict, int(priority))
        if nic_type:
            rule = dataclasses.replace(rule, nic_type=nic_type[0])
        return Decision(verdict, Why.RULE, group, rule, trail)
    sets = [match.set_name for match in last.matches]
    if kind == "c":
        groups = [name.removeprefix("m_") for name in sets if name]
        return Decision(verdict, Why.MEMBERS if groups else Why.DEFAULT, "".join(groups), trail=trail)
    why = Why.MAIL if "smtp_allowed" in sets else Why.FORGED if "senders" in sets else Why.UNKNOWN
    return Decision(verdict, why, trail=trail)


def _rule(step: Step, direction: Direction, verdict: Verdict, priority: int) -> RuleSpec:
    ranges: dict[str, tuple[int, int]] = {}
    peer_group = None
    for match in step.matches:
        if match.set_name.startswith("m_"):
            peer_group = match.set_name.removeprefix("m_")
            continue
        for key, low, high in zip(match.keys, match.low, match.high, strict=True):
            ranges[key] = int.from_bytes(low, "big"), int.from_bytes(high, "big")
    inwards = direction is Direction.INGRESS
    address = ranges.get(SOURCE if inwards else "ct ip daddr", _EVERYWHERE)
    number = ranges.get("ct protocol", (0, 255))
    ports = ranges.get("ct proto-src" if inwards else "ct proto-dst", _EVERY_PORT)
    return RuleSpec(
        direction,
        verdict,
        priority,
        _NUMBERS[number[0]] if number[0] == number[1] else "all",
        None if ports == _EVERY_PORT else ports,
        None if peer_group else next(_networks([address])),
        peer_group,
    )
