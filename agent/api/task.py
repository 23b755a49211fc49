"""Task actions (SPEC M12)."""

from __future__ import annotations

from typing import Annotated, Any

from agent.api.caller import caller
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import NumberedPages
from agent.api.edge.params import CommaList, ErrorCode, RegionParams, WireTime, one_of
from agent.api.edge.registry import ECS, action
from agent.core.clock import iso_minutes
from agent.services import task as service
from agent.store.schema import Job

_STATUSES = sorted(set(service.STATUSES.values()))


class DescribeTasksParams(RegionParams, NumberedPages):
    """TaskGroupId is of groups of tasks, which nothing here makes."""

    start_time: WireTime | None = None
    end_time: WireTime | None = None
    resource_ids: list[str] = []
    task_action: str = ""
    task_group_id: str = ""
    task_ids: CommaList = []
    task_status: Annotated[
        str, one_of(*_STATUSES, "Paused", "Pending", ""), ErrorCode("InvalidTaskStatus.ValueNotSupported")
    ] = ""


class TaskParams(RegionParams):
    task_id: str


@action("DescribeTasks", version=ECS, params=DescribeTasksParams, resource="task/{task_ids}", access="read")
def describe_tasks(call: Call, p: DescribeTasksParams) -> dict[str, Any]:
    wanted = service.TaskFilter(
        ids=p.task_ids,
        resource_ids=p.resource_ids,
        action=p.task_action,
        status=p.task_status,
        begun_from=p.start_time,
        begun_until=p.end_time,
    )
    found = service.find(caller(call), wanted)
    if p.task_group_id:
        found = found.where(Job.id.is_(None))
    page = paging.page(call.session, found, p)
    return {"TaskSet": {"Task": [_shown(job) for job in page.items]}, "RegionId": call.region_id, **page.fields()}


def _shown(job: Job) -> dict[str, Any]:
    return {
        "TaskId": job.id,
        "TaskAction": service.action_of(job),
        "TaskStatus": service.STATUSES[job.state],
        "ResourceId": job.resource_id,
        "SupportCancel": "true" if service.can_be_cancelled(job) else "false",
        "CreationTime": iso_minutes(job.created_at),
        "FinishedTime": iso_minutes(job.finished_at) if job.finished_at else "",
    }


@action("DescribeTaskAttribute", version=ECS, params=TaskParams, resource="task/{task_id}", access="read")
def describe_task_attribute(call: Call, p: TaskParams) -> dict[str, Any]:
    job = service.get(caller(call), p.task_id)
    succeeded, failed = job.state == "succeeded", job.state in ("failed", "cancelled")
    return {
        **_shown(job),
        "RegionId": call.region_id,
        "TaskProcess": f"{100 if succeeded else min(99, job.progress)}%",
        "TotalCount": 1,
        "SuccessCount": int(succeeded),
        "FailedCount": int(failed),
        "OperationProgressSet": {"OperationProgress": [_operation(job, failed)]},
    }


def _operation(job: Job, failed: bool) -> dict[str, Any]:
    """ErrorMsg is what goes on, while it does."""
    status = {"Finished": "Success", "Failed": "Failed", "Deleted": "Failed"}.get(service.STATUSES[job.state])
    code = {"failed": "TaskFailed", "cancelled": "TaskCancelled"}.get(job.state, "")
    items = [{"Name": name, "Value": value} for name, value in _related(job)]
    return {
        "OperationStatus": status or service.STATUSES[job.state],
        "ErrorCode": code,
        "ErrorMsg": job.message,
        "RelatedItemSet": {"RelatedItem": items},
    }


def _related(job: Job) -> list[tuple[str, str]]:
    """What the task is about, as far as its kind says."""
    names = (("bucket", "OSSBucket"), ("object", "OSSObject"), ("format", "ImageFormat"))
    disks = job.data.get("disks") or [job.data]
    found = [(name, str(disk[key])) for disk in disks for key, name in names if disk.get(key)]
    return [("ImageId", job.resource_id), *found]


@action("CancelTask", version=ECS, params=TaskParams, resource="task/{task_id}", access="write")
def cancel_task(call: Call, p: TaskParams) -> dict[str, Any]:
    """It ends a moment later, as DescribeTasks tells."""
    service.cancel(caller(call), p.task_id)
    call.after_commit(call.services.runner.wake)
    return {}
