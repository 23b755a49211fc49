"""Restoring the rules of a security group from another one (SPEC F9)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent.core.errors import Conflict, InvalidParameter
from agent.core.ids import CLASSIC_VPC
from agent.services import quota
from agent.services.context import Caller
from agent.services.security_group import SYSTEM_PRIORITY, get_security_group, place, sync
from agent.services.security_group_check import LeftOut, RuleValues, values_of
from agent.services.security_group_rule import add
from agent.store.schema import Job, SecurityGroup, SecurityGroupRule


@dataclass(frozen=True)
class Difference:
    """What restoring does to a group's rules."""

    added: tuple[RuleValues, ...]
    removed: tuple[SecurityGroupRule, ...]
    left_out: tuple[LeftOut, ...]


def compare(caller: Caller, group_id: str, source_id: str, *, partial: bool) -> Difference:
    """What `restore` would do; changes nothing. Raises NotFound, InvalidParameter, Conflict, QuotaExceeded."""
    group = get_security_group(caller, group_id)
    source = get_security_group(caller, source_id, parameter="SourceSecurityGroupId")
    if group is source:
        raise InvalidParameter("SourceSecurityGroupId", source_id, "it must be another group.")
    if (group.vpc_id == CLASSIC_VPC) != (source.vpc_id == CLASSIC_VPC):
        raise Conflict(
            f'The security group "{source_id}" is in {place(source.vpc_id)}, "{group_id}" in {place(group.vpc_id)}: '
            "both must be of the same network type.",
            code="InvalidSecurityGroup.InvalidNetworkType",
        )
    found = _compare(group, source, partial)
    quota.check(caller, "security_group_rules", len(group.rules) - len(found.removed), len(found.added), of=group_id)
    return found


def restore(caller: Caller, group_id: str, source_id: str, *, partial: bool) -> tuple[Difference, Job]:
    """Give a group the rules of another one: fully, so that it has no others, or `partial`, so that it loses none.

    In one transaction, and in force at one moment by the job. Raises what `compare` raises.
    """
    found = compare(caller, group_id, source_id, partial=partial)
    group = get_security_group(caller, group_id)
    for rule in found.removed:
        group.rules.remove(rule)
    add(caller, group, found.added)
    return found, sync(caller, group)


def _compare(group: SecurityGroup, source: SecurityGroup, partial: bool) -> Difference:
    have = {values_of(rule).identity: rule for rule in group.rules}
    added, left_out, kept = [], [], set()
    for wanted in map(values_of, source.rules):
        old, reason = have.get(wanted.identity), next(_hindrances(group, source, wanted), "")
        if old is not None and (partial or reason or old.description == wanted.description):
            kept.add(wanted.identity)
        elif reason:
            left_out.append(LeftOut(wanted, reason))
        else:
            added.append(wanted)
    removed = () if partial else tuple(rule for identity, rule in have.items() if identity not in kept)
    return Difference(tuple(added), removed, tuple(left_out))


def _hindrances(group: SecurityGroup, source: SecurityGroup, rule: RuleValues) -> Iterator[str]:
    if rule.priority == SYSTEM_PRIORITY:
        yield f"rules of the system, with the priority {SYSTEM_PRIORITY}, are not made: add it with the priority 100"
    if rule.peer_group_id == group.id:
        yield "it names the group that is restored: members reach each other by InnerAccessPolicy"
    if rule.peer_group_id and source.vpc_id != group.vpc_id:
        yield f"it names a security group of {place(source.vpc_id)}"
