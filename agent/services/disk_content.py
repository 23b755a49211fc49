"""Giving a disk its first content again (SPEC D6), or that of one of its snapshots (D7). What it holds is lost."""

from __future__ import annotations

from collections.abc import Sequence

from agent.core import states
from agent.core.errors import Conflict, InvalidParameter, MissingParameter
from agent.jobs.kinds.disk_content import REINIT, ROLL_BACK
from agent.services import capacity, disk_plan, login
from agent.services import disk as disks
from agent.services import image as images
from agent.services import instance as instances
from agent.services.context import Caller
from agent.store.schema import Disk, Instance, Job, Snapshot

MAX_DISKS = 10  # of one ResetDisks


def reinit(caller: Caller, disk_id: str, *, password: str = "", key_pair_name: str = "", start: bool = False) -> Job:
    """Of a stopped instance: a system disk as its image, a data disk as its snapshot or empty. Snapshots, id and
    address stay. With `start` the instance is started when that was done."""
    disk = disks.get_for_work(caller, disk_id, states.IN_USE)
    assert disk.instance is not None
    instance = disk.instance
    instances.check_state(instance, "replace_disk")
    if disk.image_id:
        _check_image(caller, disk)
    if disk.kind == "system":
        login.for_new_system(caller, instance, password, key_pair_name)
    elif password or key_pair_name:
        name = "Password" if password else "KeyPairName"
        raise InvalidParameter(name, "***", f"the disk {disk.id} is a data disk; nobody logs in to it.")
    else:
        _check_source(caller, disk)
    if start:
        capacity.check_room(caller, instance.vcpus, instance.memory_mib)
    return _enqueue(caller, REINIT, disk, disk.source_snapshot_id, start)


def _check_image(caller: Caller, disk: Disk) -> None:
    """An image that was deleted or is no longer shared is not to be used again (SPEC M6, M11)."""
    if not images.can_use(caller, disk.image_id or ""):
        raise Conflict(
            f'The image "{disk.image_id}" that the disk "{disk.id}" was made of is gone, or no longer shared with '
            "you: it cannot be initialised again.",
            code="InvalidOperation.ImageNotFound",
        )


def _check_source(caller: Caller, disk: Disk) -> None:
    """Rather none than another content: a disk that was made of a snapshot does not silently become an empty one."""
    if disk.source_snapshot_id and caller.session.get(Snapshot, disk.source_snapshot_id) is None:
        raise Conflict(
            f'The snapshot "{disk.source_snapshot_id}" that the disk "{disk.id}" was made of is deleted: it cannot be '
            "initialised again. Make a file system on it, or create a new disk.",
            code="InvalidOperation.SourceSnapshotNotFound",
        )


def roll_back(caller: Caller, disk_id: str, snapshot_id: str, *, start: bool = False) -> Job:
    """To one of the disk's own snapshots; its instance is stopped, if it has one."""
    disk = disks.get(caller, disk_id)
    snapshot = disk_plan.usable_snapshot(caller, snapshot_id)
    if snapshot.disk_id != disk.id:
        raise Conflict(
            f'The snapshot "{snapshot_id}" is of the disk "{snapshot.disk_id}": the disk "{disk_id}" can only be '
            "rolled back to its own ones.",
            code="InvalidParameter.InvalidDiskIdAndSnapshotId",
        )
    disks.check_status(disk, states.AVAILABLE, states.IN_USE)
    disks.check_idle(caller, disk)
    if disk.instance is not None:
        instances.check_state(disk.instance, "replace_disk")
    if start:
        _check_start(caller, disk.instance)
    return _enqueue(caller, ROLL_BACK, disk, snapshot_id, start)


def roll_back_all(caller: Caller, wanted: Sequence[tuple[str, str]]) -> list[Job]:
    """Pairs of disk and snapshot: all or none."""
    if not wanted:
        raise MissingParameter("Disk.1.DiskId")
    if len(wanted) > MAX_DISKS:
        raise InvalidParameter("Disk", len(wanted), f"at most {MAX_DISKS} disks in one call.")
    return [roll_back(caller, disk_id, snapshot_id) for disk_id, snapshot_id in wanted]


def _check_start(caller: Caller, instance: Instance | None) -> None:
    if instance is None:
        raise InvalidParameter("AutoStartInstance", "true", "the disk is not attached to an instance.")
    capacity.check_room(caller, instance.vcpus, instance.memory_mib)


def _enqueue(caller: Caller, kind: str, disk: Disk, snapshot_id: str | None, start: bool) -> Job:
    disk.status = states.REINITIALISING
    return disks.enqueue(caller, kind, disk, {"snapshot_id": snapshot_id, "start": start})
