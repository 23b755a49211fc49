"""Changing an instance's attributes (SPEC I6, I7)."""

from __future__ import annotations

from dataclasses import dataclass

from agent.core import validate
from agent.services import instance as instances
from agent.services import login
from agent.services.context import Caller
from agent.store.schema import Instance


@dataclass(frozen=True)
class Changes:
    """What ModifyInstanceAttribute asks for; None: stays as it is."""

    name: str | None = None
    description: str | None = None
    host_name: str | None = None
    password: str | None = None
    user_data: bytes | None = None
    deletion_protection: bool | None = None


def modify(caller: Caller, instance_id: str, changes: Changes) -> None:
    """All or nothing. Password and host name reach the guest at its next console start; new user data, which needs
    a stopped instance, is only run by a guest that has not run any before."""
    instance = instances.get(caller, instance_id)
    if changes.name is not None:
        instance.name = validate.name("InstanceName", changes.name, code="InvalidInstanceName.Malformed")
    if changes.description is not None:
        instance.description = validate.description("Description", changes.description)
    if changes.deletion_protection is not None:
        instance.deletion_protection = changes.deletion_protection
    if changes.host_name is not None:
        instances.check_state(instance, "set_host_name")
        instance.host_name = validate.host_name("HostName", changes.host_name)
    if changes.password is not None:
        instances.check_state(instance, "reset_password")
        login.set_password(caller, instance, changes.password)
    if changes.user_data is not None:
        _set_user_data(instance, changes.user_data)


def _set_user_data(instance: Instance, user_data: bytes) -> None:
    instances.check_user_data(user_data)
    if user_data != instance.user_data:
        instances.check_state(instance, "set_user_data")
        instance.user_data = user_data
