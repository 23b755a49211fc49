"""The security groups of a VPC as the filter that its router shall apply."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from agent.config import Config
from agent.core.specs import Direction, FilterSpec, MemberSpec, RuleSpec, Verdict
from agent.jobs import mail
from agent.store import filter_changes
from agent.store.schema import (
    GroupMembership,
    NetworkInterface,
    RouteEntry,
    SecondaryAddress,
    SecurityGroup,
    SecurityGroupRule,
)

_MANY = 500  # changes from which on everything is read: a statement takes no more than so many ids


@dataclass
class _Known:
    """The filter of a VPC as it was at `sequence` of the store's changes."""

    sequence: int
    rules: dict[str, tuple[RuleSpec, ...]] = field(default_factory=dict)
    isolated: frozenset[str] = frozenset()
    members: dict[str, MemberSpec] = field(default_factory=dict)  # by the interface's id, in that order
    mailing: frozenset[str] = frozenset()  # taps that may send mail
    spec: FilterSpec | None = None


class FilterSpecs:
    """The wanted filters of VPCs, each read once and kept up with the store: what did not change is neither read nor
    made anew. Not for two threads at once with the same VPC."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def read(self, session: Session, vpc_id: str, config: Config) -> FilterSpec:
        """The filter as `session` sees it: every group of the VPC and every interface in it, whether its instance runs
        or not."""
        newest = filter_changes.newest(session)
        known = self._known.pop(vpc_id, None)  # an error leaves nothing behind that may be half new
        changed = filter_changes.since(session, known.sequence) if known else None
        if known is None or changed is None or len(changed) > _MANY:
            known, changed = _Known(newest), None
        if changed is None or changed:
            _read_groups(session, vpc_id, known, changed)
            _read_members(session, vpc_id, known, changed, config)
        known.sequence = newest
        self._known[vpc_id] = known
        return _spec(vpc_id, known)

    def forget(self, vpc_id: str) -> None:
        self._known.pop(vpc_id, None)


def _spec(vpc_id: str, known: _Known) -> FilterSpec:
    """With the very objects of the last one wherever nothing changed."""
    last = known.spec
    members = tuple(known.members.values())
    if last is not None and len(members) == len(last.members):
        same = all(one is other for one, other in zip(members, last.members, strict=True))
        members = last.members if same else members
    known.spec = FilterSpec(vpc_id, known.rules, members, known.mailing, known.isolated)
    return known.spec


def _chosen(column: InstrumentedAttribute[Any], ids: Collection[str] | None) -> ColumnElement[bool]:
    return true() if ids is None else column.in_(ids)


# ------------------------------------------------------------------------------ groups


def _read_groups(session: Session, vpc_id: str, known: _Known, ids: Collection[str] | None) -> None:
    """Those of `ids`, or all: what is known of them gives way to what there is."""
    here = SecurityGroup.vpc_id == vpc_id, _chosen(SecurityGroup.id, ids)
    groups = session.execute(select(SecurityGroup.id, SecurityGroup.inner_access).where(*here)).all()
    gone = known.rules.keys() if ids is None else known.rules.keys() & ids
    if not groups and not gone:
        return
    rows = session.execute(
        select(*_RULE)
        .join(SecurityGroup, SecurityGroup.id == SecurityGroupRule.group_id)
        .where(*here)
        .order_by(SecurityGroupRule.created_at, SecurityGroupRule.id)
    )
    read: dict[str, list[RuleSpec]] = {group_id: [] for group_id, _ in groups}
    for group_id, *values in rows:
        read[group_id].append(_rule(*values))
    kept = {group_id: rules for group_id, rules in known.rules.items() if group_id not in gone}
    known.rules = kept | {group_id: tuple(rules) for group_id, rules in read.items()}
    known.isolated = (known.isolated - gone) | {group_id for group_id, inner_access in groups if not inner_access}


_RULE = (
    SecurityGroupRule.group_id,
    SecurityGroupRule.direction,
    SecurityGroupRule.policy,
    SecurityGroupRule.priority,
    SecurityGroupRule.protocol,
    SecurityGroupRule.port_range,
    SecurityGroupRule.peer_cidr,
    SecurityGroupRule.peer_group_id,
    SecurityGroupRule.nic_type,
)


def rule_spec(rule: SecurityGroupRule) -> RuleSpec:
    return _rule(*(getattr(rule, column.key) for column in _RULE[1:]))


@lru_cache(1 << 16)
def _rule(
    direction: str,
    policy: str,
    priority: int,
    protocol: str,
    port_range: str,
    peer_cidr: str | None,
    peer_group_id: str | None,
    nic_type: str,
) -> RuleSpec:
    """One row as the filter understands it; `10.1.2.3` is written as `10.1.2.3/32`."""
    first, last = (int(port) for port in port_range.split("/"))
    return RuleSpec(
        direction=Direction(direction),
        verdict=Verdict(policy.lower()),
        priority=priority,
        protocol=protocol.lower(),
        ports=None if first == -1 else (first, last),
        cidr=str(ipaddress.IPv4Network(peer_cidr)) if peer_cidr is not None else None,
        peer_group=peer_group_id,
        nic_type=nic_type,
    )


# ------------------------------------------------------------------------------ members


def _read_members(session: Session, vpc_id: str, known: _Known, ids: Collection[str] | None, config: Config) -> None:
    """Those of `ids`, or all, as above."""
    gone = known.members.keys() if ids is None else known.members.keys() & ids
    here = NetworkInterface.vpc_id == vpc_id, _chosen(NetworkInterface.id, ids)
    columns = NetworkInterface.id, NetworkInterface.tap, NetworkInterface.mac, NetworkInterface.ip
    owners = NetworkInterface.nic_type, NetworkInterface.account_id, NetworkInterface.instance_id
    rows = session.execute(select(*columns, *owners).where(*here)).all()
    if not rows and not gone:
        return
    found = select(NetworkInterface.id).where(*here)
    groups = _lists(session, GroupMembership.interface_id, GroupMembership.group_id, GroupMembership.position, found)
    further = _lists(session, SecondaryAddress.interface_id, SecondaryAddress.ip, SecondaryAddress.created_at, found)
    hops = _lists(session, RouteEntry.interface_id, RouteEntry.cidr, RouteEntry.cidr, found)
    left = {known.members[interface_id].tap for interface_id in gone}
    members = {one: member for one, member in known.members.items() if one not in gone}
    mailing = set(known.mailing - left)
    for interface_id, tap, mac, ip, nic_type, account_id, instance_id in rows:
        ips = ip, *further.get(interface_id, ())
        own_groups, forwards = tuple(groups.get(interface_id, ())), tuple(hops.get(interface_id, ()))
        member = MemberSpec(tap, mac, ips, own_groups, nic_type, forwards)
        before = known.members.get(interface_id)
        members[interface_id] = before if before == member else member
        if mail.may_send(config, account_id, instance_id):
            mailing.add(tap)
    known.members = dict(sorted(members.items()))
    known.mailing = frozenset(mailing)


def _lists(
    session: Session,
    owner: InstrumentedAttribute[Any],
    value: InstrumentedAttribute[str],
    order: InstrumentedAttribute[Any],
    owners: Select[str],
) -> dict[str, list[str]]:
    """The values of each owner, in their order."""
    found: dict[str, list[str]] = {}
    for interface_id, text in session.execute(select(owner, value).where(owner.in_(owners)).order_by(order, value)):
        found.setdefault(interface_id, []).append(text)
    return found
