"""Changing disks: attributes and flags (SPEC D4), growing (D9), deleting (D5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.core import disk_categories, states, validate
from agent.core.errors import Conflict, InvalidParameter, MissingParameter
from agent.jobs.kinds.disk import RESIZE
from agent.jobs.layers import tree
from agent.services import disk as disks
from agent.services import disk_plan
from agent.services import instance as instances
from agent.services.context import Caller
from agent.store.schema import Disk, Job

MAX_DISKS = 100  # of one ModifyDiskAttribute


@dataclass(frozen=True)
class Changes:
    """None: stays as it is."""

    name: str | None = None
    description: str | None = None
    delete_with_instance: bool | None = None
    delete_auto_snapshot: bool | None = None
    enable_auto_snapshot: bool | None = None


def modify(caller: Caller, disk_ids: Sequence[str], changes: Changes) -> None:
    """The same for all of these disks, or for none."""
    if not disk_ids:
        raise MissingParameter("DiskId")
    if len(disk_ids) > MAX_DISKS:
        raise InvalidParameter("DiskIds", len(disk_ids), f"at most {MAX_DISKS} disks in one call.")
    if changes.name is not None:
        validate.name("DiskName", changes.name, code="InvalidDiskName.Malformed")
    if changes.description is not None:
        validate.description("Description", changes.description, code="InvalidDiskDescription.Malformed")
    for disk in [disks.get(caller, disk_id) for disk_id in dict.fromkeys(disk_ids)]:
        _change(disk, changes)


def _change(disk: Disk, changes: Changes) -> None:
    if changes.delete_with_instance is False and not disk_categories.is_cloud(disk.category):
        raise Conflict(
            f'The disk "{disk.id}" is ephemeral ({disk.category}): it always goes with its instance.',
            code="InvalidOperation.EphemeralDisk",
        )
    for name, value in vars(changes).items():
        if value is not None:
            setattr(disk, name, value)


def delete(caller: Caller, disk_id: str) -> None:
    """For good, with its automatic snapshots if its flag says so."""
    disk = disks.get_for_work(caller, disk_id, states.AVAILABLE)
    tree.forget_disk(caller.session, disk, caller.services.clock.now())


def resize(caller: Caller, disk_id: str, size_gib: int) -> Job:
    """Grow a disk; a running guest is told at once."""
    disk = disks.get_for_work(caller, disk_id, states.AVAILABLE, states.IN_USE)
    if disk.instance is not None:
        instances.check_state(disk.instance, "resize_disk")
    if size_gib <= disk.size_gib:
        raise InvalidParameter(
            "NewSize", size_gib, f"the disk has {disk.size_gib} GiB and can only grow.", code="InvalidDiskSize.TooSmall"
        )
    _check_size(caller, disk, size_gib)
    return disks.enqueue(caller, RESIZE, disk, {"size_gib": size_gib})


def _check_size(caller: Caller, disk: Disk, size_gib: int) -> None:
    _, most = disk_plan.sizes(caller, disk.category)
    if disk.kind == "system":
        most = disk_categories.SYSTEM_SIZES_GIB["linux"][1]
    if size_gib > most:
        raise InvalidParameter(
            "NewSize",
            size_gib,
            f"a {disk.kind} disk {disk.category} has at most {most} GiB.",
            code="InvalidDiskSize.NotSupported",
        )
    instance = disk.instance
    if instance is None or disk.kind == "system":
        return
    system = next((other.category for other in instance.disks if other.kind == "system"), disk.category)
    there = [(other.category, other.size_gib) for other in instance.disks if other.kind == "data" and other is not disk]
    disk_plan.check_instance(caller, instance.id, system, there, [(disk.category, size_gib)])
