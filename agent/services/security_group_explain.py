"""Which rule of which security group decides about a flow (SPEC F2-F5), as the router's filter has it now."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import or_, select

from agent.core import states, validate
from agent.core.errors import InvalidParameter
from agent.core.specs import INTERNET, Decision, FlowDecision, FlowSpec, Verdict
from agent.jobs.translate_filter import rule_spec
from agent.services import instance as instances
from agent.services.context import Caller
from agent.store.schema import (
    Instance,
    NetworkInterface,
    PublicAddress,
    SecondaryAddress,
    SecurityGroup,
    SecurityGroupRule,
    Vpc,
)

PROTOCOLS = ("tcp", "udp", "icmp", "gre")
_MALFORMED = "InvalidIpAddress.Malformed"


@dataclass(frozen=True)
class End:
    """One end of a flow as a caller names it: an instance, an address, both (that instance as this address), or, as
    the source, neither: anybody outside."""

    instance_id: str = ""
    address: str = ""


@dataclass(frozen=True)
class Side:
    """What the groups of one end say. `decision` None: it is another account's, and its groups nobody else's
    business."""

    role: str  # sender | receiver
    interface: NetworkInterface
    instance: Instance | None
    decision: Decision | None
    group: SecurityGroup | None = None
    rule: SecurityGroupRule | None = None


@dataclass(frozen=True)
class Explanation:
    """`sources`: of whom this is true; none: of all others."""

    sources: tuple[str, ...]
    sides: tuple[Side, ...]

    @property
    def verdict(self) -> Verdict | None:
        """None: another account's groups decide."""
        known = [side.decision.verdict for side in self.sides if side.decision]
        if Verdict.DROP in known:
            return Verdict.DROP
        return Verdict.ACCEPT if len(known) == len(self.sides) else None


@dataclass(frozen=True)
class Answer:
    explanations: list[Explanation]
    notes: list[str]


def explain(caller: Caller, source: End, destination: End, protocol: str, port: int) -> Answer:
    """What happens to a flow that `source` opens. `port` is the receiver's own, 0 for icmp and gre.

    Raises NotFound, InvalidParameter for ends between which there is no flow that a group of the caller's decides
    about, DriverError while the router is not ready.
    """
    _check(source, destination, protocol, port)
    sender, receiver = _path(caller, source, destination)
    flow = FlowSpec(protocol, None, "", port=port, reached_port=port)
    found = _decisions(caller, flow, (sender, receiver), source.address, destination.address)
    explanations = []
    for one in found:
        sides = [_side(caller, "sender", sender, one.sender), _side(caller, "receiver", receiver, one.receiver)]
        explanations.append(Explanation(one.sources, tuple(side for side in sides if side)))
    return Answer(explanations, _notes(caller, sender, receiver))


def _check(source: End, destination: End, protocol: str, port: int) -> None:
    if protocol not in PROTOCOLS:
        why = f"it must be {', '.join(PROTOCOLS)}."
        raise InvalidParameter("IpProtocol", protocol, why, code="InvalidIpProtocol.ValueNotSupported")
    has_port = protocol in ("tcp", "udp")
    if has_port != bool(port) or not 0 <= port <= 65535:
        why = "it must be 1 to 65535." if has_port else f"{protocol} has no ports."
        raise InvalidParameter("Port", port, why)
    for name, address in (("SourceIp", source.address), ("DestIp", destination.address)):
        if address:
            validate.address(name, address, code=_MALFORMED)
    if destination == End():
        raise InvalidParameter("DestInstanceId", "", "give DestInstanceId or DestIp.")


# ------------------------------------------------------------------------------ who is meant

_Path = tuple[NetworkInterface | None, NetworkInterface | None]


def _path(caller: Caller, source: End, destination: End) -> _Path:
    """The interfaces that the flow goes from and to; None is outside. One is the caller's."""
    paths = list(itertools.product(_meant(caller, source), _meant(caller, destination)))
    best = min(map(_distance, paths))
    nearest = [path for path in paths if _distance(path) == best]
    if len(nearest) > 1:
        shown = ", ".join(sorted({end.vpc_id for path in nearest for end in path if end}))
        raise InvalidParameter("SourceIp", source.address, f"that is in several VPCs ({shown}): name the instance.")
    sender = _stranger(caller, source, nearest[0])
    receiver = _stranger(caller, destination, nearest[0][::-1])
    if sender is None and receiver is None:
        why = "neither this nor the source is an address of an instance of yours."
        raise InvalidParameter("DestIp", destination.address, why)
    if receiver is not None and sender is receiver:
        raise InvalidParameter("DestIp", receiver.ip, "an instance reaches itself without the network.")
    return sender, receiver


def _meant(caller: Caller, end: End) -> Sequence[NetworkInterface | None]:
    """The interfaces of the caller's that may be meant; (None,) if there is none."""
    if end.instance_id:
        interfaces = instances.get(caller, end.instance_id).interfaces
        return [one for one in interfaces if end.address in _addresses(one)] or list(interfaces)
    return list(_holding(caller, end.address, caller.account_id)) or [None] if end.address else [None]


def _holding(caller: Caller, address: str, account_id: str = "", vpc_id: str = "") -> Sequence[NetworkInterface]:
    """The interfaces that have an address, private or public; of one account, or in one VPC."""
    query = (
        select(NetworkInterface)
        .outerjoin(SecondaryAddress, SecondaryAddress.interface_id == NetworkInterface.id)
        .outerjoin(PublicAddress, PublicAddress.interface_id == NetworkInterface.id)
        .where(or_(*(column == address for column in (NetworkInterface.ip, SecondaryAddress.ip, PublicAddress.ip))))
        .where(NetworkInterface.instance_id.is_not(None))
        .distinct()
    )
    if account_id:
        query = query.where(NetworkInterface.account_id == account_id)
    if vpc_id:
        query = query.where(NetworkInterface.vpc_id == vpc_id)
    return caller.session.scalars(query).all()


def _addresses(interface: NetworkInterface) -> set[str]:
    return {interface.ip, *(one.ip for one in interface.secondary), *(one.ip for one in interface.public)}


def _distance(path: _Path) -> tuple[bool, ...]:
    """Which of several ways a flow takes: within a VPC, on the intranet; to and from outside by the internet's card."""
    sender, receiver = path
    if sender is not None and receiver is not None:
        other_card = sender.nic_type != receiver.nic_type
        return sender.vpc_id != receiver.vpc_id, other_card, receiver.nic_type == INTERNET
    inside = sender or receiver
    return False, inside is not None and inside.nic_type != INTERNET, False


def _stranger(caller: Caller, end: End, path: _Path) -> NetworkInterface | None:
    """The first end of the path, which in the classic network may be another account's instance."""
    own, other = path
    if own is not None or other is None or not end.address:
        return own
    return next(iter(_holding(caller, end.address, vpc_id=other.vpc_id)), None)


# ------------------------------------------------------------------------------ what happens to it


def _decisions(caller: Caller, flow: FlowSpec, path: _Path, source: str, destination: str) -> list[FlowDecision]:
    """Of the one VPC, or of the two that the flow goes through. `source` and `destination` are what was given."""
    ask = caller.services.network.explain
    sender, receiver = path
    if sender is not None:
        flow = replace(flow, source=_source(sender, source), source_tap=sender.tap, source_mac=sender.mac)
    if sender is not None and receiver is not None and sender.vpc_id == receiver.vpc_id:
        flow = replace(flow, destination=destination or receiver.ip, destination_tap=receiver.tap)
        return ask(sender.vpc_id, flow)
    out = None
    if sender is not None:
        outside = destination if receiver is None else _public(receiver) or receiver.ip
        out = ask(sender.vpc_id, replace(flow, destination=outside))
    if receiver is None:
        return out or []
    seen_as = source if sender is None else _public(sender)
    flow = replace(flow, source=seen_as or None, source_tap="", source_mac="", inside=_cidr(caller, receiver))
    entering = ask(receiver.vpc_id, replace(flow, destination=receiver.ip, destination_tap=receiver.tap))
    return [replace(one, sender=out[0].sender) for one in entering] if out else entering


def _source(sender: NetworkInterface, given: str) -> str:
    """What it sends with: the private address that a public one stands for."""
    for public in sender.public:
        if public.ip == given:
            return public.private_ip or sender.ip
    return given or sender.ip


def _public(interface: NetworkInterface) -> str:
    """The address it has outside of its VPC; empty: none of its own."""
    if interface.nic_type == INTERNET:
        return interface.ip
    return interface.public[0].ip if interface.public else ""


def _cidr(caller: Caller, interface: NetworkInterface) -> str:
    return caller.session.get_one(Vpc, interface.vpc_id).cidr


def _side(caller: Caller, role: str, interface: NetworkInterface | None, decision: Decision | None) -> Side | None:
    if interface is None or interface.instance_id is None:
        return None
    if interface.account_id != caller.account_id:
        return Side(role, interface, None, None)
    instance = caller.session.get_one(Instance, interface.instance_id)
    group = caller.session.get(SecurityGroup, decision.group) if decision and decision.group else None
    rules = group.rules if group and decision and decision.rule else []
    rule = next((rule for rule in rules if decision and rule_spec(rule) == decision.rule), None)
    return Side(role, interface, instance, decision, group, rule)


def _notes(caller: Caller, sender: NetworkInterface | None, receiver: NetworkInterface | None) -> list[str]:
    """What else keeps the flow from arriving."""
    notes = []
    for interface in (sender, receiver):
        if interface is None or interface.account_id != caller.account_id:
            continue
        instance = caller.session.get_one(Instance, interface.instance_id)
        if instance.status != states.RUNNING:
            notes.append(f"{instance.name or instance.id} is {instance.status}.")
    crosses = sender is None or (receiver is not None and sender.vpc_id != receiver.vpc_id)
    if receiver is not None and crosses and not _public(receiver):
        notes.append(
            f"{receiver.ip} has no public address: from outside of its network only a forwarded port leads there."
        )
    return notes
