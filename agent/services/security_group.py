"""Security groups (SPEC F1, F4) of VPCs and of the classic network. Their rules are in security_group_rule.py."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from agent.core import validate
from agent.core.errors import ApiError, DependencyViolation, InvalidParameter, MissingParameter, NotFound
from agent.core.ids import CLASSIC_VPC, new_id
from agent.core.specs import INTERNET, INTRANET
from agent.jobs import journal
from agent.services import quota, tag
from agent.services.context import Caller
from agent.services.matching import like
from agent.store.schema import GroupMembership, Job, NetworkInterface, SecurityGroup, SecurityGroupRule, Vpc

ANYWHERE = "0.0.0.0/0"
SYSTEM_PRIORITY = 110  # of the rules the system makes; callers have 1-100
_POLICIES = {"accept": True, "drop": False}


class GroupNotInVpc(ApiError):
    """The instance and the group are not in the same VPC."""

    code, status = "InvalidInstanceId.Mismatch", 400


def create_security_group(
    caller: Caller,
    vpc: Vpc,
    *,
    name: str = "",
    description: str = "",
    tags: Sequence[tag.TagPair] = (),
    group_id: str = "",
) -> SecurityGroup:
    """A group without rules: everything may go out, nothing comes in but from its own members (SPEC F4)."""
    check_texts(name, description)
    mine = select(func.count()).where(SecurityGroup.account_id == caller.account_id)
    quota.check(caller, "security_groups", caller.session.scalar(mine) or 0)
    group = SecurityGroup(
        id=group_id or new_id("securitygroup"),
        account_id=caller.account_id,
        vpc_id=vpc.id,
        name=name,
        description=description,
        is_default=False,
        inner_access=True,
        created_at=caller.services.clock.now(),
    )
    caller.session.add(group)
    caller.session.flush()
    tag.set_tags(caller, "securitygroup", group.id, tags)
    return group


def default_group(caller: Caller, vpc: Vpc) -> SecurityGroup:
    """The system's own group of the caller's account in a VPC, made when it is first needed (SPEC F4)."""
    mine = select(SecurityGroup).where(SecurityGroup.vpc_id == vpc.id, SecurityGroup.account_id == caller.account_id)
    found = caller.session.scalar(mine.where(SecurityGroup.is_default).limit(1))
    if found is not None:
        return found
    group = create_security_group(caller, vpc, name="default", description="System created security group.")
    group.is_default = True
    for nic_type, direction, protocol, port_range, peer in _system_rules(vpc):
        group.rules.append(
            SecurityGroupRule(
                id=new_id("securitygrouprule"),
                direction=direction,
                policy="Accept",
                protocol=protocol,
                port_range=port_range,
                peer_cidr=peer,
                peer_group_id=None,
                nic_type=nic_type,
                priority=SYSTEM_PRIORITY,
                description="System created rule.",
                created_at=group.created_at,
            )
        )
    caller.session.flush()
    return group


def _system_rules(vpc: Vpc) -> Iterator[tuple[str, str, str, str, str]]:
    """(NIC type, direction, protocol, port range, peer) of each. A VPC's group lets in what the VPC sends; in the
    classic network, which others share, nothing comes in on the intranet but from members."""
    reached = INTERNET if vpc.is_classic else INTRANET
    for protocol, port_range in (("ICMP", "-1/-1"), ("TCP", "22/22"), ("TCP", "3389/3389")):
        yield reached, "ingress", protocol, port_range, ANYWHERE
    if not vpc.is_classic:
        yield INTRANET, "ingress", "ALL", "-1/-1", vpc.cidr
    for nic_type in sorted({INTRANET, reached}):
        yield nic_type, "egress", "ALL", "-1/-1", ANYWHERE


def get_security_group(
    caller: Caller, group_id: str, *, code: str = "InvalidSecurityGroupId.NotFound", parameter: str = "SecurityGroupId"
) -> SecurityGroup:
    group = caller.session.get(SecurityGroup, group_id)
    if group is None or group.account_id != caller.account_id:
        raise NotFound(code, parameter, group_id)
    return group


def find_security_groups(
    caller: Caller,
    *,
    ids: Sequence[str] = (),
    vpc_id: str | None = None,
    classic: bool | None = None,
    name: str | None = None,
    fuzzy: bool = False,
    tags: Sequence[tag.TagFilter] = (),
) -> Select[SecurityGroup]:
    """The caller's groups, newest first; `classic`: of that network, or of VPCs; `fuzzy`: the name is only a part."""
    found = select(SecurityGroup).where(SecurityGroup.account_id == caller.account_id)
    if ids:
        found = found.where(SecurityGroup.id.in_(ids))
    if vpc_id:
        found = found.where(SecurityGroup.vpc_id == vpc_id)
    if classic is None and vpc_id:
        classic = False  # the classic network has no VPC id to ask by
    if classic is not None:
        found = found.where((SecurityGroup.vpc_id == CLASSIC_VPC) == classic)
    if name:
        found = found.where(like(SecurityGroup.name, f"*{name}*" if fuzzy else name))
    found = tag.filter_by_tags(found, "securitygroup", SecurityGroup.id, tags)
    return found.order_by(SecurityGroup.created_at.desc(), SecurityGroup.id)


def modify_security_group(
    caller: Caller, group_id: str, *, name: str | None = None, description: str | None = None
) -> None:
    """Change what is not None."""
    group = get_security_group(caller, group_id)
    check_texts(name or "", description or "")
    if name is not None:
        group.name = name
    if description is not None:
        group.description = description


def set_inner_access(caller: Caller, group_id: str, policy: str) -> Job:
    """Whether members reach each other: `Accept` or `Drop`. The job makes it effective."""
    group = get_security_group(caller, group_id)
    if policy.lower() not in _POLICIES:
        raise InvalidParameter(
            "InnerAccessPolicy", policy, "it must be Accept or Drop.", code="InvalidPolicy.Malformed"
        )
    group.inner_access = _POLICIES[policy.lower()]
    return sync(caller, group)


def delete_security_group(caller: Caller, group_id: str) -> None:
    """Raises DependencyViolation while an instance is in it or another group's rule names it."""
    group, session = get_security_group(caller, group_id), caller.session
    member = session.scalar(
        select(NetworkInterface).join(GroupMembership).where(GroupMembership.group_id == group_id).limit(1)
    )
    if member is not None:
        raise DependencyViolation(
            f'The security group "{group_id}" still has the instance "{member.instance_id}": take that out first.'
        )
    for referencing in references(session, [group_id])[group_id]:
        raise DependencyViolation(
            f'A rule of the security group "{referencing.id}" names "{group_id}": revoke that rule first.'
        )
    tag.forget(session, "securitygroup", [group_id])
    session.delete(group)
    session.flush()
    sync(caller, group)


def references(session: Session, group_ids: Sequence[str]) -> dict[str, list[SecurityGroup]]:
    """The other groups whose rules name these, by id."""
    named = (
        select(SecurityGroupRule.peer_group_id, SecurityGroup)
        .join(SecurityGroup, SecurityGroup.id == SecurityGroupRule.group_id)
        .where(SecurityGroupRule.peer_group_id.in_(group_ids), SecurityGroup.id != SecurityGroupRule.peer_group_id)
        .distinct()
        .order_by(SecurityGroup.id)
    )
    answer: dict[str, list[SecurityGroup]] = {group_id: [] for group_id in group_ids}
    for peer, group in session.execute(named):
        if peer is not None:
            answer[peer].append(group)
    return answer


def member_counts(session: Session, group_ids: Iterable[str]) -> dict[str, int]:
    """How many instances are in each group; groups without any are left out."""
    # Both interfaces of an instance in the classic network are members: that of the intranet counts.
    members = select(GroupMembership.group_id, func.count()).join(GroupMembership.interface)
    counted = members.where(NetworkInterface.nic_type == INTRANET, GroupMembership.group_id.in_(list(group_ids)))
    return dict(session.execute(counted.group_by(GroupMembership.group_id)).all())


def rule_counts(session: Session, group_ids: Iterable[str]) -> dict[str, tuple[int, int]]:
    """(all rules, those that name another group) of each group; groups without any are left out."""
    rules = SecurityGroupRule
    counted = (
        select(rules.group_id, func.count(), func.count(rules.peer_group_id))
        .where(rules.group_id.in_(list(group_ids)))
        .group_by(rules.group_id)
    )
    return {group_id: (total, groups) for group_id, total, groups in session.execute(counted)}


def check_groups(
    caller: Caller, vpc_id: str, group_ids: Sequence[str], *, instances: int = 1, already: Collection[str] = ()
) -> list[SecurityGroup]:
    """The groups for `instances` new members, in order, without repetition; all in the VPC, none too full.

    `already`: those of them that they are in by now.
    """
    unique = list(dict.fromkeys(group_ids))
    if not unique:
        raise MissingParameter("SecurityGroupId")
    quota.check(caller, "security_groups_per_instance", 0, len(unique))
    groups = [get_security_group(caller, group_id) for group_id in unique]
    counts = member_counts(caller.session, unique)
    for group in groups:
        if group.vpc_id != vpc_id:
            raise GroupNotInVpc(
                f'The security group "{group.id}" is in {place(group.vpc_id)}, the instance in {place(vpc_id)}: '
                "they must be in the same."
            )
        if group.id not in already:
            quota.check(caller, "instances_per_security_group", counts.get(group.id, 0), instances, of=group.id)
    return groups


def place(vpc_id: str) -> str:
    """A group's network, for messages."""
    return "the classic network" if vpc_id == CLASSIC_VPC else f'the VPC "{vpc_id}"'


def sync(caller: Caller, group: SecurityGroup) -> Job:
    """The job that makes the filter of the group's VPC as it is wanted now."""
    return journal.enqueue_filter(caller.session, group.vpc_id, caller.services.clock.now(), caller.request_id)


def check_texts(name: str, description: str) -> None:
    """A group's name and description, empty ones for none (SPEC G2)."""
    if name:
        validate.name("SecurityGroupName", name, code="InvalidSecurityGroupName.Malformed")
    validate.description("Description", description, code="InvalidSecurityGroupDiscription.Malformed")
