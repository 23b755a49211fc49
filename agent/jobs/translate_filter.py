"""The security groups of a VPC as the filter that its router shall apply."""

from __future__ import annotations

import ipaddress

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from agent.config import Config
from agent.core.specs import Direction, FilterSpec, MemberSpec, RuleSpec, Verdict
from agent.jobs import mail
from agent.store.schema import NetworkInterface, RouteEntry, SecurityGroup, SecurityGroupRule


def filter_spec(session: Session, vpc_id: str, config: Config) -> FilterSpec:
    """Every group of the VPC and every interface in it, whether its instance runs or not."""
    groups = session.scalars(
        select(SecurityGroup)
        .where(SecurityGroup.vpc_id == vpc_id)
        .order_by(SecurityGroup.id)
        .options(selectinload(SecurityGroup.rules))
    ).all()
    interfaces = session.scalars(
        select(NetworkInterface)
        .where(NetworkInterface.vpc_id == vpc_id)
        .order_by(NetworkInterface.id)
        .options(selectinload(NetworkInterface.memberships), selectinload(NetworkInterface.secondary))
    ).all()
    hops: dict[str | None, list[str]] = {}
    for interface_id, cidr in session.execute(
        select(RouteEntry.interface_id, RouteEntry.cidr).where(RouteEntry.vpc_id == vpc_id).order_by(RouteEntry.cidr)
    ):
        hops.setdefault(interface_id, []).append(cidr)
    return FilterSpec(
        vpc_id=vpc_id,
        rules={group.id: tuple(rule_spec(rule) for rule in group.rules) for group in groups},
        members=tuple(
            MemberSpec(
                tap=interface.tap,
                mac=interface.mac,
                ips=(interface.ip, *(address.ip for address in interface.secondary)),
                groups=tuple(membership.group_id for membership in interface.memberships),
                nic_type=interface.nic_type,
                forwards=tuple(hops.get(interface.id, ())),
            )
            for interface in interfaces
        ),
        smtp_allowed=frozenset(one.tap for one in interfaces if mail.may_send(config, one)),
        isolated=frozenset(group.id for group in groups if not group.inner_access),
    )


def rule_spec(rule: SecurityGroupRule) -> RuleSpec:
    """One row as the filter understands it; `10.1.2.3` is written as `10.1.2.3/32`."""
    first, last = (int(port) for port in rule.port_range.split("/"))
    return RuleSpec(
        direction=Direction(rule.direction),
        verdict=Verdict(rule.policy.lower()),
        priority=rule.priority,
        protocol=rule.protocol.lower(),
        ports=None if first == -1 else (first, last),
        cidr=str(ipaddress.IPv4Network(rule.peer_cidr)) if rule.peer_cidr is not None else None,
        peer_group=rule.peer_group_id,
        nic_type=rule.nic_type,
    )
