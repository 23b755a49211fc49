"""Tasks (SPEC M12): what the public API calls those jobs that take long and can be cancelled."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Select, select

from agent.core.errors import Conflict, NotFound
from agent.jobs import journal
from agent.jobs.model import KINDS
from agent.services.context import Caller
from agent.store.schema import Job

# By the state of the job.
STATUSES: Final = {
    "pending": "Waiting",
    "running": "Processing",
    "undoing": "Processing",
    "succeeded": "Finished",
    "failed": "Failed",
    "cancelled": "Deleted",
}


@dataclass(frozen=True)
class TaskFilter:
    """What DescribeTasks may narrow by; empty or None: do not. `action` is what the task does: ImportImage."""

    ids: Sequence[str] = ()
    resource_ids: Sequence[str] = ()
    action: str = ""
    status: str = ""
    begun_from: dt.datetime | None = None
    begun_until: dt.datetime | None = None


def find(caller: Caller, wanted: TaskFilter) -> Select[Job]:
    """The caller's tasks, newest first."""
    kinds = [kind.name for kind in KINDS.values() if kind.task and wanted.action in ("", kind.task)]
    found = select(Job).where(Job.account_id == caller.account_id, Job.kind.in_(kinds))
    if wanted.ids:
        found = found.where(Job.id.in_(wanted.ids))
    if wanted.resource_ids:
        found = found.where(Job.resource_id.in_(wanted.resource_ids))
    if wanted.status:
        found = found.where(Job.state.in_([state for state, name in STATUSES.items() if name == wanted.status]))
    if wanted.begun_from is not None:
        found = found.where(Job.created_at >= wanted.begun_from)
    if wanted.begun_until is not None:
        found = found.where(Job.created_at <= wanted.begun_until)
    return found.order_by(Job.sequence.desc())


def get(caller: Caller, task_id: str) -> Job:
    """A task of the caller's; raises NotFound."""
    job = caller.session.scalar(find(caller, TaskFilter(ids=[task_id])))
    if job is None:
        raise TaskNotFound(task_id)
    return job


class TaskNotFound(NotFound):
    status = 400  # as the public API has it, other than for all other nouns

    def __init__(self, task_id: str) -> None:
        super().__init__("InvalidTaskId.NotFound", "TaskId", task_id)


def action_of(job: Job) -> str:
    """ImportImage, ExportImage, …"""
    return KINDS[job.kind].task


def can_be_cancelled(job: Job) -> bool:
    """Whether CancelTask would take it as it is now."""
    return job.state in ("pending", "running") and job.step <= KINDS[job.kind].cancellable_until


def cancel(caller: Caller, task_id: str) -> None:
    """Ask for its end; it leaves nothing. Repeatable until it has ended. Raises NotFound or Conflict."""
    job = get(caller, task_id)
    if KINDS[job.kind].cancellable_until < 0:
        why = f'The task "{task_id}", {action_of(job)}, cannot be cancelled.'
        raise Conflict(why, code="InvalidTaskId.TaskActionNotSupport")
    if job.state == "undoing" and job.cancelling:
        return
    if not journal.cancel(caller.session, job):
        state = STATUSES[job.state]
        raise Conflict(
            f'The task "{task_id}" is {state}{"" if job.finished_at else ", and nearly done"}: it cannot be cancelled '
            "any more.",
            code="InvalidTaskId.IncorrectTaskStatus",
        )
