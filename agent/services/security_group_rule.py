"""Rules of security groups (SPEC F2, F6): adding, taking away, changing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from agent.core.errors import ApiError, Conflict, InvalidParameter, MissingParameter
from agent.core.ids import new_id
from agent.services import quota
from agent.services.context import Caller
from agent.services.security_group import get_security_group, sync
from agent.services.security_group_check import RuleInput, RuleValues, checked, values_of
from agent.store.schema import Job, SecurityGroup, SecurityGroupRule

MAX_PERMISSIONS = 100


class RuleNotFound(ApiError):
    code, status = "InvalidSecurityGroupRule.RuleNotExist", 400


def authorize(caller: Caller, group_id: str, direction: str, given: Sequence[RuleInput]) -> Job:
    """Add rules; ones that are there already are left as they are. The job makes them effective."""
    group = get_security_group(caller, group_id)
    wanted = {rule.identity: rule for rule in (checked(caller, group, direction, one) for one in _some(given))}
    existing = {values_of(rule).identity for rule in group.rules}
    added = [rule for identity, rule in wanted.items() if identity not in existing]
    quota.check(caller, "security_group_rules", len(group.rules), len(added), of=group_id)
    add(caller, group, added)
    return sync(caller, group)


def add(caller: Caller, group: SecurityGroup, rules: Iterable[RuleValues]) -> None:
    """Rows for rules that have been checked; in force after a sync."""
    now = caller.services.clock.now()
    for rule in rules:
        group.rules.append(SecurityGroupRule(id=new_id("securitygrouprule"), created_at=now, **vars(rule)))
    caller.session.flush()


def revoke(
    caller: Caller, group_id: str, direction: str, *, rule_ids: Sequence[str] = (), given: Sequence[RuleInput] = ()
) -> Job:
    """Take rules away, by id or by what they say. One that is not there is an error by id only.

    A rule given without a priority matches any: who revokes an opening wants it closed.
    """
    group = get_security_group(caller, group_id)
    if rule_ids:
        doomed = [_by_id(group, direction, rule_id) for rule_id in dict.fromkeys(rule_ids)]
    else:
        doomed = []
        for one in _some(given):
            doomed += _matching(group, checked(caller, group, direction, one, revoking=True), one)
    for rule in doomed:
        if rule in group.rules:
            group.rules.remove(rule)
    caller.session.flush()
    return sync(caller, group)


def modify(caller: Caller, group_id: str, direction: str, *, rule_id: str | None, given: RuleInput) -> Job:
    """Change a rule: what is not None if it is named by id, else only the description of the one that says `given`.

    Raises RuleNotFound, or Conflict if another rule says the same already.
    """
    group = get_security_group(caller, group_id)
    if not rule_id:
        found = _matching(group, checked(caller, group, direction, given, revoking=True), given)
        if not found:
            raise RuleNotFound(f'The security group "{group_id}" has no such rule ({direction}).')
        if given.description is not None:
            for rule in found:
                rule.description = given.description
        return sync(caller, group)
    rule = _by_id(group, direction, rule_id)
    changed = checked(caller, group, direction, _merged(caller, rule, given), old_priority=rule.priority)
    for other in group.rules:
        if other is not rule and values_of(other).identity == changed.identity:
            raise Conflict(
                f'The rule "{other.id}" of "{group_id}" says the same already.',
                code="InvalidSecurityGroupRule.RuleExist",
            )
    for name, value in vars(changed).items():
        setattr(rule, name, value)
    caller.session.flush()
    return sync(caller, group)


# ------------------------------------------------------------------------------ finding


def _some(given: Sequence[RuleInput]) -> Sequence[RuleInput]:
    if not given:
        raise MissingParameter("Permissions.1.IpProtocol")
    if len(given) > MAX_PERMISSIONS:
        raise InvalidParameter("Permissions", len(given), f"at most {MAX_PERMISSIONS} are allowed.")
    return given


def _by_id(group: SecurityGroup, direction: str, rule_id: str) -> SecurityGroupRule:
    for rule in group.rules:
        if rule.id == rule_id and rule.direction == direction:
            return rule
    raise RuleNotFound(f'The security group "{group.id}" has no {direction} rule "{rule_id}".')


def _matching(group: SecurityGroup, wanted: RuleValues, given: RuleInput) -> list[SecurityGroupRule]:
    def matches(rule: SecurityGroupRule) -> bool:
        priority = wanted.priority if given.priority else rule.priority
        return values_of(rule).identity == replace(wanted, priority=priority).identity

    return [rule for rule in group.rules if matches(rule)]


def _merged(caller: Caller, rule: SecurityGroupRule, given: RuleInput) -> RuleInput:
    """`given`, with the rule's own values for what was left out."""
    new_peer = given.peer_cidr or given.peer_group_id
    kept_group = None if new_peer else caller.session.get(SecurityGroup, rule.peer_group_id or "")
    protocol = given.protocol or rule.protocol
    keeps_ports = given.protocol is None or given.protocol.upper() == rule.protocol
    return replace(
        given,
        policy=given.policy or rule.policy,
        protocol=protocol,
        port_range=given.port_range or (rule.port_range if keeps_ports else None),
        peer_cidr=given.peer_cidr if new_peer else rule.peer_cidr,
        peer_group_id=given.peer_group_id if new_peer else rule.peer_group_id,
        peer_group_owner_id=kept_group.account_id if kept_group else given.peer_group_owner_id,
        nic_type=given.nic_type or rule.nic_type,
        priority=given.priority or str(rule.priority),
        description=rule.description if given.description is None else given.description,
    )
