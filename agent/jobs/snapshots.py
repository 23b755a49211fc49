"""Snapshots in the store: begun by people and by policies, using up a disk's quota, used by what is made of them."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import Session

from agent.core.ids import new_id
from agent.jobs import journal
from agent.jobs.layers import tree
from agent.jobs.layers.take import TAKE
from agent.store.schema import AutoSnapshotPolicy, Disk, Snapshot

MANUAL, AUTOMATIC = "user", "auto"
PROGRESSING, ACCOMPLISHED, FAILED = "progressing", "accomplished", "failed"
FOREVER = -1  # as days of retention


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
    return made_disk()


def made_disk() -> ColumnElement[bool]:
    """Condition on Snapshot: a disk that is still there was made of it, and is re-initialised to it."""
    return exists().where(Disk.source_snapshot_id == Snapshot.id)


def expired(now: dt.datetime) -> ColumnElement[bool]:
    """Condition on Snapshot: automatic, and its days are over while nothing needs it; or it failed, and its disk is
    gone, so that no other attempt will take its place."""
    over = (Snapshot.expires_at <= now) & (Snapshot.status != PROGRESSING) & ~is_used()
    futile = (Snapshot.status == FAILED) & ~exists().where(Disk.id == Snapshot.disk_id)
    return (Snapshot.kind == AUTOMATIC) & (over | futile)
