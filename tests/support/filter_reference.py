"""Security groups as SPEC F2-F5 and F7 say them, in the plainest way: what the filter is compared with.

Written from the SPEC, not from the compiler: nothing here is shared with agent/drivers/network.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from agent.core.specs import Direction, FilterSpec, MemberSpec, RuleSpec, Verdict, Why

MAIL_PORT = 25


@dataclass(frozen=True)
class Opening:
    """Who opens a flow to whom; None is somebody outside of the VPC. `destination` and `port` are what the sender asks
    for; `forwarded`: the address and port of the receiver that these lead to, where they are other ones; `seen_as`: the
    sender's address as somebody outside has it, where it is another one."""

    sender: MemberSpec | None
    source: str
    receiver: MemberSpec | None
    destination: str
    protocol: str
    port: int = 0
    forwarded: tuple[str, int] | None = None
    seen_as: str = ""

    @property
    def shown(self) -> str:
        return self.seen_as or self.source

    @property
    def reached(self) -> tuple[str, int]:
        """Address and port as the receiver has them."""
        return self.forwarded or (self.destination, self.port)


@dataclass(frozen=True)
class Judgement:
    """One side's verdict; for Why.RULE the first of all rules that match. Others of the same priority and verdict may
    match as well."""

    verdict: Verdict
    why: Why
    rule: RuleSpec | None = None

    @property
    def passes(self) -> bool:
        return self.verdict is Verdict.ACCEPT


def passes(spec: FilterSpec, opening: Opening) -> bool:
    return all(side is None or side.passes for side in (sending(spec, opening), receiving(spec, opening)))


def sending(spec: FilterSpec, opening: Opening) -> Judgement | None:
    """What the sender's groups say; None for one outside."""
    member = opening.sender
    if member is None:
        return None
    networks = [*member.ips, *member.forwards]
    if not any(ipaddress.ip_address(opening.source) in ipaddress.ip_network(one) for one in networks):
        return Judgement(Verdict.DROP, Why.FORGED)
    mail = (opening.protocol, opening.port) == ("tcp", MAIL_PORT)
    if mail and opening.receiver is None and member.tap not in spec.smtp_allowed:
        return Judgement(Verdict.DROP, Why.MAIL)
    return _by_rules(spec, member, Direction.EGRESS, opening) or Judgement(Verdict.ACCEPT, Why.DEFAULT)


def receiving(spec: FilterSpec, opening: Opening) -> Judgement | None:
    member = opening.receiver
    if member is None:
        return None
    judged = _by_rules(spec, member, Direction.INGRESS, opening)
    if judged is not None:
        return judged
    open_groups = [group for group in member.groups if group not in spec.isolated]
    if member.nic_type == "intranet" and any(opening.source in private(spec, group) for group in open_groups):
        return Judgement(Verdict.ACCEPT, Why.MEMBERS)
    return Judgement(Verdict.DROP, Why.DEFAULT)


def private(spec: FilterSpec, group: str) -> set[str]:
    """The private addresses of a group's members."""
    found = (member for member in spec.members if group in member.groups and member.nic_type == "intranet")
    return {ip for member in found for ip in member.ips}


def matches(spec: FilterSpec, rule: RuleSpec, opening: Opening) -> bool:
    """Whether a rule speaks of this flow at all."""
    inwards = rule.direction is Direction.INGRESS
    peer, port = (opening.source, opening.reached[1]) if inwards else (opening.destination, opening.port)
    if rule.peer_group is not None:
        known = peer in private(spec, rule.peer_group)
    else:
        known = ipaddress.ip_address(peer) in ipaddress.ip_network(str(rule.cidr))
    right_port = rule.ports is None or rule.ports[0] <= port <= rule.ports[1]
    return known and rule.protocol in ("all", opening.protocol) and right_port


def _by_rules(spec: FilterSpec, member: MemberSpec, way: Direction, opening: Opening) -> Judgement | None:
    """All rules of all groups as one list: by priority, at the same one drop first (F3)."""
    rules = [rule for group in set(member.groups) for rule in spec.rules.get(group, ())]
    rules = [rule for rule in rules if rule.direction is way and rule.nic_type == member.nic_type]
    rules.sort(key=lambda rule: (rule.priority, rule.verdict is Verdict.ACCEPT))
    for rule in rules:
        if matches(spec, rule, opening):
            return Judgement(rule.verdict, Why.RULE, rule)
    return None
