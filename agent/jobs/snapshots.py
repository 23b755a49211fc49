"""Snapshots in the store: begun by people and by policies, using up a disk's quota, used by what is made of them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import Session

from agent.core.ids import new_id
from agent.jobs import journal
from agent.jobs.layers import tree
from agent.jobs.layers.take import TAKE
from agent.store.schema import AutoSnapshotPolicy, Disk, Image, ImageDisk, Snapshot

MANUAL, AUTOMATIC = "user", "auto"
PROGRESSING, ACCOMPLISHED, FAILED = "progressing", "accomplished", "failed"
FOREVER = -1  # as days of retention

# Columns of Image that say what is on a system disk; an instance has some of them, too.
_OF_INSTANCE = ("os_type", "os_name", "virtio", "setup")
UNKNOWN_SYSTEM: dict[str, Any] = {
    "os_type": "linux",
    "os_name": "Linux",
    "virtio": True,
    "setup": "seed",
    "platform": "Others Linux",
    "architecture": "x86_64",
    "default_user": "root",
}


def begin(
    session: Session,
    disk: Disk,
    now: dt.datetime,
    *,
    name: str,
    description: str = "",
    policy: AutoSnapshotPolicy | None = None,
    request_id: str = "",
) -> Snapshot:
    """A snapshot in progress, with the job that takes it; automatic if `policy` is given. The caller has made room.

    The job waits for what is under way on the disk, so the snapshot may stay at 0 % for a while.
    """
    days = policy.retention_days if policy else FOREVER
    snapshot = Snapshot(
        id=new_id("snapshot"),
        account_id=disk.account_id,
        disk_id=disk.id,
        layer_id=None,
        name=name,
        description=description,
        kind=AUTOMATIC if policy else MANUAL,
        policy_id=policy.id if policy else None,
        status=PROGRESSING,
        size_gib=disk.size_gib,
        disk_kind=disk.kind,
        category=disk.category,
        image_id=disk.image_id,
        system=_system(session, disk) if disk.kind == "system" else None,
        retention_days=days if policy else None,
        expires_at=None if days == FOREVER else now + dt.timedelta(days=days),
        created_at=now,
    )
    session.add(snapshot)
    session.flush()
    journal.enqueue(
        session,
        TAKE,
        snapshot.id,
        now,
        lock=disk.instance_id or disk.id,
        account_id=disk.account_id,
        request_id=request_id,
    )
    return snapshot


def _system(session: Session, disk: Disk) -> dict[str, Any]:
    """What is on a system disk. Its instance knows it better than its image, which may have been built anew."""
    known = dict(system_of(session, disk.image_id))
    if disk.instance is not None:
        known |= {name: getattr(disk.instance, name) for name in _OF_INSTANCE}
    return known


def system_of(session: Session, image_id: str | None) -> dict[str, Any]:
    """What is on the system disks of an image; of one that is gone, what most have."""
    image = session.get(Image, image_id) if image_id else None
    return UNKNOWN_SYSTEM if image is None else {name: getattr(image, name) for name in UNKNOWN_SYSTEM}


def in_progress(session: Session, disk_id: str, kind: str) -> str | None:
    """The id of a snapshot of that kind that is being taken of the disk."""
    found = select(Snapshot.id).where(
        Snapshot.disk_id == disk_id, Snapshot.kind == kind, Snapshot.status == PROGRESSING
    )
    return session.scalar(found.limit(1))


def counted(session: Session, disk_id: str) -> int:
    """How many snapshots of the disk the quota counts: a failed one holds nothing."""
    mine = (Snapshot.disk_id == disk_id) & (Snapshot.status != FAILED)
    return session.scalar(select(func.count()).select_from(Snapshot).where(mine)) or 0


def make_room(session: Session, disk_id: str, allowed: int, now: dt.datetime) -> bool:
    """Whether one more fits, after the oldest automatic one was deleted for it if need be (SPEC S4).

    Never more than one: a quota that was lowered is no reason to lose what there is.
    """
    if counted(session, disk_id) < allowed:
        return True
    free = select(Snapshot).where(
        Snapshot.disk_id == disk_id, Snapshot.kind == AUTOMATIC, Snapshot.status == ACCOMPLISHED, ~is_used()
    )
    oldest = session.scalar(free.order_by(Snapshot.created_at, Snapshot.id).limit(1))
    if oldest is None or allowed == 0:
        return False
    tree.forget_snapshot(session, oldest, now)
    return True


def is_used() -> ColumnElement[bool]:
    """Condition on Snapshot: something is made of it that needs it; it is then never deleted without being asked."""
    return made_disk() | in_image()


def made_disk() -> ColumnElement[bool]:
    """Condition on Snapshot: a disk that is still there was made of it, and is re-initialised to it. One of an image
    is so only as long as the image is there."""
    return exists().where(Disk.source_snapshot_id == Snapshot.id, Disk.image_id.is_(None))


def in_image() -> ColumnElement[bool]:
    """Condition on Snapshot: an image has it, and cannot do without."""
    return exists().where(ImageDisk.snapshot_id == Snapshot.id)


def expired(now: dt.datetime) -> ColumnElement[bool]:
    """Condition on Snapshot: automatic, and its days are over while nothing needs it; or it failed, and its disk is
    gone, so that no other attempt will take its place."""
    over = (Snapshot.expires_at <= now) & (Snapshot.status != PROGRESSING) & ~is_used()
    futile = (Snapshot.status == FAILED) & ~exists().where(Disk.id == Snapshot.disk_id)
    return (Snapshot.kind == AUTOMATIC) & (over | futile)
