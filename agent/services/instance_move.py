"""Moving a stopped instance to another VSwitch or VPC, or to another private address (SPEC N2)."""

from __future__ import annotations

from collections.abc import Sequence

from agent.core.errors import ApiError, Conflict, InvalidParameter
from agent.jobs import journal
from agent.services import instance as instances
from agent.services import public_address, route, security_group, vswitch
from agent.services.context import Caller
from agent.store.schema import GroupMembership, NetworkInterface, SecurityGroup, VSwitch


class VSwitchMismatch(ApiError):
    code, status = "InvalidVSwitchId.Mismatch", 400


def move(
    caller: Caller,
    instance_id: str,
    vswitch_id: str,
    *,
    vpc_id: str = "",
    private_ip: str = "",
    group_ids: Sequence[str] = (),
) -> None:
    """The instance has the new address from its next start on; MAC, public addresses and forwards stay with it.

    Another VPC needs `group_ids` of that VPC. Raises IncorrectInstanceStatus unless it is stopped, Conflict while it
    has secondary addresses or a route leads to it that its new VPC would not have.
    """
    instance = instances.get_for(caller, instance_id, "change_network")
    if public_address.in_classic(instance):
        raise Conflict(
            f'The instance "{instance_id}" is in the classic network, where it stays.',
            code="InvalidOperation.InstanceNetworkType",
        )
    interface, target = instance.interfaces[0], vswitch.get_vswitch(caller, vswitch_id)
    _check_target(interface, target, vpc_id, instance.zone_id)
    if interface.secondary:
        raise Conflict(
            f'The instance "{instance_id}" has secondary addresses ({interface.secondary[0].ip}): unassign them first.',
            code="InvalidOperation.MultipleIps",
        )
    before = interface.vpc_id
    groups = _new_groups(caller, interface, target, group_ids)
    if target.id != interface.vswitch_id or (private_ip and private_ip != interface.ip):
        interface.ip = vswitch.allocate_address(caller, target, private_ip or None)
    interface.vpc_id, interface.vswitch = target.vpc_id, target
    if groups:
        interface.memberships = [
            GroupMembership(group_id=group.id, position=position) for position, group in enumerate(groups)
        ]
    caller.session.flush()
    for changed in dict.fromkeys((before, target.vpc_id)):
        journal.enqueue_sync(caller.session, changed, caller.services.clock.now(), caller.request_id)


def _check_target(interface: NetworkInterface, target: VSwitch, vpc_id: str, zone_id: str) -> None:
    if target.vpc_id != (vpc_id or interface.vpc_id):
        raise VSwitchMismatch(
            f'The VSwitch "{target.id}" is in the VPC "{target.vpc_id}", not in "{vpc_id or interface.vpc_id}".'
        )
    if target.zone_id != zone_id:
        raise VSwitchMismatch(f'The VSwitch "{target.id}" is in the zone {target.zone_id}, the instance in {zone_id}.')


def _new_groups(
    caller: Caller, interface: NetworkInterface, target: VSwitch, group_ids: Sequence[str]
) -> list[SecurityGroup]:
    """Those of the instance in another VPC; empty: it stays in its own."""
    if target.vpc_id == interface.vpc_id:
        if group_ids:
            raise InvalidParameter("SecurityGroupId.1", group_ids[0], "groups change only together with the VPC.")
        return []
    if route.routes_by(caller, interface):
        raise Conflict(
            f'A route entry of the VPC "{interface.vpc_id}" leads to the instance "{interface.instance_id}": '
            "delete that first.",
            code="InvalidOperation.RouteEntryExists",
        )
    return security_group.check_groups(caller, target.vpc_id, group_ids)
