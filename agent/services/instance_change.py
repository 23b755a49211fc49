"""Changing an instance's attributes and type (SPEC I6-I8)."""

from __future__ import annotations

from dataclasses import dataclass

from agent.core import validate
from agent.core.errors import Conflict, NoStock
from agent.services import instance as instances
from agent.services import instance_type, login, security_group_member
from agent.services.context import Caller
from agent.store.schema import Image, Instance, Job


@dataclass(frozen=True)
class Changes:
    """What ModifyInstanceAttribute asks for; None: stays as it is."""

    name: str | None = None
    description: str | None = None
    host_name: str | None = None
    password: str | None = None
    user_data: bytes | None = None
    deletion_protection: bool | None = None
    security_group_ids: tuple[str, ...] = ()  # all of them; empty: as they are


def modify(caller: Caller, instance_id: str, changes: Changes) -> Job | None:
    """All or nothing. Password and host name reach the guest at its next console start; new user data, which needs
    a stopped instance, is only run by a guest that has not run any before. The job, if there is one, makes other
    security groups effective."""
    instance = instances.get(caller, instance_id)
    if changes.name is not None:
        instance.name = validate.name("InstanceName", changes.name, code="InvalidInstanceName.Malformed")
    if changes.description is not None:
        instance.description = validate.description("Description", changes.description)
    if changes.deletion_protection is not None:
        instance.deletion_protection = changes.deletion_protection
    if changes.host_name is not None:
        instances.check_state(instance, "set_host_name")
        check = validate.windows_host_name if instance.os_type == instances.WINDOWS else validate.host_name
        instance.host_name = check("HostName", changes.host_name)
    if changes.password is not None:
        instances.check_state(instance, "reset_password")
        login.set_password(caller, instance, changes.password)
    if changes.user_data is not None:
        _set_user_data(instance, changes.user_data)
    if changes.security_group_ids:
        return security_group_member.replace(caller, instance, changes.security_group_ids)
    return None


def _set_user_data(instance: Instance, user_data: bytes) -> None:
    instances.check_user_data(user_data)
    if user_data != instance.user_data:
        instances.check_state(instance, "set_user_data")
        instance.user_data = user_data


def change_type(caller: Caller, instance_id: str, type_id: str, *, charge_type: str = "PostPaid") -> None:
    """Another type for a stopped instance, larger or smaller; its next start has it (SPEC I8).

    Whether the host has room for it now is asked at that start, as of every stopped instance; NoStock here means that
    even an empty host could not run it. `charge_type` is what the instance must be.
    """
    instance = instances.get(caller, instance_id)
    if instance.charge_type != charge_type:
        raise Conflict(
            f'The instance "{instance_id}" is {instance.charge_type}: this operation is for {charge_type} ones.',
            code="ChargeTypeViolation",
        )
    instances.check_state(instance, "set_type")
    wanted = instance_type.get_type(caller, type_id)
    image = caller.session.get(Image, instance.image_id)
    if image is not None:  # instances outlive their images
        instance_type.check_image(wanted, image)
    instance_type.check_gpu(wanted)
    if not instance_type.fits_host(caller, wanted):
        raise NoStock(
            f'The instance type "{type_id}" ({wanted.vcpus} vCPUs, {wanted.memory_mib} MiB) is too large for this host.'
        )
    instance.instance_type, instance.vcpus, instance.memory_mib = wanted.id, wanted.vcpus, wanted.memory_mib
