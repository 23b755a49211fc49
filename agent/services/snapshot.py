"""Snapshots as callers see them (SPEC S1-S4): what may be taken, found, changed and deleted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, select

from agent.core import ids, states, validate
from agent.core.errors import Conflict, IncorrectInstanceStatus, InvalidParameter, NotFound
from agent.jobs import snapshots
from agent.jobs.layers import tree
from agent.services import disk, quota, space, tag
from agent.services.context import Caller
from agent.services.matching import like
from agent.store.schema import Disk, ImageDisk, Instance, Snapshot

STATUSES = (snapshots.PROGRESSING, snapshots.ACCOMPLISHED, snapshots.FAILED)
USAGES = ("none", "image", "disk", "image_disk")
CREATING = disk.CREATING_SNAPSHOT
_NAME_CODE = "InvalidSnapshotName.Malformed"


@dataclass(frozen=True)
class SnapshotFilter:
    """What DescribeSnapshots may narrow by; None or empty: do not. Names may hold `*`."""

    ids: Sequence[str] = ()
    disk_id: str = ""
    instance_id: str = ""  # to which the disk is attached now
    name: str = ""
    kind: str | None = None  # user | auto
    status: str | None = None
    disk_kind: str | None = None  # system | data
    usage: str | None = None
    created_from: dt.datetime | None = None
    created_until: dt.datetime | None = None
    tags: Sequence[tag.TagFilter] = ()


def create_snapshot(
    caller: Caller, *, disk_id: str, name: str = "", description: str = "", tags: Sequence[tag.TagPair] = ()
) -> Snapshot:
    """A manual snapshot of a disk of the caller, taken by a job: at once, or after what is under way on the disk."""
    _check_texts(name, description)
    source = _source(caller, disk_id)
    running = snapshots.in_progress(caller.session, source.id, snapshots.MANUAL)
    if running is not None:
        raise Conflict(f'The snapshot "{running}" of the disk "{source.id}" is still being taken.', code=CREATING)
    space.check(caller, space.NEW_LAYER_BYTES, "take a snapshot")
    now = caller.services.clock.now()
    allowed = quota.limit(caller, "snapshots_per_disk")
    if not snapshots.make_room(caller.session, source.id, allowed, now):
        quota.check(caller, "snapshots_per_disk", snapshots.counted(caller.session, source.id), of=source.id)
    snapshot = snapshots.begin(
        caller.session, source, now, name=name, description=description, request_id=caller.request_id
    )
    tag.set_tags(caller, "snapshot", snapshot.id, tags)
    return snapshot


def _source(caller: Caller, disk_id: str) -> Disk:
    """The caller's disk, in a state in which a snapshot of it may be asked for (SPEC S1)."""
    found = disk.get(caller, disk_id)
    disk.check_status(found, "Available", "In_use")
    if found.instance is not None:
        _check_instance(found.instance)
    return found


def _check_instance(instance: Instance) -> None:
    allowed = states.ALLOWED["create_snapshot"]
    if instance.releasing:
        raise IncorrectInstanceStatus(instance.id, "Releasing", allowed)
    if instance.status not in allowed:
        raise IncorrectInstanceStatus(instance.id, instance.status, allowed)


def get_snapshot(caller: Caller, snapshot_id: str) -> Snapshot:
    """A snapshot of the caller's. Raises NotFound."""
    snapshot = caller.session.get(Snapshot, snapshot_id)
    if snapshot is None or snapshot.account_id != caller.account_id:
        raise NotFound("InvalidSnapshotId.NotFound", "SnapshotId", snapshot_id)
    return snapshot


def delete_snapshot(caller: Caller, snapshot_id: str, *, force: bool = False) -> None:
    """Delete one that is not being taken and that no image has. `force`: also when disks were made of it, which then
    can no longer be re-initialised; their content is theirs."""
    snapshot = get_snapshot(caller, snapshot_id)
    if snapshot.status == snapshots.PROGRESSING:
        raise Conflict(f'The snapshot "{snapshot.id}" is still being taken: delete it when it is done.', code=CREATING)
    if images := _images_with(caller, snapshot):
        raise Conflict(
            f'The snapshot "{snapshot.id}" is part of the images {", ".join(images)}: delete these first.',
            code="SnapshotCreatedImage",
        )
    if not force and (disks := _disks_made(caller, snapshot)):
        raise Conflict(
            f'The snapshot "{snapshot.id}" has been used to create the disks {", ".join(disks)}, which can be '
            "re-initialised to it; with Force it is deleted nevertheless.",
            code="SnapshotCreatedDisk",
        )
    tree.forget_snapshot(caller.session, snapshot, caller.services.clock.now())


def _disks_made(caller: Caller, snapshot: Snapshot) -> Sequence[str]:
    made = select(Disk.id).where(Disk.source_snapshot_id == snapshot.id, Disk.image_id.is_(None))
    return caller.session.scalars(made.order_by(Disk.id)).all()


def _images_with(caller: Caller, snapshot: Snapshot) -> Sequence[str]:
    with_it = select(ImageDisk.image_id).where(ImageDisk.snapshot_id == snapshot.id)
    return caller.session.scalars(with_it.order_by(ImageDisk.image_id)).all()


def modify_snapshot(caller: Caller, snapshot_id: str, *, name: str | None, description: str | None) -> None:
    """Give it another name or description; None: leave it as it is."""
    snapshot = get_snapshot(caller, snapshot_id)
    _check_texts(name or "", description or "", automatic=snapshot.kind == snapshots.AUTOMATIC)
    snapshot.name = snapshot.name if name is None else name
    snapshot.description = snapshot.description if description is None else description


def _check_texts(name: str, description: str, *, automatic: bool = False) -> None:
    if name:
        validate.name("SnapshotName", name, code=_NAME_CODE)
    if name.startswith("auto") and not automatic:
        raise InvalidParameter("SnapshotName", name, "names of automatic snapshots begin with auto.", code=_NAME_CODE)
    validate.description("Description", description)


def find_snapshots(caller: Caller, wanted: SnapshotFilter) -> Select[Snapshot]:
    """The caller's snapshots, newest first."""
    found = select(Snapshot).where(Snapshot.account_id == caller.account_id)
    if wanted.ids:
        found = found.where(Snapshot.id.in_(wanted.ids))
    for column, value in (
        (Snapshot.disk_id, wanted.disk_id),
        (Snapshot.kind, wanted.kind),
        (Snapshot.status, wanted.status),
        (Snapshot.disk_kind, wanted.disk_kind),
    ):
        if value:
            found = found.where(column == value)
    if wanted.instance_id:
        found = found.where(Snapshot.disk_id.in_(_disks_of(caller, wanted.instance_id)))
    if wanted.name:
        found = found.where(like(Snapshot.name, wanted.name))
    if wanted.usage is not None:
        disk, image = snapshots.made_disk(), snapshots.in_image()
        used = {"none": ~disk & ~image, "disk": disk & ~image, "image": ~disk & image, "image_disk": disk & image}
        found = found.where(used[wanted.usage])
    if wanted.created_from is not None:
        found = found.where(Snapshot.created_at >= wanted.created_from)
    if wanted.created_until is not None:
        found = found.where(Snapshot.created_at <= wanted.created_until)
    found = tag.filter_by_tags(found, "snapshot", Snapshot.id, wanted.tags)
    return found.order_by(Snapshot.created_at.desc(), Snapshot.id)


def _disks_of(caller: Caller, instance_id: str) -> Select[str]:
    return select(Disk.id).where(Disk.account_id == caller.account_id, Disk.instance_id == instance_id)


def usages(caller: Caller, snapshot_ids: Sequence[str]) -> dict[str, str]:
    """By snapshot, which of USAGES it has."""
    asked = select(Snapshot.id, snapshots.made_disk(), snapshots.in_image()).where(Snapshot.id.in_(snapshot_ids))
    words = {(False, False): "none", (True, False): "disk", (False, True): "image", (True, True): "image_disk"}
    return {found: words[bool(disk), bool(image)] for found, disk, image in caller.session.execute(asked)}


# ------------------------------------------------------------------------------ chains of snapshots


def link_id(disk_id: str) -> str:
    """The id of the chain of snapshots of a disk."""
    return f"sl-{ids.body(disk_id)}"


def disk_of_link(link: str) -> str:
    """The id of the disk of a chain of snapshots."""
    return link.replace("sl-", "d-", 1)


def find_linked_disks(
    caller: Caller, *, disk_ids: Sequence[str] = (), link_ids: Sequence[str] = (), instance_id: str = ""
) -> Select[str]:
    """The ids of disks, be they gone, of which there are snapshots; that with the newest first."""
    found = select(Snapshot.disk_id).where(Snapshot.account_id == caller.account_id)
    if disk_ids:
        found = found.where(Snapshot.disk_id.in_(disk_ids))
    if link_ids:
        found = found.where(Snapshot.disk_id.in_([disk_of_link(link) for link in link_ids]))
    if instance_id:
        found = found.where(Snapshot.disk_id.in_(_disks_of(caller, instance_id)))
    newest = func.max(Snapshot.created_at).desc()
    return found.group_by(Snapshot.disk_id).order_by(newest, Snapshot.disk_id)
