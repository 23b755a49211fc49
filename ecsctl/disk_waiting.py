"""Waiting for operations on disks: the job that the call began says what goes on and what went wrong."""

from __future__ import annotations

import json

from ecsctl.client import Client, Json, unwrap
from ecsctl.errors import CliError
from ecsctl.progress import Progress
from ecsctl.waiting import AGENT_AWAY_SECONDS, SUCCEEDED, Jobs, describe_step, interruptible, pauses, raise_failed

AT_REST = ("Available", "In_use")


def describe_disk(client: Client, disk_id: str) -> Json | None:
    answer = client.regional("DescribeDisks", DiskIds=json.dumps([disk_id]))
    return next(iter(unwrap(answer, "Disks.Disk")), None)


def wait_disk(client: Client, disk_id: str, doing: str, answer: Json, timeout: float, *, attached: str = "") -> Json:
    """Wait until what `answer` began is done; the disk then. `attached`: it is to be this instance's, `-`: nobody's.

    Raises CliError with the job's message when it failed, TimedOut, Interrupted. What is done at once has no job; a
    caller who may not see jobs goes by the disk's state.
    """
    jobs, request_id = Jobs(client), str(answer.get("RequestId", ""))
    goes_on = f"{doing} of {disk_id} goes on"
    with Progress() as progress, interruptible(goes_on), client.patient(AGENT_AWAY_SECONDS):
        for _ in pauses(timeout, f"not done within {timeout:g} s: {goes_on}", progress):
            job = jobs.begun_by(request_id, disk_id)
            raise_failed(job, doing, disk_id)
            disk = describe_disk(client, disk_id)
            if disk is None:
                raise CliError(f"{doing} of {disk_id} failed: the disk is gone; `ecsctl job ls` may say why")
            if disk["Status"] in AT_REST and (job is None or job["Status"] == SUCCEEDED):
                return _checked(disk, doing, attached)
            progress.update(
                f"{doing} {disk.get('DiskName') or disk_id}: {describe_step(job) if job else disk['Status']}"
            )
    raise AssertionError("pauses() ends by raising")


def _checked(disk: Json, doing: str, attached: str) -> Json:
    there = disk.get("InstanceId") or "-"
    if attached and there != attached:
        raise CliError(f"{doing} of {disk['DiskId']} failed: it is {disk['Status']}; `ecsctl job ls` may say why")
    return disk
