"""The disks of running guests: those they should have, and those they have (see reconciler)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Set

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.core import states
from agent.core.ids import PREFIXES, body
from agent.jobs import journal
from agent.jobs.kinds.disk import ATTACH_AGAIN, EXPEL
from agent.store.schema import Disk, Instance, Job

PAUSE = dt.timedelta(minutes=10)  # until something that did not help is tried again


def compare(session: Session, instance: Instance, serials: Set[str], now: dt.datetime) -> list[str]:
    """Journal what brings the running guest of an idle instance to its disks; `serials` are those it has.

    A disk that it let go of too late, or that somebody took from it, is attached again. One of ours that is not its own
    (any more) it is asked to give back. Of others there is a line each in the answer: they are somebody's.
    """
    wanted = {body(disk.id): disk for disk in instance.disks if disk.status == states.IN_USE}
    for serial in sorted(wanted.keys() - serials):
        if not _tried(session, ATTACH_AGAIN, wanted[serial].id, now, "failed"):
            _enqueue(session, ATTACH_AGAIN, wanted[serial].id, instance, now)
    strange = []
    for serial in sorted(serials - {body(disk.id) for disk in instance.disks}):
        disk_id = PREFIXES["disk"] + serial
        if session.get(Disk, disk_id) is None:
            strange.append(f"the domain of {instance.id} has a disk {serial} that belongs to nothing")
        elif not _tried(session, EXPEL, disk_id, now, *journal.ENDED):
            _enqueue(session, EXPEL, disk_id, instance, now)
    return strange


def _tried(session: Session, kind: str, disk_id: str, now: dt.datetime, *ended: str) -> bool:
    """Whether such a job ended so a short while ago."""
    found = select(Job.sequence).where(
        Job.kind == kind, Job.resource_id == disk_id, Job.state.in_(ended), Job.created_at > now - PAUSE
    )
    return session.scalar(found.limit(1)) is not None


def _enqueue(session: Session, kind: str, disk_id: str, instance: Instance, now: dt.datetime) -> None:
    data = {"instance_id": instance.id}
    journal.enqueue(session, kind, disk_id, now, lock=instance.id, account_id=instance.account_id, data=data)
