"""VSwitches (SPEC N1, N2): a part of a VPC's block in one zone, from which instances get their addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from agent.core import addresses, ids, validate
from agent.core.errors import ApiError, DependencyViolation, InvalidParameter, NotFound
from agent.core.ids import CLASSIC_VSWITCH
from agent.core.specs import INTRANET
from agent.jobs import journal
from agent.services import quota, tag
from agent.services.context import Caller
from agent.services.matching import like
from agent.services.vpc import get_vpc
from agent.store.schema import GroupMembership, Job, NetworkInterface, SecondaryAddress, SecurityGroup, VSwitch

PREFIX_LENGTHS = range(16, 30)  # of a VSwitch, as with the provider
TAP_LENGTH = 14  # Linux allows 15
NOT_FOUND = "InvalidVswitchID.NotFound"  # of the VPC's own actions; those of instances spell it otherwise


class CidrOverlap(ApiError):
    code, status = "InvalidCidrBlock.Overlapped", 400


class AddressInUse(ApiError):
    code, status = "InvalidIPAddress.AlreadyUsed", 400


class NoFreeAddress(ApiError):
    code, status = "QuotaExceeded.PrivateIpAddress", 400


def create_vswitch(
    caller: Caller,
    *,
    vpc_id: str,
    zone_id: str,
    cidr: str,
    name: str = "",
    description: str = "",
    nat: bool = True,
    tags: Sequence[tag.TagPair] = (),
) -> VSwitch:
    """A VSwitch; raises InvalidCidrBlock.Overlapped if another one of the VPC has some of the addresses, or a custom
    route leads to some alone. `nat`: its instances may go out through the host."""
    vpc = get_vpc(caller, vpc_id)
    if zone_id != caller.services.config.zone_id:
        raise NotFound("InvalidZoneId.NotFound", "ZoneId", zone_id)
    _check_texts(name, description)
    block = _checked_cidr(cidr, vpc.cidr)
    others = list(caller.session.scalars(select(VSwitch).where(VSwitch.vpc_id == vpc_id)))
    quota.check(caller, "vswitches_per_vpc", len(others), of=vpc_id)
    for other in others:
        if block.overlaps(ipaddress.IPv4Network(other.cidr)):
            raise CidrOverlap(f'The CidrBlock "{cidr}" overlaps with {other.cidr} of the VSwitch "{other.id}".')
    for entry in vpc.routes:
        if ipaddress.IPv4Network(entry.cidr).subnet_of(block):
            raise CidrOverlap(f'The CidrBlock "{cidr}" has {entry.cidr} in it, where the route "{entry.id}" leads.')
    now = caller.services.clock.now()
    vswitch = VSwitch(
        id=ids.new_id("vswitch"),
        account_id=caller.account_id,
        vpc_id=vpc_id,
        zone_id=zone_id,
        name=name,
        description=description,
        cidr=str(block),
        is_default=False,
        nat=nat,
        created_at=now,
    )
    caller.session.add(vswitch)
    caller.session.flush()
    tag.set_tags(caller, "vswitch", vswitch.id, tags)
    journal.enqueue_sync(caller.session, vpc_id, now, caller.request_id)
    return vswitch


def get_vswitch(caller: Caller, vswitch_id: str, *, code: str = "InvalidVSwitchId.NotFound") -> VSwitch:
    """The caller's VSwitch; raises NotFound with `code`, which differs between actions."""
    vswitch = caller.session.get(VSwitch, vswitch_id)
    if vswitch is None or vswitch.account_id != caller.account_id or vswitch_id == CLASSIC_VSWITCH:
        raise NotFound(code, "VSwitchId", vswitch_id)
    return vswitch


def find_vswitches(
    caller: Caller,
    *,
    ids: Sequence[str] = (),
    vpc_id: str | None = None,
    zone_id: str | None = None,
    name: str | None = None,
    route_table_id: str | None = None,
    is_default: bool | None = None,
    tags: Sequence[tag.TagFilter] = (),
) -> Select[VSwitch]:
    """The caller's VSwitches, in order of creation."""
    found = select(VSwitch).where(VSwitch.account_id == caller.account_id, VSwitch.id != CLASSIC_VSWITCH)
    if ids:
        found = found.where(VSwitch.id.in_(ids))
    if vpc_id:
        found = found.where(VSwitch.vpc_id == vpc_id)
    if zone_id:
        found = found.where(VSwitch.zone_id == zone_id)
    if name:
        found = found.where(like(VSwitch.name, name))
    if route_table_id:
        found = found.where(VSwitch.vpc.has(route_table_id=route_table_id))
    if is_default is not None:
        found = found.where(VSwitch.is_default == is_default)
    return tag.filter_by_tags(found, "vswitch", VSwitch.id, tags).order_by(VSwitch.created_at, VSwitch.id)


def available_addresses(session: Session, vswitches: Iterable[VSwitch]) -> dict[str, int]:
    """How many addresses are free, by VSwitch id."""
    rows = {vswitch.id: vswitch.cidr for vswitch in vswitches}
    free = {vswitch_id: addresses.usable_count(cidr) for vswitch_id, cidr in rows.items()}
    primary = select(NetworkInterface.vswitch_id, func.count()).group_by(NetworkInterface.vswitch_id)
    secondary = primary.join(SecondaryAddress, SecondaryAddress.interface_id == NetworkInterface.id)
    for used in (primary, secondary):
        for vswitch_id, count in session.execute(used.where(NetworkInterface.vswitch_id.in_(rows))):
            free[vswitch_id] -= count
    return free


def modify_vswitch(
    caller: Caller,
    vswitch_id: str,
    *,
    name: str | None = None,
    description: str | None = None,
    nat: bool | None = None,
) -> Job | None:
    """Change what is not None; the job makes another `nat` effective."""
    vswitch = get_vswitch(caller, vswitch_id, code=NOT_FOUND)
    _check_texts(name or "", description or "")
    if name is not None:
        vswitch.name = name
    if description is not None:
        vswitch.description = description
    if nat is None or nat == vswitch.nat:
        return None
    vswitch.nat = nat
    return journal.enqueue_sync(caller.session, vswitch.vpc_id, caller.services.clock.now(), caller.request_id)


def delete_vswitch(caller: Caller, vswitch_id: str) -> None:
    """Raises DependencyViolation while an instance has an address of it."""
    vswitch = get_vswitch(caller, vswitch_id, code=NOT_FOUND)
    found = select(NetworkInterface).where(NetworkInterface.vswitch_id == vswitch_id).limit(1)
    interface = caller.session.scalar(found)
    if interface is not None:
        raise DependencyViolation(
            f'The VSwitch "{vswitch_id}" is still used by the instance "{interface.instance_id}" '
            f"({interface.ip}): release that first."
        )
    vpc_id = vswitch.vpc_id
    tag.forget(caller.session, "vswitch", [vswitch_id])
    caller.session.delete(vswitch)
    caller.session.flush()
    journal.enqueue_sync(caller.session, vpc_id, caller.services.clock.now(), caller.request_id)


def allocate_address(caller: Caller, vswitch: VSwitch, wanted: str | None = None) -> str:
    """A free address of the VSwitch: the one wanted, else the lowest. It is taken once an interface has it."""
    if wanted is not None:
        return _checked_address(caller, vswitch, wanted)
    taken = _taken(caller.session, vswitch)
    for address in addresses.usable(vswitch.cidr):
        if address not in taken:
            return address
    raise NoFreeAddress(f'The VSwitch "{vswitch.id}" ({vswitch.cidr}) has no free address left.')


def new_interface(
    caller: Caller,
    vswitch: VSwitch,
    groups: Sequence[SecurityGroup],
    ip: str,
    *,
    instance_id: str | None = None,
    nic_type: str = INTRANET,
    mac: str = "",
) -> NetworkInterface:
    """A network interface with a MAC and a tap of its own, a member of `groups` in their order (SPEC N2, F7).

    `mac`: the one to have if nobody has it. Whoever starts an instance on it makes the VPC's filter know it before.
    """
    interface = NetworkInterface(
        id=ids.new_id("eni"),
        account_id=caller.account_id,
        vpc_id=vswitch.vpc_id,
        vswitch_id=vswitch.id,
        instance_id=instance_id,
        mac=_unused_mac(caller.session, mac),
        ip=ip,
        tap=_unused_tap(caller.session, caller.services.config.prefix),
        nic_type=nic_type,
        created_at=caller.services.clock.now(),
    )
    interface.memberships = [
        GroupMembership(group_id=group.id, position=position) for position, group in enumerate(groups)
    ]
    caller.session.add(interface)
    caller.session.flush()
    return interface


def _checked_cidr(cidr: str, vpc_cidr: str) -> ipaddress.IPv4Network:
    code = "InvalidCidrBlock.Malformed"
    block = validate.network("CidrBlock", cidr, code=code)
    if not block.subnet_of(ipaddress.IPv4Network(vpc_cidr)):
        raise InvalidParameter("CidrBlock", cidr, f"it must be inside the VPC's block {vpc_cidr}.", code=code)
    if block.prefixlen not in PREFIX_LENGTHS:
        raise InvalidParameter(
            "CidrBlock", cidr, f"it must be a /{PREFIX_LENGTHS[0]} to a /{PREFIX_LENGTHS[-1]}.", code=code
        )
    return block


def _checked_address(caller: Caller, vswitch: VSwitch, wanted: str) -> str:
    address = str(validate.address("PrivateIpAddress", wanted, code="InvalidPrivateIpAddress.Malformed"))
    if not addresses.is_usable(vswitch.cidr, address):
        block = ipaddress.IPv4Network(vswitch.cidr)
        raise InvalidParameter(
            "PrivateIpAddress",
            wanted,
            f'the VSwitch "{vswitch.id}" gives instances {block[1]} to {block[-4]}.',
            code="InvalidPrivateIpAddress",
        )
    further = NetworkInterface.secondary.any(SecondaryAddress.ip == address)
    user = caller.session.scalar(
        select(NetworkInterface).where(
            NetworkInterface.vpc_id == vswitch.vpc_id, or_(NetworkInterface.ip == address, further)
        )
    )
    if user is not None:
        raise AddressInUse(f'The PrivateIpAddress "{address}" is used by the instance "{user.instance_id}".')
    return address


def _taken(session: Session, vswitch: VSwitch) -> set[str]:
    """The addresses of the VSwitch that interfaces have, as their primary ones or further ones."""
    primary = select(NetworkInterface.ip)
    secondary = select(SecondaryAddress.ip).join(NetworkInterface, NetworkInterface.id == SecondaryAddress.interface_id)
    here = NetworkInterface.vswitch_id == vswitch.id
    return {*session.scalars(primary.where(here)), *session.scalars(secondary.where(here))}


def _unused_mac(session: Session, wanted: str) -> str:
    mac = wanted or ids.new_mac()
    while session.scalar(select(NetworkInterface.id).where(NetworkInterface.mac == mac)) is not None:
        mac = ids.new_mac()
    return mac


def _unused_tap(session: Session, prefix: str) -> str:
    while True:
        tap = prefix + ids.random_word(TAP_LENGTH - len(prefix))
        if session.scalar(select(NetworkInterface.id).where(NetworkInterface.tap == tap)) is None:
            return tap


def _check_texts(name: str, description: str) -> None:
    if name:
        validate.name("VSwitchName", name, code="InvalidVSwitchName.Malformed")
    validate.description("Description", description, code="InvalidVSwitchDescription.Malformed")
