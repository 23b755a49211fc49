"""Network interfaces: each instance has its primary one, which may have further private addresses (SPEC N2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import selectinload

from agent.core.errors import ApiError, Conflict, InvalidParameter, MissingParameter, NotFound
from agent.jobs import journal
from agent.services import instance as instances
from agent.services import quota, vswitch
from agent.services.context import Caller
from agent.store.schema import (
    GroupMembership,
    Instance,
    Job,
    NetworkInterface,
    PublicAddress,
    RouteEntry,
    SecondaryAddress,
    Vpc,
)

NOT_FOUND = "InvalidEniId.NotFound"
_WRONG = "InvalidParameter"


class AddressNotAssigned(ApiError):
    code, status = "InvalidIp.IpUnassigned", 400


@dataclass(frozen=True)
class Filters:
    """Of DescribeNetworkInterfaces; empty: any."""

    ids: Sequence[str] = ()
    instance_id: str = ""
    vpc_id: str = ""
    vswitch_id: str = ""
    group_id: str = ""
    primary_ip: str = ""
    private_ips: Sequence[str] = ()


def get_interface(caller: Caller, interface_id: str) -> NetworkInterface:
    """The caller's interface in a VPC; raises NotFound."""
    found = caller.session.scalar(_own(caller).where(NetworkInterface.id == interface_id))
    if found is None:
        raise NotFound(NOT_FOUND, "NetworkInterfaceId", interface_id)
    return found


def find_interfaces(caller: Caller, filters: Filters) -> Select[NetworkInterface]:
    """The caller's interfaces, newest first."""
    found = _own(caller)
    for column, value in (
        (NetworkInterface.instance_id, filters.instance_id),
        (NetworkInterface.vpc_id, filters.vpc_id),
        (NetworkInterface.vswitch_id, filters.vswitch_id),
        (NetworkInterface.ip, filters.primary_ip),
    ):
        if value:
            found = found.where(column == value)
    if filters.ids:
        found = found.where(NetworkInterface.id.in_(filters.ids))
    if filters.group_id:
        found = found.where(NetworkInterface.memberships.any(GroupMembership.group_id == filters.group_id))
    if filters.private_ips:
        secondary = NetworkInterface.secondary.any(SecondaryAddress.ip.in_(filters.private_ips))
        found = found.where(or_(NetworkInterface.ip.in_(filters.private_ips), secondary))
    shown = NetworkInterface.vswitch, NetworkInterface.memberships, NetworkInterface.secondary
    return found.options(*map(selectinload, shown)).order_by(NetworkInterface.created_at.desc(), NetworkInterface.id)


def assign(
    caller: Caller, interface_id: str, wanted: Sequence[str] = (), count: int | None = None
) -> tuple[list[str], Job]:
    """Further addresses of the interface's VSwitch: those wanted, or `count` free ones. The job makes them reachable.

    The guest has to add them to its interface itself.
    """
    interface = get_interface(caller, interface_id)
    _check_state(caller, interface)
    if bool(wanted) == (count is not None):
        if wanted:
            why = "give either addresses or their number."
            raise InvalidParameter("SecondaryPrivateIpAddressCount", count, why, code=_WRONG)
        raise MissingParameter("PrivateIpAddress.1")
    if len(set(wanted)) != len(wanted):
        raise InvalidParameter("PrivateIpAddress", ", ".join(wanted), "one is repeated.", code="InvalidIp.IpRepeated")
    asked: list[str | None] = list(wanted) if wanted else [None] * (count or 0)
    quota.check(caller, "secondary_ips_per_interface", len(interface.secondary), len(asked), of=interface.id)
    for address in asked:
        interface.secondary.append(
            SecondaryAddress(
                vpc_id=interface.vpc_id,
                ip=vswitch.allocate_address(caller, interface.vswitch, address),
                created_at=caller.services.clock.now(),
            )
        )
        caller.session.flush()
    given = [address.ip for address in interface.secondary[-len(asked) :]]
    return given, _sync(caller, interface)


def unassign(caller: Caller, interface_id: str, unwanted: Sequence[str]) -> Job:
    """Take further addresses away, all or none. Raises Conflict for one that a public address stands for."""
    interface = get_interface(caller, interface_id)
    _check_state(caller, interface)
    if not unwanted:
        raise MissingParameter("PrivateIpAddress.1")
    own = {address.ip: address for address in interface.secondary}
    for ip in dict.fromkeys(unwanted):
        if ip not in own:
            raise AddressNotAssigned(
                f'The PrivateIpAddress "{ip}" is not a secondary address of the network interface "{interface.id}".'
            )
        bound = next((public for public in interface.public if public.private_ip == ip), None)
        if bound is not None:
            raise Conflict(
                f'The public address "{bound.ip}" ({bound.id}) is bound to "{ip}": unbind that first.',
                code="InvalidOperation.EipBound",
            )
        interface.secondary.remove(own[ip])
    caller.session.flush()
    return _sync(caller, interface)


def public_of(caller: Caller, interface_ids: Sequence[str]) -> dict[tuple[str, str], PublicAddress]:
    """The public addresses bound to interfaces, by the interface's id and the private address they stand for."""
    bound = select(PublicAddress, NetworkInterface.ip).join(PublicAddress.interface)
    found = caller.session.execute(bound.where(NetworkInterface.id.in_(interface_ids)))
    return {(public.interface_id or "", public.private_ip or ip): public for public, ip in found}


def next_hops(caller: Caller, interface_ids: Sequence[str]) -> set[str]:
    """Those of the interfaces that a route entry leads to."""
    found = select(RouteEntry.interface_id).where(RouteEntry.interface_id.in_(interface_ids))
    return {interface_id for interface_id in caller.session.scalars(found) if interface_id}


def _own(caller: Caller) -> Select[NetworkInterface]:
    in_vpc = select(Vpc.id).where(Vpc.is_classic.is_(False))
    return select(NetworkInterface).where(
        NetworkInterface.account_id == caller.account_id, NetworkInterface.vpc_id.in_(in_vpc)
    )


def _check_state(caller: Caller, interface: NetworkInterface) -> None:
    """The instance runs or is stopped, not on its way between the two."""
    instance = caller.session.get(Instance, interface.instance_id) if interface.instance_id else None
    if instance is not None:
        instances.check_state(instance, "change_addresses")


def _sync(caller: Caller, interface: NetworkInterface) -> Job:
    return journal.enqueue_interface(caller.session, interface, caller.services.clock.now(), caller.request_id)
