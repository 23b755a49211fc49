"""An instance's own public address and its bandwidth (SPEC N3, N6, I8), which change while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from agent.core.errors import Conflict, NotFound
from agent.services import instance as instances
from agent.services import internet_card, public_address
from agent.services.context import Caller
from agent.services.internet import Internet, resolved
from agent.services.public_address import PUBLIC, AlreadyPublic
from agent.store.schema import Instance, Job, PublicAddress


@dataclass(frozen=True)
class Changes:
    """None: stays as it is. Nothing out any more takes the public address away."""

    in_mbps: int | None = None
    out_mbps: int | None = None
    charge_type: str | None = None
    allocate: bool = False  # a public address, if it has none


def own_address(instance: Instance) -> PublicAddress | None:
    """The one that came with the instance."""
    return next((one for port in instance.interfaces for one in port.public if one.kind == PUBLIC), None)


def allocate(caller: Caller, instance_id: str, ip: str = "") -> tuple[PublicAddress, Job]:
    """A public address for an instance that has bandwidth but none yet, and the job that makes it work."""
    instance = _instance(caller, instance_id)
    if instance.internet_out_mbps == 0:
        raise Conflict(
            f'The instance "{instance_id}" has no public bandwidth: give it some by ModifyInstanceNetworkSpec, '
            "InternetMaxBandwidthOut, which can allocate the address, too.",
            code="InvalidOperation.NoPublicBandwidth",
        )
    return _give(caller, instance, ip)


def release(caller: Caller, ip: str, instance_id: str = "") -> Job:
    """Take the own public address of an instance away, by the job returned. Raises NotFound for any other one."""
    found, holder_id = find_own(caller, ip, instance_id)
    return _take_away(caller, _instance(caller, holder_id), found)


def find_own(caller: Caller, ip: str, instance_id: str = "") -> tuple[PublicAddress, str]:
    """The own public address of an instance (of this one, if it is given), and the instance's id. Raises NotFound."""
    mine = select(PublicAddress).where(PublicAddress.account_id == caller.account_id, PublicAddress.kind == PUBLIC)
    found = caller.session.scalar(mine.where(PublicAddress.ip == ip))
    interface = found.interface if found else None
    if found is None or interface is None or instance_id not in ("", interface.instance_id):
        raise NotFound("InvalidIpAddress.NotFound", "PublicIpAddress", ip)
    return found, interface.instance_id or ""


def modify(caller: Caller, instance_id: str, changes: Changes) -> Job | None:
    """Change bandwidth and how it is charged; the job makes it so, None where there is nothing to do."""
    instance = _instance(caller, instance_id)
    wanted = resolved(
        caller,
        Internet(
            in_mbps=instance.internet_in_mbps or None if changes.in_mbps is None else changes.in_mbps,
            out_mbps=instance.internet_out_mbps if changes.out_mbps is None else changes.out_mbps,
            charge_type=instance.internet_charge_type if changes.charge_type is None else changes.charge_type,
        ),
        charge_parameter="NetworkChargeType",
    )
    own = own_address(instance)
    if own is not None and wanted.out_mbps == 0 and public_address.in_classic(instance):
        return internet_card.unplug(caller, instance, forget_bandwidth=True)
    wanted.put(instance)
    if own is None or own.interface is None:
        return allocate(caller, instance_id)[1] if changes.allocate else None
    if wanted.out_mbps == 0:
        return _take_away(caller, instance, own)
    return public_address.apply(caller, own.interface, instance.id)


def _give(caller: Caller, instance: Instance, ip: str) -> tuple[PublicAddress, Job]:
    if public_address.in_classic(instance):
        own = own_address(instance)
        if own is not None:
            raise AlreadyPublic(f'The instance "{instance.id}" has a public address already: {own.ip}.')
        return internet_card.add(caller, instance, ip=ip), internet_card.plug(caller, instance)
    interface = instance.interfaces[0]
    for other in interface.public:
        if other.private_ip is None:
            what = "a public address" if other.kind == PUBLIC else f'the EIP "{other.id}"'
            raise AlreadyPublic(f'The instance "{instance.id}" has {what} already: {other.ip}.')
    return public_address.take(caller, interface, ip=ip), public_address.apply(caller, interface, instance.id)


def _take_away(caller: Caller, instance: Instance, own: PublicAddress) -> Job:
    if public_address.in_classic(instance):
        return internet_card.unplug(caller, instance)
    interface = instance.interfaces[0]
    public_address.give_back(caller, own)
    return public_address.apply(caller, interface, instance.id)


def _instance(caller: Caller, instance_id: str) -> Instance:
    instance = instances.get(caller, instance_id)
    instances.check_state(instance, "change_addresses")
    return instance
