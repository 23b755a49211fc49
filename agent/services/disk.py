"""Disks: finding them (SPEC D12), and what every operation on one asks first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select

from agent.config import Config, ConfigError
from agent.core import disk_categories
from agent.core.errors import Conflict, NotFound
from agent.jobs import journal, snapshots
from agent.services import tag
from agent.services.context import Caller
from agent.services.matching import like
from agent.store.schema import Disk, Job

CREATING_SNAPSHOT = "IncorrectDiskStatus.CreatingSnapshot"  # public code: a snapshot is being taken


@dataclass(frozen=True)
class DiskFilter:
    """What DescribeDisks may narrow by; None: do not."""

    ids: Sequence[str] = ()
    instance_id: str | None = None
    name: str | None = None
    kind: str | None = None  # system | data
    category: str | None = None
    status: str | None = None
    zone_id: str | None = None
    snapshot_id: str | None = None  # that the disk was made of
    policy_id: str | None = None  # automatic snapshot policy
    has_policy: bool | None = None
    portable: bool | None = None
    delete_with_instance: bool | None = None
    delete_auto_snapshot: bool | None = None
    enable_auto_snapshot: bool | None = None
    tags: Sequence[tag.TagFilter] = ()


def find_disks(caller: Caller, wanted: DiskFilter) -> Select[Disk]:
    """The caller's disks, newest first."""
    found = select(Disk).where(Disk.account_id == caller.account_id)
    if wanted.ids:
        found = found.where(Disk.id.in_(wanted.ids))
    for column, value in (
        (Disk.instance_id, wanted.instance_id),
        (Disk.kind, wanted.kind),
        (Disk.category, wanted.category),
        (Disk.status, wanted.status),
        (Disk.zone_id, wanted.zone_id),
        (Disk.auto_snapshot_policy_id, wanted.policy_id),
    ):
        if value:
            found = found.where(column == value)
    for flag, yes in (
        (Disk.delete_with_instance.is_(True), wanted.delete_with_instance),
        (Disk.delete_auto_snapshot.is_(True), wanted.delete_auto_snapshot),
        (Disk.enable_auto_snapshot.is_(True), wanted.enable_auto_snapshot),
        (Disk.auto_snapshot_policy_id.is_not(None), wanted.has_policy),
        ((Disk.kind == "data") & Disk.category.not_like("ephemeral%"), wanted.portable),
    ):
        if yes is not None:
            found = found.where(flag if yes else ~flag)
    if wanted.snapshot_id:
        found = found.where(Disk.source_snapshot_id == wanted.snapshot_id, Disk.image_id.is_(None))
    if wanted.name:
        found = found.where(like(Disk.name, wanted.name))
    found = tag.filter_by_tags(found, "disk", Disk.id, wanted.tags)
    return found.order_by(Disk.created_at.desc(), Disk.id)


def is_portable(disk: Disk) -> bool:
    """Whether the disk can be detached and attached elsewhere (SPEC D3)."""
    return disk.kind == "data" and disk_categories.is_cloud(disk.category)


def get(caller: Caller, disk_id: str) -> Disk:
    """The caller's disk; raises NotFound for anything else."""
    found = caller.session.get(Disk, disk_id)
    if found is None or found.account_id != caller.account_id:
        raise NotFound("InvalidDiskId.NotFound", "DiskId", disk_id)
    return found


def get_for_work(caller: Caller, disk_id: str, *allowed: str) -> Disk:
    """As get, for something that excludes everything else on the disk; raises Conflict (IncorrectDiskStatus…) when its
    state is none of `allowed`, or something is going on."""
    disk = get(caller, disk_id)
    check_status(disk, *allowed)
    check_idle(caller, disk)
    return disk


def check_status(disk: Disk, *allowed: str) -> None:
    """Raises Conflict when the disk's state is none of `allowed`."""
    if disk.status not in allowed:
        raise Conflict(
            f'The current status "{disk.status}" of the disk "{disk.id}" does not support this operation: '
            f"it must be {' or '.join(allowed)}.",
            code="IncorrectDiskStatus",
        )


def check_idle(caller: Caller, disk: Disk) -> None:
    """Raises Conflict while a job works on the disk or a snapshot of it is being taken."""
    if journal.works_on(caller.session, disk.id):
        raise Conflict(
            f'Another operation on the disk "{disk.id}" is in progress: try again when it has ended.',
            code="IncorrectDiskStatus",
        )
    kinds = (snapshots.MANUAL, snapshots.AUTOMATIC)
    if snapshot_id := next(
        filter(None, (snapshots.in_progress(caller.session, disk.id, kind) for kind in kinds)), None
    ):
        raise Conflict(
            f'The snapshot "{snapshot_id}" of the disk "{disk.id}" is being taken: try again when it is accomplished.',
            code=CREATING_SNAPSHOT,
        )


def enqueue(caller: Caller, kind: str, disk: Disk, data: dict[str, object] | None = None) -> Job:
    """A job of `kind` on the disk. Jobs of one instance, disks included, never overlap."""
    return journal.enqueue(
        caller.session,
        kind,
        disk.id,
        caller.services.clock.now(),
        lock=disk.instance_id or disk.id,
        account_id=disk.account_id,
        request_id=caller.request_id,
        data=data,
    )


def check_limits(config: Config) -> None:
    """Raises ConfigError for `disk_limits` that mean nothing; at the agent's start."""
    known = (*disk_categories.SIZES_GIB, "cloud_essd")
    for category, settings in config.disk_limits.items():
        if category not in known or not isinstance(settings, dict):
            raise ConfigError(f"disk_limits.{category}: it must be a table of one of {', '.join(known)}")
        for name, value in settings.items():
            if name not in disk_categories.SETTINGS:
                allowed = ", ".join(disk_categories.SETTINGS)
                raise ConfigError(f"disk_limits.{category}.{name}: there is no such setting; known are {allowed}")
            if type(value) is not int or value < 0:
                raise ConfigError(f"disk_limits.{category}.{name} = {value!r} must be a whole number, 0 or more")
