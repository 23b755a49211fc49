"""Start, stop, reboot and release (SPEC I2, I4), one or many at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.core import states
from agent.core.errors import ApiError, Conflict
from agent.jobs import journal
from agent.services import capacity
from agent.services import instance as instances
from agent.services.context import Caller
from agent.store.schema import Instance

SOFT_STOP_SECONDS = 60  # before a guest that does not obey the power button is switched off


@dataclass(frozen=True)
class Outcome:
    """What became of one instance of a batch."""

    instance_id: str
    before: str
    after: str
    code: str = "200"
    message: str = "success"


def start(caller: Caller, instance_id: str) -> Instance:
    """Raises IncorrectInstanceStatus, or NoStock when the host's memory is used up."""
    instance = instances.get_for(caller, instance_id, "start")
    capacity.check_room(caller, instance.vcpus, instance.memory_mib)
    instance.power = "on"
    return _enqueue(caller, instance, "instance.start", states.STARTING)


def stop(caller: Caller, instance_id: str, *, force: bool) -> Instance:
    """Soft: the power button, then after a grace time the plug. Force: the plug."""
    instance = instances.get_for(caller, instance_id, "stop")
    instance.power = "off"
    return _enqueue(caller, instance, "instance.stop", states.STOPPING, _stop_data(force))


def reboot(caller: Caller, instance_id: str, *, force: bool) -> Instance:
    """A console restart: the guest is shut down and a new QEMU process started."""
    instance = instances.get_for(caller, instance_id, "reboot")
    return _enqueue(caller, instance, "instance.reboot", states.STOPPING, _stop_data(force))


def release(caller: Caller, instance_id: str, *, force: bool) -> Instance:
    """Release at once (SPEC I4); invisible from now on, its name and address free when the job has ended."""
    instance = instances.get_for(caller, instance_id, "release_by_force" if force else "release")
    if instance.deletion_protection:
        raise Conflict(
            f'The instance "{instance_id}" is protected from deletion; switch DeletionProtection off first.',
            code="InvalidOperation.DeletionProtection",
        )
    if instance.charge_type != "PostPaid":
        raise Conflict(
            f'The instance "{instance_id}" is {instance.charge_type}: only pay-as-you-go instances can be released.',
            code="ChargeTypeViolation",
        )
    instance.releasing, instance.power = True, "off"
    return _enqueue(caller, instance, "instance.release", states.STOPPING)


def batch(
    caller: Caller,
    instance_ids: list[str],
    operation: Callable[[Caller, str], Instance],
    *,
    success_first: bool = False,
) -> list[Outcome]:
    """`operation` on each instance: all or, with `success_first`, those it is possible for."""
    outcomes = []
    for instance_id in dict.fromkeys(instance_ids):
        before = instances.get(caller, instance_id).status
        try:
            after = operation(caller, instance_id).status
        except ApiError as error:
            if not success_first:
                raise
            outcomes.append(Outcome(instance_id, before, before, error.code, error.message))
        else:
            outcomes.append(Outcome(instance_id, before, after))
    return outcomes


def _stop_data(force: bool) -> dict[str, Any]:
    return {"force": force, "grace_seconds": SOFT_STOP_SECONDS}


def _enqueue(
    caller: Caller, instance: Instance, kind: str, status: str, data: dict[str, Any] | None = None
) -> Instance:
    instance.status, instance.status_reason = status, ""
    journal.enqueue(
        caller.session,
        kind,
        instance.id,
        caller.services.clock.now(),
        account_id=instance.account_id,
        request_id=caller.request_id,
        data=data,
    )
    return instance
