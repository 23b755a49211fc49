"""What a rule of a security group may say (SPEC F2, F4): reading it as a caller gives it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from sqlalchemy import or_, select

from agent.core import validate
from agent.core.errors import ApiError, Conflict, InvalidParameter, MissingParameter, NotFound
from agent.core.ids import CLASSIC_VPC
from agent.core.specs import INTERNET, INTRANET
from agent.services.context import Caller
from agent.services.security_group import place
from agent.store.schema import Account, SecurityGroup, SecurityGroupRule

INGRESS = "ingress"
EGRESS = "egress"
PROTOCOLS = ("TCP", "UDP", "ICMP", "GRE", "ALL")
ALL_PORTS = "-1/-1"
PRIORITIES = range(1, 101)
DESCRIPTION_CODE = "InvalidSecurityGroupDiscription.Malformed"  # spelt as the provider does
_POLICIES = {"accept": "Accept", "drop": "Drop"}


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
    nic_type: str = INTRANET

    @property
    def identity(self) -> tuple[object, ...]:
        peer = ipaddress.IPv4Network(self.peer_cidr) if self.peer_cidr else self.peer_group_id
        return self.direction, self.nic_type, self.policy, self.protocol, self.port_range, peer, self.priority


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


@dataclass(frozen=True)
class LeftOut:
    """A rule that is not taken along to another group, and why."""

    rule: RuleValues
    reason: str


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
    nic_type = _nic_type(given, classic=group.vpc_id == CLASSIC_VPC)
    port_range = _port_range(given, protocol)
    cidr, peer_group = _peer(caller, group, direction, given, nic_type)
    if cidr and not revoking:
        _check_single(caller, group, direction, given, nic_type)
    return RuleValues(
        direction=direction,
        policy=policy,
        protocol=protocol,
        port_range=port_range,
        peer_cidr=cidr,
        peer_group_id=peer_group,
        priority=_priority(given, any_priority=revoking, old=old_priority),
        description=validate.description(f"{given.prefix}Description", given.description or "", code=DESCRIPTION_CODE),
        nic_type=nic_type,
    )


def only_single_addresses(direction: str, nic_type: str, *, classic: bool) -> bool:
    """Whether address blocks of such rules must be /32: anybody's instances are in the classic intranet (SPEC F4)."""
    return classic and direction == INGRESS and nic_type == INTRANET


# ------------------------------------------------------------------------------ each parameter


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


def _nic_type(given: RuleInput, *, classic: bool) -> str:
    """In a VPC there is but one kind, whatever is said; in the classic network the internet is meant by default."""
    nic_type = (given.nic_type or INTERNET).lower()
    if nic_type not in (INTRANET, INTERNET):
        raise InvalidParameter(
            f"{given.prefix}NicType",
            given.nic_type,
            "it must be intranet or internet.",
            code="InvalidNicType.ValueNotSupported",
        )
    return nic_type if classic else INTRANET


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


# ------------------------------------------------------------------------------ the peer


def _peer(
    caller: Caller, group: SecurityGroup, direction: str, given: RuleInput, nic_type: str
) -> tuple[str | None, str | None]:
    side = "Source" if direction == INGRESS else "Dest"
    if given.peer_cidr:
        validate.network(f"{given.prefix}{side}CidrIp", given.peer_cidr, code=f"Invalid{side}CidrIp.Malformed")
        return given.peer_cidr, None
    if not given.peer_group_id:
        raise MissingPeer(
            f"Either {given.prefix}{side}CidrIp or {given.prefix}{side}GroupId must be given.",
            code=f"MissingParameter.{side}",
        )
    peer = _peer_group(caller, group, given, side)
    if peer.id == group.id:
        raise Conflict(
            f'The {given.prefix}{side}GroupId "{peer.id}" must be another group than the rule\'s own; its members '
            "reach each other by the group's InnerAccessPolicy.",
            code="InvalidParamter.Conflict",  # spelt as the provider does
        )
    if nic_type != INTRANET:
        why = f"with {side}GroupId it must be intranet, where the members' private addresses are."
        raise InvalidParameter(f"{given.prefix}NicType", nic_type, why, code=f"Invalid{side}GroupId.Mismatch")
    return None, peer.id


def _peer_group(caller: Caller, group: SecurityGroup, given: RuleInput, side: str) -> SecurityGroup:
    """Of the caller, or of the account that is named: that one's groups are met in the classic network alone."""
    name, owner = f"{given.prefix}{side}GroupId", _owner(caller, given)
    peer = caller.session.get(SecurityGroup, given.peer_group_id)
    own = owner == caller.account_id
    if peer is None or peer.account_id != owner or not (own or group.vpc_id == peer.vpc_id == CLASSIC_VPC):
        told = owner or given.peer_group_owner_account
        whose = "" if own else f" of the account {told}"
        raise NotFound(f"Invalid{side}GroupId.NotFound", name, f"{given.peer_group_id}{whose}")
    if peer.vpc_id != group.vpc_id:
        why = f"it is in {place(peer.vpc_id)}, the security group in {place(group.vpc_id)}: they must be in the same."
        raise InvalidParameter(name, peer.id, why, code=f"Invalid{side}GroupId.Mismatch")
    return peer


def _owner(caller: Caller, given: RuleInput) -> str:
    """The id of the account whose group is meant; empty when there is no such account."""
    if given.peer_group_owner_id:
        return given.peer_group_owner_id
    named = given.peer_group_owner_account
    if not named:
        return caller.account_id
    return caller.session.scalar(select(Account.id).where(or_(Account.id == named, Account.name == named))) or ""


def _check_single(caller: Caller, group: SecurityGroup, direction: str, given: RuleInput, nic_type: str) -> None:
    if not only_single_addresses(direction, nic_type, classic=group.vpc_id == CLASSIC_VPC):
        return
    if ipaddress.IPv4Network(given.peer_cidr or "").prefixlen != 32:
        why = "in the classic intranet it must be a single address (/32); or name a security group."
        name = f"{given.prefix}SourceCidrIp"
        raise InvalidParameter(name, given.peer_cidr, why, code="InvalidSourceCidrIp.Malformed")
