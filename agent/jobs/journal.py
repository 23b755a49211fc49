"""Writing to the journal, in the transaction that also writes the wanted state."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from agent.core.ids import new_id
from agent.jobs.model import KINDS
from agent.store.schema import Job, NetworkInterface

UNFINISHED = ("pending", "running", "undoing")
SYNC, FILTER = "vpc.sync", "vpc.filter"
ENDED = ("succeeded", "failed", "cancelled")


def enqueue(
    session: Session,
    kind: str,
    resource_id: str,
    now: dt.datetime,
    *,
    lock: str | None = None,
    account_id: str | None = None,
    request_id: str = "",
    data: dict[str, Any] | None = None,
) -> Job:
    """A new job of `kind` on `resource_id`; it runs once the transaction is committed and the runner woken.

    Jobs with the same `lock` (by default the resource) run one after the other, in this order.
    """
    job = Job(
        id=new_id("task"),
        account_id=account_id,
        kind=kind,
        lock=lock or resource_id,
        resource_id=resource_id,
        state="pending",
        step=0,
        step_count=len(KINDS[kind].steps),
        data=data or {},
        progress=0,
        message="",
        failures=0,
        request_id=request_id,
        created_at=now,
    )
    session.add(job)
    session.flush()
    return job


def enqueue_sync(session: Session, vpc_id: str, now: dt.datetime, request_id: str = "") -> Job:
    """The job that makes a VPC's router and filter as wanted; one that has not begun yet serves for all."""
    return _waiting(session, vpc_id, SYNC) or enqueue(session, SYNC, vpc_id, now, request_id=request_id)


def enqueue_filter(session: Session, vpc_id: str, now: dt.datetime, request_id: str = "") -> Job:
    """As `enqueue_sync`, where nothing but the filter is concerned. It does not wait for the router: that may be
    incomplete for long, as without the host's uplink, and what is forbidden from now on shall be so now."""
    lock = f"{FILTER} {vpc_id}"
    return _waiting(session, vpc_id, FILTER) or enqueue(session, FILTER, vpc_id, now, lock=lock, request_id=request_id)


def _waiting(session: Session, vpc_id: str, kind: str) -> Job | None:
    found = select(Job).where(Job.kind == kind, Job.resource_id == vpc_id, Job.state == "pending")
    return session.scalar(found.limit(1))


def enqueue_interface(session: Session, interface: NetworkInterface, now: dt.datetime, request_id: str = "") -> Job:
    """The job that makes addresses and bandwidth of an interface as wanted, whether its instance runs or not; one that
    has not begun yet serves for all."""
    waiting = session.scalar(
        select(Job)
        .where(Job.kind == "interface.sync", Job.resource_id == interface.id, Job.state == "pending")
        .limit(1)
    )
    lock = interface.instance_id or interface.id
    return waiting or enqueue(session, "interface.sync", interface.id, now, lock=lock, request_id=request_id)


def busy(session: Session, lock: str) -> bool:
    """Whether an unfinished job holds or waits for `lock`."""
    found = session.scalar(select(Job.sequence).where(Job.lock == lock, Job.state.in_(UNFINISHED)).limit(1))
    return found is not None


def works_on(session: Session, resource_id: str) -> bool:
    """Whether an unfinished job is about this resource, whatever its lock is."""
    found = select(Job.sequence).where(Job.resource_id == resource_id, Job.state.in_(UNFINISHED)).limit(1)
    return session.scalar(found) is not None


def cancel(session: Session, job: Job) -> bool:
    """Ask for an unfinished job to end, leaving nothing of what it was to make; whether that can still be done.

    It ends as `cancelled` unless it came past its point of no return before it noticed. Wake the runner afterwards.
    """
    kind = KINDS[job.kind]
    if job.state not in ("pending", "running") or job.step > kind.cancellable_until:
        return False
    job.cancelling = True
    return True


def give_up_waiting(session: Session, resource_id: str, why: str, now: dt.datetime) -> None:
    """End the jobs on a resource that wait without having begun: it is gone. Those on others that wait for the same
    lock, as on snapshots of its disks, find out themselves."""
    waiting = update(Job).where(Job.resource_id == resource_id, Job.state == "pending")
    session.execute(waiting.values(state="failed", message=why, finished_at=now))
