"""Cloning a security group with its rules (SPEC F8): to another VPC, network type or region."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from agent.core import ids
from agent.core.errors import InvalidParameter
from agent.core.ids import CLASSIC_VPC
from agent.core.specs import INTERNET, INTRANET
from agent.jobs import journal
from agent.jobs.kinds.security_group_clone import CLONE
from agent.services import other_region, quota, tag
from agent.services.context import Caller
from agent.services.security_group import (
    SYSTEM_PRIORITY,
    check_texts,
    create_security_group,
    get_security_group,
    place,
)
from agent.services.security_group_check import (
    LeftOut,
    RuleInput,
    RuleValues,
    checked,
    only_single_addresses,
    values_of,
)
from agent.services.security_group_rule import add
from agent.store.schema import Job, SecurityGroup, Vpc

SINGLE = "on the intranet addresses of the classic network must be single ones (/32): it is made for the internet only"


@dataclass(frozen=True)
class Named:
    """What a clone is called; empty: as its source is."""

    name: str = ""
    description: str = ""
    tags: Sequence[tag.TagPair] = ()


@dataclass(frozen=True)
class Clone:
    """A group with the rules of another one. `job`: what makes it in another region."""

    group_id: str
    left_out: tuple[LeftOut, ...]
    job: Job | None = None


@dataclass(frozen=True)
class Coming:
    """What another region says of a group that it wants to have here; rules as (direction, rule)."""

    group_id: str
    network: Vpc
    inner_access: bool
    rules: Sequence[tuple[str, RuleInput]]
    named: Named = field(default_factory=Named)


def clone(caller: Caller, group_id: str, network: Vpc | None, named: Named) -> Clone:
    """A new group in `network`, None: in that of its source. What cannot be taken along is said, not made."""
    source = get_security_group(caller, group_id)
    network = network or caller.session.get_one(Vpc, source.vpc_id)
    rules, left_out = fitting(source, classic=network.is_classic, vpc_id=network.id)
    group = _create(caller, network, source.inner_access, _as(source, named))
    _fill(caller, group, rules)
    return Clone(group.id, left_out)


def clone_to_region(caller: Caller, group_id: str, region: str, *, classic: bool, vpc_id: str, named: Named) -> Clone:
    """The same in another region by a job: in the VPC `vpc_id` there, empty: in its default one, or in `classic`."""
    source = get_security_group(caller, group_id)
    other_region.check(caller, region, "security group", "clone")
    rules, left_out = fitting(source, classic=classic, vpc_id=None)
    check_texts(named.name, named.description)
    made = ids.new_id("securitygroup")
    about = {
        "SecurityGroupId": made,
        "NetworkType": "classic" if classic else "vpc",
        "VpcId": vpc_id,
        "InnerAccessPolicy": "Accept" if source.inner_access else "Drop",
        **_told_names(_as(source, named)),
        **{f"Permissions.{n}.{k}": v for n, rule in enumerate(rules, 1) for k, v in _told(rule).items()},
    }
    job = journal.enqueue(
        caller.session,
        CLONE,
        source.id,
        caller.services.clock.now(),
        lock=made,  # a group may be cloned to several regions side by side
        account_id=caller.account_id,
        request_id=caller.request_id,
        data={"region": region, "group": about},
    )
    return Clone(made, left_out, job)


def receive(caller: Caller, coming: Coming) -> SecurityGroup:
    """The group that another region wants to have here. The same one may be asked for again.

    Raises the public error of the first thing that is wrong.
    """
    there = caller.session.get(SecurityGroup, coming.group_id)
    if there is not None and there.account_id == caller.account_id:
        return there
    if there is not None or not ids.is_id("securitygroup", coming.group_id):
        why = "it must be a new security group id."
        raise InvalidParameter("SecurityGroupId", coming.group_id, why, code="InvalidSecurityGroupId.Malformed")
    group = _create(caller, coming.network, coming.inner_access, coming.named, coming.group_id)
    rules = (checked(caller, group, way, rule, old_priority=SYSTEM_PRIORITY) for way, rule in coming.rules)
    _fill(caller, group, list({rule.identity: rule for rule in rules}.values()))
    return group


def fitting(
    source: SecurityGroup, *, classic: bool, vpc_id: str | None
) -> tuple[list[RuleValues], tuple[LeftOut, ...]]:
    """The rules of a group as another network can have them, each once, and those that it cannot.

    In a VPC private and public traffic have the same rules: those of both NIC types become one. In the classic network
    a rule of a VPC is made for both. Groups are known in their own network only.
    """
    rules: dict[tuple[object, ...], RuleValues] = {}
    left_out = []
    for rule in map(values_of, source.rules):
        if rule.peer_group_id and source.vpc_id != vpc_id:
            left_out.append(LeftOut(rule, f"it names a security group of {place(source.vpc_id)}"))
            continue
        for one in _of_nic_types(rule, from_classic=source.vpc_id == CLASSIC_VPC, to_classic=classic):
            if _too_wide(one, classic=classic):
                left_out.append(LeftOut(one, SINGLE))
            else:
                rules.setdefault(one.identity, one)
    return list(rules.values()), tuple(left_out)


def _too_wide(rule: RuleValues, *, classic: bool) -> bool:
    """Whether the classic intranet refuses the rule's address block."""
    if rule.peer_cidr is None or not only_single_addresses(rule.direction, rule.nic_type, classic=classic):
        return False
    return ipaddress.IPv4Network(rule.peer_cidr).prefixlen < 32


def _of_nic_types(rule: RuleValues, *, from_classic: bool, to_classic: bool) -> Iterator[RuleValues]:
    if from_classic == to_classic:
        yield rule
    elif from_classic:
        yield replace(rule, nic_type=INTRANET)
    else:
        yield replace(rule, nic_type=INTERNET)
        yield replace(rule, nic_type=INTRANET)


def _as(source: SecurityGroup, named: Named) -> Named:
    return replace(named, name=named.name or source.name, description=named.description or source.description)


def _create(caller: Caller, network: Vpc, inner_access: bool, named: Named, group_id: str = "") -> SecurityGroup:
    group = create_security_group(
        caller, network, name=named.name, description=named.description, tags=named.tags, group_id=group_id
    )
    group.inner_access = inner_access
    return group


def _fill(caller: Caller, group: SecurityGroup, rules: Sequence[RuleValues]) -> None:
    # No job: a group without members, which no rule names, filters nothing yet.
    quota.check(caller, "security_group_rules", 0, len(rules), of=group.id)
    add(caller, group, rules)


def _told_names(named: Named) -> dict[str, str]:
    told = {"SecurityGroupName": named.name, "Description": named.description}
    for n, (key, value) in enumerate(named.tags, 1):
        told |= {f"Tag.{n}.Key": key, f"Tag.{n}.Value": value}
    return told


def _told(rule: RuleValues) -> dict[str, str]:
    """Without a group as its peer: none is known there."""
    return {
        "Direction": rule.direction,
        "Policy": rule.policy,
        "IpProtocol": rule.protocol,
        "PortRange": rule.port_range,
        "SourceCidrIp" if rule.direction == "ingress" else "DestCidrIp": rule.peer_cidr or "",
        "NicType": rule.nic_type,
        "Priority": str(rule.priority),
        "Description": rule.description,
    }
