"""Our own actions, for what the public API lacks: the host, its jobs, tunnels into guests, diagnosis."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from pydantic import Field

from agent.api.caller import caller, name_of
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import NumberedPages
from agent.api.edge.params import Params, RegionParams
from agent.api.edge.registry import HOST, action
from agent.core.clock import iso_seconds
from agent.services import console, serial
from agent.services import host as service
from agent.services import instance as instances
from agent.store.schema import Job


class DescribeJobsParams(RegionParams, NumberedPages):
    job_id: list[str] = []
    resource_id: list[str] = []
    status: str = ""


class TunnelParams(RegionParams):
    instance_id: str
    port: Annotated[int, Field(ge=1, le=65535)] = 22


class ConsoleParams(RegionParams):
    instance_id: str
    force: bool = False


class InstanceParams(RegionParams):
    instance_id: str


class StopHostParams(RegionParams):
    grace_seconds: Annotated[int, Field(ge=0, le=3600)] | None = None


@action("DescribeHost", version=HOST, params=Params, resource="host/*", access="read")
def describe_host(call: Call, p: Params) -> dict[str, Any]:
    return {"Host": service.describe(caller(call))}


@action("CheckHost", version=HOST, params=Params, resource="host/*", access="read", ram="host:CheckHost")
def check_host(call: Call, p: Params) -> dict[str, Any]:
    """State is ok, problem or unknown."""
    return {
        "Checks": {
            "Check": [
                {"Subject": found.subject, "State": found.state, "What": found.what, "Advice": found.advice}
                for found in service.check(caller(call))
            ]
        }
    }


@action("DescribeJobs", version=HOST, params=DescribeJobsParams, resource="job/{job_id}", access="read")
def describe_jobs(call: Call, p: DescribeJobsParams) -> dict[str, Any]:
    page = paging.page(call.session, service.find_jobs(caller(call), p.job_id, p.resource_id, p.status), p)
    return {"Jobs": {"Job": [_job(job) for job in page.items]}, **page.fields()}


@action("OpenTunnel", version=HOST, params=TunnelParams, resource="instance/{instance_id}", access="write")
def open_tunnel(call: Call, p: TunnelParams) -> dict[str, Any]:
    token = service.open_tunnel(caller(call), p.instance_id, p.port)
    return {"Path": f"/tunnel/{token}", "ExpiresInSeconds": service.TUNNEL_SECONDS}


@action("OpenConsole", version=HOST, params=ConsoleParams, resource="instance/{instance_id}", access="write")
def open_console(call: Call, p: ConsoleParams) -> dict[str, Any]:
    token = serial.open_console(caller(call), p.instance_id, name_of(call.identity), force=p.force)
    return {"Path": f"/tunnel/{token}", "ExpiresInSeconds": service.TUNNEL_SECONDS}


@action(
    "DescribeInstanceConsoleUrl", version=HOST, params=InstanceParams, resource="instance/{instance_id}", access="write"
)
def describe_instance_console_url(call: Call, p: InstanceParams) -> dict[str, Any]:
    """Access is `write`: whoever opens the page can type."""
    instance = instances.get(caller(call), p.instance_id)
    return {"ConsoleUrl": call.services.pages.url("serial", instance.id, call.identity, call.host)}


@action(
    "DescribeInstanceDiagnosis",
    version=HOST,
    params=InstanceParams,
    resource="instance/{instance_id}",
    access="read",
)
def describe_instance_diagnosis(call: Call, p: InstanceParams) -> dict[str, Any]:
    instance = instances.get(caller(call), p.instance_id)
    found = console.diagnose(caller(call), instance)
    events = sorted(found.events, key=lambda event: event.at)
    return {
        "Status": instance.status,
        "Reason": console.status_reason(caller(call), instance),
        "ConsoleTail": found.console.decode(errors="replace"),
        "NetworkEvents": {"NetworkEvent": [{"Time": _time(e.at), "What": e.what} for e in events]},
        "Jobs": {"Job": [_job(job) for job in found.jobs]},
        "Advice": found.advice,
    }


# Not an action of `ecs:*`: a policy for the account's instances says nothing of the host.
@action(
    "StopHostInstances",
    version=HOST,
    params=StopHostParams,
    resource="host/*",
    access="write",
    ram="host:StopHostInstances",
)
def stop_host_instances(call: Call, p: StopHostParams) -> dict[str, Any]:
    grace = call.services.config.shutdown_grace_seconds if p.grace_seconds is None else p.grace_seconds
    jobs = service.stop_all(caller(call), grace)
    call.after_commit(call.services.runner.wake)
    return {"JobIds": {"JobId": jobs}}


def _time(seconds: float) -> str:
    return iso_seconds(dt.datetime.fromtimestamp(seconds, dt.UTC))


def _job(job: Job) -> dict[str, Any]:
    return {
        "JobId": job.id,
        "Kind": job.kind,
        "ResourceId": job.resource_id,
        "Status": service.STATES[job.state],
        "Step": service.step_name(job),
        "StepNumber": min(job.step + 1, job.step_count),
        "StepCount": job.step_count,
        "Progress": job.progress or 100 * job.step // max(1, job.step_count),
        "Message": job.message,
        "CreationTime": iso_seconds(job.created_at),
        "FinishedTime": iso_seconds(job.finished_at) if job.finished_at else "",
        "RequestId": job.request_id,
    }
