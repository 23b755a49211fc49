"""Waiting for operations: the states of instances decide, the agent's jobs say what goes on and what went wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ecsctl.client import OWN, Client, Json, unwrap
from ecsctl.errors import ApiError, CliError, Interrupted, TimedOut
from ecsctl.progress import Progress

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
AGENT_AWAY_SECONDS = 60.0  # an agent that restarts takes its jobs up again
_SETTLE_SECONDS = 3.0  # from the end of a job to the state it was to lead to
FAILED, CANCELLED, SUCCEEDED = "Failed", "Cancelled", "Succeeded"

Goal = Callable[[Json | None, Json | None], bool]


def state_goal(*states: str) -> Goal:
    return lambda instance, job: instance is not None and instance.get("Status") in states


def released(instance: Json | None, job: Json | None) -> bool:
    return instance is None


def rebooted(instance: Json | None, job: Json | None) -> bool:
    """Running again: by the job's word, as the state may have been Running all the time we looked."""
    return instance is not None and instance.get("Status") == "Running" and (job is None or job["Status"] == SUCCEEDED)


class Jobs:
    """The newest job of a resource, or the one that began with a request. A caller who may not see jobs sees none."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._allowed = True

    def newest(self, resource_id: str, request_id: str = "") -> Json | None:
        found = self._ask(ResourceId=[resource_id])
        ours = [job for job in found if request_id and job.get("RequestId") == request_id]
        return next(iter(ours or found), None)

    def begun_by(self, request_id: str, resource_id: str) -> Json | None:
        """The first job of a resource that began with a request."""
        ours = [job for job in self._ask(ResourceId=[resource_id]) if request_id and job.get("RequestId") == request_id]
        return ours[-1] if ours else None

    def by_id(self, job_id: str) -> Json | None:
        return next(iter(self._ask(JobId=[job_id])), None)

    def _ask(self, **filters: object) -> list[Json]:
        if not self._allowed:
            return []
        try:
            return unwrap(self._client.call("DescribeJobs", OWN, **filters), "Jobs.Job")
        except ApiError as error:
            if not error.forbidden:
                raise
            self._allowed = False
            return []


def describe_step(job: Json) -> str:
    """`step 3/7 boot guest 40 %: text`, as far as the job says."""
    parts = []
    if job.get("StepCount"):
        parts.append(f"step {job.get('StepNumber', 0)}/{job['StepCount']}")
    if job.get("Step"):
        parts.append(str(job["Step"]))
    if job.get("Progress") and job["Progress"] not in (0, 100):
        parts.append(f"{job['Progress']} %")
    if job.get("Message"):
        parts.append(str(job["Message"]))
    return ", ".join(parts)


def wait_instances(
    client: Client, ids: Sequence[str], goal: Goal, doing: str, *, request_id: str = "", timeout: float = 600
) -> list[Json]:
    """Wait until every instance meets the goal; its last description each (released ones are left out).

    Raises CliError with the job's message when one fails, TimedOut, Interrupted.
    """
    jobs = Jobs(client)
    open_ids, last, settled = list(ids), dict[str, Json](), dict[str, float]()
    whom = f"{doing} of {', '.join(ids)}"
    with Progress() as progress, interruptible(f"{whom} goes on"), client.patient(AGENT_AWAY_SECONDS):
        for _ in pauses(timeout, f"{whom} takes longer than {timeout:g} s", progress):
            seen = {item["InstanceId"]: item for item in describe_ids(client, open_ids)}
            last.update(seen)
            for one in list(open_ids):
                job = jobs.newest(one, request_id)
                raise_failed(job, doing, one)
                if goal(seen.get(one), job):
                    open_ids.remove(one)
                elif job is not None and job["Status"] == SUCCEEDED:
                    _check_settled(one, seen.get(one), doing, settled)
                elif one not in seen and job is None and not doing.startswith("release"):
                    raise CliError(f"{doing} of {one} failed: the instance is gone")
                else:
                    progress.update(_line(one, seen.get(one), job, doing, len(open_ids)))
            if not open_ids:
                return [last[one] for one in ids if one in last]
    raise AssertionError("pauses() ends by raising")


def wait_job(client: Client, job_id: str, doing: str, timeout: float) -> Json:
    """Wait until a job has succeeded; CliError with its message when it failed."""
    jobs = Jobs(client)
    goes_on = f"{doing} goes on as job {job_id}"
    with Progress() as progress, interruptible(goes_on), client.patient(AGENT_AWAY_SECONDS):
        for _ in pauses(timeout, f"not done within {timeout:g} s: {goes_on}", progress):
            job = jobs.by_id(job_id)
            raise_failed(job, doing, "")
            if job is not None and job["Status"] == SUCCEEDED:
                return job
            progress.update(f"{doing}: {describe_step(job) if job else 'waiting'}")
    raise AssertionError("pauses() ends by raising")


def describe_ids(client: Client, ids: Sequence[str]) -> list[Json]:
    """The instances that exist among up to 100 ids."""
    answer = client.regional("DescribeInstances", InstanceIds=json.dumps(list(ids)), PageSize=100)
    return unwrap(answer, "Instances.Instance")


def pauses(timeout: float, message: str, progress: Progress) -> Iterator[None]:
    """Turns of a polling loop: quick ones first; TimedOut with `message` in the end. The clock starts at the first."""
    began, pause = time.monotonic(), _FIRST_PAUSE
    while True:
        yield
        left = began + timeout - time.monotonic()
        if left <= 0:
            progress.clear()
            raise TimedOut(message)
        time.sleep(min(pause, left))
        pause = min(pause * 1.3, _LONGEST_PAUSE)


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Ctrl-C ends our waiting only; say so."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"no longer waiting: {message}; `ecsctl job ls` shows it") from None


def raise_failed(job: Json | None, doing: str, resource_id: str) -> None:
    if job is not None and job["Status"] in (FAILED, CANCELLED):
        of = f" of {resource_id}" if resource_id else ""
        tail = f" (job {job['JobId']}, RequestId {job.get('RequestId', '')})"
        raise CliError(f"{doing}{of} failed: {job.get('Message') or 'no reason given'}{tail}")


def _check_settled(one: str, instance: Json | None, doing: str, since: dict[str, float]) -> None:
    """A job may end a moment before its effect shows; when it stays away, say what is there instead."""
    first = since.setdefault(one, time.monotonic())
    if time.monotonic() - first > _SETTLE_SECONDS:
        state = instance.get("Status") if instance else "gone"
        raise CliError(f"{doing} of {one} is done but the instance is {state}: `ecsctl instance diagnose {one}`")


def _line(one: str, instance: Json | None, job: Json | None, doing: str, count: int) -> str:
    name = (instance or {}).get("InstanceName") or one
    step = describe_step(job) if job is not None else (instance or {}).get("Status", "")
    others = f" (and {count - 1} more)" if count > 1 else ""
    return f"{doing} {name}{others}: {step}"
