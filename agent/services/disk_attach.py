"""Attaching disks to instances and detaching them (SPEC D2, D3), running or stopped."""

from __future__ import annotations

from agent.core import states
from agent.core.errors import Conflict
from agent.jobs.kinds.disk import ATTACH, DETACH, detach_row
from agent.services import disk as disks
from agent.services import disk_plan
from agent.services import instance as instances
from agent.services.context import Caller
from agent.store.schema import Disk, Instance, Job


def attach(
    caller: Caller, disk_id: str, instance_id: str, *, device: str = "", delete_with_instance: bool | None = None
) -> Job | None:
    """Attach an available data disk: at once to a stopped instance, by the job that is the answer to a running one."""
    disk = disks.get(caller, disk_id)
    if not disks.is_portable(disk):
        raise _not_portable(disk)
    disks.check_status(disk, states.AVAILABLE)
    disks.check_idle(caller, disk)
    instance = instance_for(caller, instance_id, disk.category, disk.size_gib)
    if disk.zone_id != instance.zone_id:
        raise Conflict(
            f'The disk "{disk.id}" is in zone {disk.zone_id}, the instance "{instance.id}" in {instance.zone_id}: only '
            "disks of the same zone can be attached.",
            code="ResourcesNotInSameZone",
        )
    disk.device = disk_plan.device("Device", device, [other.device for other in instance.disks])
    disk.instance_id = instance.id
    disk.attached_at, disk.detached_at = caller.services.clock.now(), None
    if delete_with_instance is not None:
        disk.delete_with_instance = delete_with_instance
    if instance.status == states.STOPPED:
        disk.status = states.IN_USE
        return None
    disk.status = states.ATTACHING
    return disks.enqueue(caller, ATTACH, disk)


def instance_for(caller: Caller, instance_id: str, category: str, size_gib: int) -> Instance:
    """An instance that can have one more data disk now; raises the public error that says why it cannot."""
    instance = instances.get_for(caller, instance_id, "attach_disk")
    if instance.status == states.RUNNING and not instance.virtio:
        raise _not_while_running(instance, "attached to")
    system = [disk.category for disk in instance.disks if disk.kind == "system"]
    there = [(disk.category, disk.size_gib) for disk in instance.disks if disk.kind == "data"]
    disk_plan.check_instance(caller, instance.id, system[0] if system else category, there, [(category, size_gib)])
    return instance


def detach(caller: Caller, disk_id: str, instance_id: str) -> Job | None:
    """Detach a data disk: at once from a stopped instance; a running guest is asked for it by the job that is the
    answer, and may refuse."""
    disk = disks.get(caller, disk_id)
    instance = instances.get(caller, instance_id)
    if not disks.is_portable(disk):
        raise _not_portable(disk)
    disks.check_status(disk, states.IN_USE)
    if disk.instance_id != instance.id:
        raise Conflict(
            f'The disk "{disk.id}" is attached to "{disk.instance_id}", not to "{instance.id}".',
            code="InvalidOperation.DiskNotAttached",
        )
    disks.check_idle(caller, disk)
    instances.check_state(instance, "detach_disk")
    if instance.status == states.STOPPED:
        detach_row(disk, caller.services.clock.now())
        return None
    if not instance.virtio:
        raise _not_while_running(instance, "detached from")
    disk.status = states.DETACHING
    return disks.enqueue(caller, DETACH, disk)


def _not_portable(disk: Disk) -> Conflict:
    what = "a system disk" if disk.kind == "system" else f"an ephemeral disk ({disk.category})"
    return Conflict(f'The disk "{disk.id}" is {what}: it stays with its instance.', code="DiskNotPortable")


def _not_while_running(instance: Instance, verb: str) -> Conflict:
    """SATA disks, which guests without virtio drivers have, cannot be plugged in while they run."""
    return Conflict(
        f'The guest of the instance "{instance.id}" has no virtio drivers: disks cannot be {verb} it while it is '
        f"{instance.status}; stop it first.",
        code="IncorrectInstanceStatus",
    )
