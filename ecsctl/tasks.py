"""Waiting for tasks: what takes long, tells how far it is, and can be cancelled."""

from __future__ import annotations

from ecsctl.client import Client, Json
from ecsctl.errors import CliError, Interrupted
from ecsctl.progress import Progress
from ecsctl.waiting import AGENT_AWAY_SECONDS, pauses

_UNFINISHED = ("Waiting", "Processing")


def wait_task(client: Client, task_id: str, doing: str, timeout: float) -> Json:
    """The task when it is finished. Raises CliError with the reason when it failed or was cancelled, TimedOut, and
    Interrupted: it goes on then."""
    goes_on = f"{doing} goes on as task {task_id}"
    try:
        with Progress() as progress, client.patient(AGENT_AWAY_SECONDS):
            for _ in pauses(timeout, f"not done within {timeout:g} s: {goes_on}", progress):
                task = client.regional("DescribeTaskAttribute", TaskId=task_id)
                if task["TaskStatus"] not in _UNFINISHED:
                    break
                percent = int(str(task.get("TaskProcess") or "0%").rstrip("%"))
                progress.share(doing, percent, message(task))
    except KeyboardInterrupt:
        how = f"`ecsctl task show {task_id}` shows it, `ecsctl task cancel {task_id}` ends it"
        raise Interrupted(f"no longer waiting: {goes_on}; {how}") from None
    if task["TaskStatus"] != "Finished":
        what = "was cancelled" if task["TaskStatus"] == "Deleted" else "failed"
        raise CliError(f"{doing} {what}: {message(task) or 'no reason given'} (task {task_id})")
    return task


def message(task: Json) -> str:
    """What goes on, or went wrong."""
    return str((_operation(task) or {}).get("ErrorMsg") or "")


def related(task: Json) -> dict[str, str]:
    """What the task is about: ImageId, OSSBucket, OSSObject, …"""
    items = (_operation(task) or {}).get("RelatedItemSet", {}).get("RelatedItem", [])
    return {str(item["Name"]): str(item["Value"]) for item in items}


def _operation(task: Json) -> Json | None:
    found = task.get("OperationProgressSet", {}).get("OperationProgress", [])
    return found[0] if found else None
