"""Security groups (SPEC F1, F4) of VPCs. Their rules are in security_group_rule.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from agent.core import validate
from agent.core.errors import ApiError, DependencyViolation, InvalidParameter, MissingParameter, NotFound
from agent.core.ids import new_id
from agent.jobs import journal
from agent.services import quota, tag
from agent.services.context import Caller
from agent.services.matching import like
from agent.store.schema import GroupMembership, Job, NetworkInterface, SecurityGroup, SecurityGroupRule, Vpc

SYSTEM_PRIORITY = 110  # of the rules the system makes; callers have 1-100
_POLICIES = {"accept": True, "drop": False}


class GroupNotInVpc(ApiError):
    """The instance and the group are not in the same VPC."""

    code, status = "InvalidInstanceId.Mismatch", 400


def create_security_group(
    caller: Caller, vpc: Vpc, *, name: str = "", description: str = "", tags: Sequence[tag.TagPair] = ()
) -> SecurityGroup:
    """A group without rules: everything may go out, nothing comes in but from its own members (SPEC F4)."""
    _check_texts(name, description)
    mine = select(func.count()).where(SecurityGroup.account_id == caller.account_id)
    quota.check(caller, "security_groups", caller.session.scalar(mine) or 0)
    group = SecurityGroup(
        id=new_id("securitygroup"),
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
    """The system's own group of a VPC, made when it is first needed (SPEC F4)."""
    found = caller.session.scalar(
        select(SecurityGroup).where(SecurityGroup.vpc_id == vpc.id, SecurityGroup.is_default).limit(1)
    )
    if found is not None:
        return found
    group = create_security_group(caller, vpc, name="default", description="System created security group.")
    group.is_default = True
    anywhere = "0.0.0.0/0"
    for direction, protocol, port_range, peer in (
        ("ingress", "ICMP", "-1/-1", anywhere),
        ("ingress", "TCP", "22/22", anywhere),
        ("ingress", "TCP", "3389/3389", anywhere),
        ("ingress", "ALL", "-1/-1", vpc.cidr),
        ("egress", "ALL", "-1/-1", anywhere),
    ):
        group.rules.append(
            SecurityGroupRule(
                id=new_id("securitygrouprule"),
                direction=direction,
                policy="Accept",
                protocol=protocol,
                port_range=port_range,
                peer_cidr=peer,
                peer_group_id=None,
                nic_type="intranet",
                priority=SYSTEM_PRIORITY,
                description="System created rule.",
                created_at=group.created_at,
            )
        )
    caller.session.flush()
    return group


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
    name: str | None = None,
    fuzzy: bool = False,
    tags: Sequence[tag.TagFilter] = (),
) -> Select[SecurityGroup]:
    """The caller's groups, newest first; `fuzzy`: the name is only a part of it."""
    found = select(SecurityGroup).where(SecurityGroup.account_id == caller.account_id)
    if ids:
        found = found.where(SecurityGroup.id.in_(ids))
    if vpc_id:
        found = found.where(SecurityGroup.vpc_id == vpc_id)
    if name:
        found = found.where(like(SecurityGroup.name, f"*{name}*" if fuzzy else name))
    found = tag.filter_by_tags(found, "securitygroup", SecurityGroup.id, tags)
    return found.order_by(SecurityGroup.created_at.desc(), SecurityGroup.id)


def modify_security_group(
    caller: Caller, group_id: str, *, name: str | None = None, description: str | None = None
) -> None:
    """Change what is not None."""
    group = get_security_group(caller, group_id)
    _check_texts(name or "", description or "")
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
    counted = select(GroupMembership.group_id, func.count()).where(GroupMembership.group_id.in_(list(group_ids)))
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


def check_groups(caller: Caller, vpc_id: str, group_ids: Sequence[str], *, instances: int = 1) -> list[SecurityGroup]:
    """The groups for `instances` new members, in order, without repetition; all in the VPC, none too full."""
    unique = list(dict.fromkeys(group_ids))
    if not unique:
        raise MissingParameter("SecurityGroupId")
    quota.check(caller, "security_groups_per_instance", 0, len(unique))
    groups = [get_security_group(caller, group_id) for group_id in unique]
    counts = member_counts(caller.session, unique)
    for group in groups:
        if group.vpc_id != vpc_id:
            raise GroupNotInVpc(
                f'The security group "{group.id}" is in the VPC "{group.vpc_id}", the instance in "{vpc_id}": '
                "they must be in the same."
            )
        quota.check(caller, "instances_per_security_group", counts.get(group.id, 0), instances, of=group.id)
    return groups


def sync(caller: Caller, group: SecurityGroup) -> Job:
    """The job that makes the filter of the group's VPC as it is wanted now."""
    return journal.enqueue_filter(caller.session, group.vpc_id, caller.services.clock.now(), caller.request_id)


def _check_texts(name: str, description: str) -> None:
    if name:
        validate.name("SecurityGroupName", name, code="InvalidSecurityGroupName.Malformed")
    validate.description("Description", description, code="InvalidSecurityGroupDiscription.Malformed")
