"""Elastic public addresses (SPEC N3): an account keeps them, and binds them to its instances as it likes.

What the store says is what shall be; while the job that makes it so is not done, the address is in a state of its own
and left alone by everything else.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session, selectinload

from agent.core import validate
from agent.core.errors import ApiError, Conflict, InvalidParameter, NotFound
from agent.jobs.journal import UNFINISHED
from agent.jobs.kinds.public_address import ASSOCIATE, UNASSOCIATE
from agent.services import instance as instances
from agent.services import public_address, quota, tag
from agent.services.context import Caller
from agent.services.matching import like
from agent.services.public_address import EIP
from agent.store.schema import Instance, Job, NetworkInterface, PublicAddress

AVAILABLE: Final = "Available"
ASSOCIATING: Final = "Associating"
IN_USE: Final = "InUse"
UNASSOCIATING: Final = "Unassociating"
STATES = (AVAILABLE, ASSOCIATING, IN_USE, UNASSOCIATING)
_UNDER_WAY = {ASSOCIATE: ASSOCIATING, UNASSOCIATE: UNASSOCIATING}

INSTANCE, INTERFACE = "EcsInstance", "NetworkInterface"  # what an address is bound to
DEFAULT_MBPS = 5


class IncorrectEipStatus(ApiError):
    code, status = "IncorrectEipStatus", 400


class AlreadyAssociated(ApiError):
    code, status = "InvalidAssociation.Duplicated", 400


@dataclass(frozen=True)
class Filters:
    """Empty: do not filter by it. Names may hold `*`."""

    ids: Sequence[str] = ()
    ips: Sequence[str] = ()
    name: str = ""
    status: str = ""
    instance_id: str = ""
    instance_type: str = ""
    not_before: dt.datetime | None = None
    not_after: dt.datetime | None = None
    tags: Sequence[tag.TagFilter] = ()


def allocate(
    caller: Caller,
    *,
    bandwidth_mbps: int = DEFAULT_MBPS,
    charge_type: str = public_address.BY_TRAFFIC,
    ip: str = "",
    name: str = "",
    description: str = "",
    tags: Sequence[tag.TagPair] = (),
) -> PublicAddress:
    """An address of the pool for the account (`ip`: the one wanted); raises PoolExhausted when there is none."""
    _check_texts(name, description)
    public_address.check_charge_type("InternetChargeType", charge_type)
    public_address.check_bandwidth(caller, "Bandwidth", bandwidth_mbps, least=1, code="InvalidBandwidth.Malformed")
    mine = select(func.count()).where(PublicAddress.account_id == caller.account_id, PublicAddress.kind == EIP)
    quota.check(caller, "eips", caller.session.scalar(mine) or 0)
    found = public_address.take(
        caller,
        None,
        kind=EIP,
        ip=ip,
        name=name,
        description=description,
        bandwidth_mbps=bandwidth_mbps,
        charge_type=charge_type,
    )
    tag.set_tags(caller, "eip", found.id, tags)
    return found


def get(caller: Caller, allocation_id: str) -> PublicAddress:
    """The caller's elastic address; raises NotFound."""
    found = caller.session.get(PublicAddress, allocation_id)
    if found is None or found.account_id != caller.account_id or found.kind != EIP:
        raise NotFound("InvalidAllocationId.NotFound", "AllocationId", allocation_id)
    return found


def find(caller: Caller, filters: Filters) -> Select[PublicAddress]:
    """The caller's elastic addresses, newest first."""
    query = select(PublicAddress).where(PublicAddress.account_id == caller.account_id, PublicAddress.kind == EIP)
    if filters.ids:
        query = query.where(PublicAddress.id.in_(filters.ids))
    if filters.ips:
        query = query.where(PublicAddress.ip.in_(filters.ips))
    if filters.name:
        query = query.where(like(PublicAddress.name, filters.name))
    if filters.not_before:
        query = query.where(PublicAddress.created_at >= filters.not_before)
    if filters.not_after:
        query = query.where(PublicAddress.created_at <= filters.not_after)
    if filters.status:
        query = query.where(_has_status(filters.status))
    query = _by_holder(query, filters)
    query = tag.filter_by_tags(query, "eip", PublicAddress.id, list(filters.tags))
    query = query.options(selectinload(PublicAddress.interface))
    return query.order_by(PublicAddress.created_at.desc(), PublicAddress.id)


def _by_holder(query: Select[PublicAddress], filters: Filters) -> Select[PublicAddress]:
    if filters.instance_type:
        bound, secondary = PublicAddress.interface_id.is_not(None), PublicAddress.private_ip.is_not(None)
        known = {INSTANCE: bound & ~secondary, INTERFACE: bound & secondary}
        query = query.where(known.get(filters.instance_type, PublicAddress.id.is_(None)))
    if filters.instance_id:
        of = NetworkInterface.instance_id == filters.instance_id
        query = query.where(PublicAddress.interface.has(of | (NetworkInterface.id == filters.instance_id)))
    return query


def _has_status(status: str) -> ColumnElement[bool]:
    """The same as statuses says, as a condition."""
    under_way = {state: PublicAddress.id.in_(_at_work(kind)) for kind, state in _UNDER_WAY.items()}
    if status in under_way:
        return under_way[status]
    if status not in (AVAILABLE, IN_USE):
        return PublicAddress.id.is_(None)
    bound = PublicAddress.interface_id.is_not(None) if status == IN_USE else PublicAddress.interface_id.is_(None)
    return bound & PublicAddress.id.not_in(_at_work(ASSOCIATE)) & PublicAddress.id.not_in(_at_work(UNASSOCIATE))


def _at_work(kind: str) -> Select[str]:
    return select(Job.resource_id).where(Job.kind == kind, Job.state.in_(UNFINISHED))


def statuses(session: Session, addresses: Iterable[PublicAddress]) -> dict[str, str]:
    """One of STATES for each, by id."""
    rows = {address.id: IN_USE if address.interface_id else AVAILABLE for address in addresses}
    jobs = select(Job.resource_id, Job.kind).where(
        Job.resource_id.in_(rows), Job.kind.in_(_UNDER_WAY), Job.state.in_(UNFINISHED)
    )
    return rows | {resource_id: _UNDER_WAY[kind] for resource_id, kind in session.execute(jobs)}


def holder(address: PublicAddress) -> tuple[str, str]:
    """(type, id) of what it is bound to; empty when it is not."""
    interface = address.interface
    if interface is None:
        return "", ""
    return (INTERFACE, interface.id) if address.private_ip else (INSTANCE, interface.instance_id or "")


def modify(
    caller: Caller,
    allocation_id: str,
    *,
    bandwidth_mbps: int | None = None,
    name: str | None = None,
    description: str | None = None,
) -> None:
    """Change what is not None; a bound address has its new bandwidth at once."""
    address = get(caller, allocation_id)
    _check_texts(name or "", description or "")
    if name is not None:
        address.name = name
    if description is not None:
        address.description = description
    if bandwidth_mbps is None:
        return
    public_address.check_bandwidth(caller, "Bandwidth", bandwidth_mbps, least=1, code="InvalidBandwidth.Malformed")
    _check_status(caller, address, AVAILABLE, IN_USE)
    address.bandwidth_mbps = bandwidth_mbps
    if address.interface is not None and address.interface.instance_id is not None:
        public_address.apply(caller, address.interface, address.interface.instance_id)


def associate(
    caller: Caller, allocation_id: str, holder_id: str, *, holder_type: str = INSTANCE, private_ip: str = ""
) -> Job:
    """Let an address stand for an instance's private one (`private_ip`: a secondary one), by the job returned."""
    address = get(caller, allocation_id)
    interface = _interface(instance_of(caller, holder_id, holder_type))
    wanted = _private_ip(interface, private_ip)
    _check_status(caller, address, AVAILABLE)
    for other in interface.public:
        if other.private_ip == wanted:
            raise AlreadyAssociated(
                f'The instance "{interface.instance_id}" has the public address {other.ip} already for its '
                f"{wanted or interface.ip}: take that away before."
            )
    address.interface, address.private_ip = interface, wanted
    caller.session.flush()
    return public_address.apply(caller, interface, address.id, ASSOCIATE)


def unassociate(caller: Caller, allocation_id: str, holder_id: str = "", private_ip: str = "") -> Job:
    """Take an address away from what it is bound to; `holder_id` and `private_ip`, if given, must be that."""
    address = get(caller, allocation_id)
    _check_status(caller, address, IN_USE)
    interface = address.interface
    assert interface is not None  # what InUse means
    if holder_id and holder_id not in (interface.instance_id, interface.id):
        raise IncorrectEipStatus(
            f'The EIP "{address.id}" ({address.ip}) is bound to "{interface.instance_id}", not to "{holder_id}".'
        )
    stands_for = address.private_ip or interface.ip
    if private_ip not in ("", stands_for):
        raise IncorrectEipStatus(
            f'The EIP "{address.id}" ({address.ip}) stands for {stands_for}, not for "{private_ip}".'
        )
    address.interface, address.private_ip = None, None
    caller.session.flush()
    return public_address.apply(caller, interface, address.id, UNASSOCIATE)


def release(caller: Caller, allocation_id: str) -> None:
    """Give it back to the pool; raises IncorrectEipStatus while it is bound."""
    address = get(caller, allocation_id)
    _check_status(caller, address, AVAILABLE)
    tag.forget(caller.session, "eip", [address.id])
    public_address.give_back(caller, address)


def instance_of(caller: Caller, holder_id: str, holder_type: str) -> Instance:
    """The caller's instance that is named, by its own id or by an interface's. Raises NotFound, InvalidParameter."""
    if holder_type not in (INSTANCE, INTERFACE):
        why = f"addresses are bound to an {INSTANCE} or, for its secondary addresses, a {INTERFACE}."
        raise InvalidParameter("InstanceType", holder_type, why, code="InvalidInstanceType.ValueNotSupported")
    instance_id: str | None = holder_id
    if holder_type == INTERFACE:
        found = caller.session.get(NetworkInterface, holder_id)
        if found is None or found.account_id != caller.account_id:
            raise NotFound("InvalidEniId.NotFound", "InstanceId", holder_id)
        instance_id = found.instance_id
    return instances.get(caller, instance_id or "")


def _interface(instance: Instance) -> NetworkInterface:
    """The one that addresses of an instance are bound to."""
    instances.check_state(instance, "change_addresses")
    if public_address.in_classic(instance):
        raise Conflict(
            f'The instance "{instance.id}" is in the classic network: it has a public address of its own, and an EIP '
            "cannot be bound to it.",
            code="OperationDenied",
        )
    return instance.interfaces[0]


def _private_ip(interface: NetworkInterface, wanted: str) -> str | None:
    """As the row has it: None for the primary one."""
    if wanted in ("", interface.ip):
        return None
    if wanted not in [one.ip for one in interface.secondary]:
        raise InvalidParameter(
            "PrivateIpAddress",
            wanted,
            f'the instance "{interface.instance_id}" does not have it.',
            code="InvalidPrivateIpAddress.NotFound",
        )
    return wanted


def _check_status(caller: Caller, address: PublicAddress, *allowed: str) -> None:
    status = statuses(caller.session, [address])[address.id]
    if status not in allowed:
        bound = f' (bound to "{holder(address)[1]}")' if status == IN_USE else ""
        raise IncorrectEipStatus(
            f'The current status "{status}" of the EIP "{address.id}" ({address.ip}){bound} does not support this '
            f"operation: it must be {' or '.join(allowed)}."
        )


def _check_texts(name: str, description: str) -> None:
    if name:
        validate.name("Name", name, code="InvalidName.Malformed")
    validate.description("Description", description)
