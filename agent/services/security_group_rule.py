"""Rules of security groups (SPEC F2, F6): what they may say, adding, taking away, changing."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.core import validate
from agent.core.errors import ApiError, Conflict, InvalidParameter, MissingParameter, NotFound
from agent.core.ids import new_id
from agent.services import quota
from agent.services.context import Caller
from agent.services.security_group import get_security_group, sync
from agent.store.schema import Account, Job, SecurityGroup, SecurityGroupRule

INGRESS = "ingress"
EGRESS = "egress"
PROTOCOLS = ("TCP", "UDP", "ICMP", "GRE", "ALL")
ALL_PORTS = "-1/-1"
PRIORITIES = range(1, 101)
MAX_PERMISSIONS = 100
_POLICIES = {"accept": "Accept", "drop": "Drop"}


class RuleNotFound(ApiError):
    code, status = "InvalidSecurityGroupRule.RuleNotExist", 400


class MissingPeer(ApiError):
    code, status = "MissingParameter.Source", 400


@dataclass(frozen=True)
class RuleInput:
    """A rule as a caller gives it. `prefix` begins its parameters' names (`Permissions.1.`), for errors.

    None is what was left out. `peer_cidr` and `peer_group_id` are the source of a rule inwards, the
    destination of one outwards; with both the address block counts, as with the provider.
    """

    policy: str | None = None
    protocol: str | None = None
    port_range: str | None = None
    peer_cidr: str | None = None
    peer_group_id: str | None = None
    peer_group_owner_id: str | None = None
    peer_group_owner_account: str | None = None
    nic_type: str | None = None
    priority: str | None = None
    description: str | None = None
    prefix: str = ""


@dataclass(frozen=True)
class RuleValues:
    """A rule that has been checked. Two with the same `identity` are the same rule."""

    direction: str
    policy: str
    protocol: str
    port_range: str
    peer_cidr: str | None
    peer_group_id: str | None
    priority: int
    description: str
    nic_type: str = "intranet"  # groups of a VPC have no other

    @property
    def identity(self) -> tuple[object, ...]:
        peer = ipaddress.IPv4Network(self.peer_cidr) if self.peer_cidr else self.peer_group_id
        return self.direction, self.policy, self.protocol, self.port_range, peer, self.priority


def authorize(caller: Caller, group_id: str, direction: str, given: Sequence[RuleInput]) -> Job:
    """Add rules; ones that are there already are left as they are. The job makes them effective."""
    group = get_security_group(caller, group_id)
    wanted = {rule.identity: rule for rule in (checked(caller, group, direction, one) for one in _some(given))}
    existing = {values_of(rule).identity for rule in group.rules}
    added = [rule for identity, rule in wanted.items() if identity not in existing]
    quota.check(caller, "security_group_rules", len(group.rules), len(added), of=group_id)
    now = caller.services.clock.now()
    for rule in added:
        group.rules.append(SecurityGroupRule(id=new_id("securitygrouprule"), created_at=now, **vars(rule)))
    caller.session.flush()
    return sync(caller, group)


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
        text = validate.description("Description", given.description or "", code=_DESCRIPTION_CODE)
        for rule in found:
            rule.description = text
        return sync(caller, group)
    rule = _by_id(group, direction, rule_id)
    changed = checked(caller, group, direction, _merged(rule, given), old_priority=rule.priority)
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


def values_of(rule: SecurityGroupRule) -> RuleValues:
    """What a row says."""
    return RuleValues(
        direction=rule.direction,
        policy=rule.policy,
        protocol=rule.protocol,
        port_range=rule.port_range,
        peer_cidr=rule.peer_cidr,
        peer_group_id=rule.peer_group_id,
        priority=rule.priority,
        description=rule.description,
        nic_type=rule.nic_type,
    )


# ------------------------------------------------------------------------------ checks

_DESCRIPTION_CODE = "InvalidSecurityGroupDiscription.Malformed"  # spelt as the provider does


def checked(
    caller: Caller,
    group: SecurityGroup,
    direction: str,
    given: RuleInput,
    *,
    revoking: bool = False,
    old_priority: int | None = None,
) -> RuleValues:
    """`given` with its defaults; raises the public error of the first thing wrong with it.

    `revoking`, or a rule's `old_priority`: the system's own priority is a value to be met with.
    """
    protocol = _protocol(given)
    policy = _POLICIES.get((given.policy or "accept").lower())
    if policy is None:
        raise InvalidParameter(
            f"{given.prefix}Policy", given.policy, "it must be accept or drop.", code="InvalidPolicy.Malformed"
        )
    if given.nic_type and given.nic_type.lower() not in ("intranet", "internet"):
        raise InvalidParameter(
            f"{given.prefix}NicType",
            given.nic_type,
            "it must be intranet or internet.",
            code="InvalidNicType.ValueNotSupported",
        )
    port_range = _port_range(given, protocol)
    cidr, peer_group = _peer(caller, group, direction, given)
    return RuleValues(
        direction=direction,
        policy=policy,
        protocol=protocol,
        port_range=port_range,
        peer_cidr=cidr,
        peer_group_id=peer_group,
        priority=_priority(given, any_priority=revoking, old=old_priority),
        description=validate.description(f"{given.prefix}Description", given.description or "", code=_DESCRIPTION_CODE),
    )


def _protocol(given: RuleInput) -> str:
    if not given.protocol:
        raise MissingParameter(f"{given.prefix}IpProtocol")
    protocol = given.protocol.upper()
    if protocol not in PROTOCOLS:
        raise InvalidParameter(
            f"{given.prefix}IpProtocol",
            given.protocol,
            "it must be tcp, udp, icmp, gre or all.",
            code="InvalidIpProtocol.ValueNotSupported",
        )
    return protocol


def _port_range(given: RuleInput, protocol: str) -> str:
    name, code = f"{given.prefix}PortRange", "InvalidIpPortRange.Malformed"
    if protocol not in ("TCP", "UDP"):
        if given.port_range and given.port_range != ALL_PORTS:
            why = f"with the protocol {protocol} it must be {ALL_PORTS}."
            raise InvalidParameter(name, given.port_range, why, code=code)
        return ALL_PORTS
    if not given.port_range:
        raise MissingParameter(name)
    first, separator, last = given.port_range.partition("/")
    numbers = [int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0 for text in (first, last)]
    if not separator or not 1 <= numbers[0] <= numbers[1] <= 65535:
        why = "it must be FROM/TO with ports of 1 to 65535, such as 22/22."
        raise InvalidParameter(name, given.port_range, why, code=code)
    return f"{numbers[0]}/{numbers[1]}"


def _priority(given: RuleInput, *, any_priority: bool, old: int | None) -> int:
    name, text = f"{given.prefix}Priority", given.priority
    if not text:
        return PRIORITIES[0]
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise InvalidParameter(name, text, "it must be an integer.", code="InvalidPriority.Malformed")
    priority = int(text)
    if priority not in PRIORITIES and not any_priority and priority != old:
        raise InvalidParameter(name, text, "it must be 1 to 100.", code="InvalidPriority.ValueNotSupported")
    return priority


def _peer(caller: Caller, group: SecurityGroup, direction: str, given: RuleInput) -> tuple[str | None, str | None]:
    side = "Source" if direction == INGRESS else "Dest"
    if given.peer_cidr:
        name = f"{given.prefix}{side}CidrIp"
        validate.network(name, given.peer_cidr, code=f"Invalid{side}CidrIp.Malformed")
        return given.peer_cidr, None
    if not given.peer_group_id:
        raise MissingPeer(
            f"Either {given.prefix}{side}CidrIp or {given.prefix}{side}GroupId must be given.",
            code=f"MissingParameter.{side}",
        )
    name, not_found = f"{given.prefix}{side}GroupId", f"Invalid{side}GroupId.NotFound"
    _check_owner(caller, given, side)
    peer = get_security_group(caller, given.peer_group_id, code=not_found, parameter=name)
    if peer.vpc_id != group.vpc_id:
        why = f'it is in the VPC "{peer.vpc_id}", the security group in "{group.vpc_id}": they must be in the same.'
        raise InvalidParameter(name, peer.id, why, code=f"Invalid{side}GroupId.Mismatch")
    if peer.id == group.id:
        raise Conflict(
            f'The {name} "{peer.id}" must be another group than the rule\'s own; its members reach each other '
            "by the group's InnerAccessPolicy.",
            code="InvalidParamter.Conflict",  # spelt as the provider does
        )
    return None, peer.id


def _check_owner(caller: Caller, given: RuleInput, side: str) -> None:
    """The peer group's owner, where it is named, can only be the caller's own account."""
    foreign = given.peer_group_owner_id and given.peer_group_owner_id != caller.account_id
    if not foreign and given.peer_group_owner_account:
        own = caller.session.get_one(Account, caller.account_id)
        foreign = given.peer_group_owner_account not in (own.id, own.name)
    if foreign:
        owner = given.peer_group_owner_id or given.peer_group_owner_account
        raise NotFound(
            f"Invalid{side}GroupId.NotFound",
            f"{given.prefix}{side}GroupId",
            f"{given.peer_group_id} of the account {owner}",
        )


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


def _merged(rule: SecurityGroupRule, given: RuleInput) -> RuleInput:
    """`given`, with the rule's own values for what was left out."""
    new_peer = given.peer_cidr or given.peer_group_id
    protocol = given.protocol or rule.protocol
    keeps_ports = given.protocol is None or given.protocol.upper() == rule.protocol
    return replace(
        given,
        policy=given.policy or rule.policy,
        protocol=protocol,
        port_range=given.port_range or (rule.port_range if keeps_ports else None),
        peer_cidr=given.peer_cidr if new_peer else rule.peer_cidr,
        peer_group_id=given.peer_group_id if new_peer else rule.peer_group_id,
        priority=given.priority or str(rule.priority),
        description=rule.description if given.description is None else given.description,
    )
