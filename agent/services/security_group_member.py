"""Security groups of instances that are there (SPEC I10): joining, leaving, changing them all."""

from __future__ import annotations

from collections.abc import Sequence

from agent.core.errors import Conflict, InvalidParameter, MissingParameter, NotFound
from agent.services import instance as instances
from agent.services import quota
from agent.services import security_group as groups
from agent.services.context import Caller
from agent.store.schema import GroupMembership, Instance, Job, NetworkInterface


def join(caller: Caller, group_id: str, *, instance_id: str = "", interface_id: str = "") -> Job:
    """Put an instance, named by its id or that of an interface of it, into one more group. The job makes it effective.

    Raises Conflict when it is in there by now, QuotaExceeded, GroupNotInVpc.
    """
    instance = named(caller, instance_id, interface_id)
    group = groups.get_security_group(caller, group_id)
    present = of_instance(instance)
    if group.id in present:
        raise Conflict(
            f'The instance "{instance.id}" is in the security group "{group_id}" already.',
            code="InvalidInstanceId.AlreadyExists",
        )
    quota.check(caller, "security_groups_per_instance", len(present), of=instance.id)
    return _set(caller, instance, [*present, group.id])


def leave(caller: Caller, group_id: str, *, instance_id: str = "", interface_id: str = "") -> Job:
    """Take an instance out of a group. Raises Conflict when it is not in there, or in no other."""
    instance = named(caller, instance_id, interface_id)
    group = groups.get_security_group(caller, group_id)
    present = of_instance(instance)
    if group.id not in present:
        raise Conflict(
            f'The instance "{instance.id}" is not in the security group "{group_id}".',
            code="InstanceNotInSecurityGroup",
        )
    if len(present) == 1:
        raise Conflict(
            f'The security group "{group_id}" is the only one of the instance "{instance.id}": it must be in one.',
            code="InstanceLastSecurityGroup",
        )
    return _set(caller, instance, [one for one in present if one != group.id])


def replace(caller: Caller, instance: Instance, group_ids: Sequence[str]) -> Job | None:
    """The instance's groups are these, one to five; None: they are already."""
    wanted = list(dict.fromkeys(group_ids))
    return None if wanted == of_instance(instance) else _set(caller, instance, wanted)


def of_instance(instance: Instance) -> list[str]:
    """The ids of its groups, in their order."""
    return [membership.group_id for membership in instance.interfaces[0].memberships]


def _set(caller: Caller, instance: Instance, group_ids: Sequence[str]) -> Job:
    vpc_id, present = instance.interfaces[0].vpc_id, of_instance(instance)
    wanted = groups.check_groups(caller, vpc_id, group_ids, already=present)
    for interface in instance.interfaces:
        rows = {row.group_id: row for row in interface.memberships}
        interface.memberships = [rows.get(group.id) or GroupMembership(group_id=group.id) for group in wanted]
        for position, row in enumerate(interface.memberships):
            row.position = position
    caller.session.flush()
    return groups.sync(caller, wanted[0])


def named(caller: Caller, instance_id: str, interface_id: str) -> Instance:
    """The caller's instance of this id, or with this interface; raises MissingParameter, NotFound."""
    if not interface_id:
        if not instance_id:
            raise MissingParameter("InstanceId")
        return instances.get(caller, instance_id)
    if instance_id:
        raise InvalidParameter("NetworkInterfaceId", interface_id, "give InstanceId or NetworkInterfaceId, not both.")
    interface = caller.session.get(NetworkInterface, interface_id)
    if interface is None or interface.account_id != caller.account_id or interface.instance_id is None:
        raise NotFound("InvalidNetworkInterfaceId.NotFound", "NetworkInterfaceId", interface_id)
    return instances.get(caller, interface.instance_id)
