"""Own actions that look into disks before they become images (SPEC M8)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agent.api.caller import caller
from agent.api.edge.call import Call
from agent.api.edge.params import ErrorCode, RegionParams, one_of
from agent.api.edge.registry import HOST, action
from agent.services import host
from agent.services import image_check as service
from agent.services.image_import import Source

# Whether a new image is looked into as soon as it is there.
Strategy = Annotated[str, one_of("Standard", ""), ErrorCode("InvalidDetectionStrategy.ValueNotSupported")]


class CheckImageParams(RegionParams):
    """One of `source`, a handle of the file door, OSSBucket with OSSObject, and ImageId."""

    image_id: str = ""
    source: str = ""
    oss_bucket: Annotated[str, Field(alias="OSSBucket")] = ""
    oss_object: Annotated[str, Field(alias="OSSObject")] = ""
    format: str = ""


class DescribeImageCheckParams(RegionParams):
    job_id: str


@action("CheckImage", version=HOST, params=CheckImageParams, resource="image/{image_id}", access="write")
def check_image(call: Call, p: CheckImageParams) -> dict[str, Any]:
    source = Source(bucket=p.oss_bucket, object=p.oss_object, handle=p.source)
    job = service.check(caller(call), source, p.image_id, p.format)
    call.after_commit(call.services.runner.wake)
    return {"JobId": job.id, "TaskId": job.id}


@action("DescribeImageCheck", version=HOST, params=DescribeImageCheckParams, resource="image/*", access="read")
def describe_image_check(call: Call, p: DescribeImageCheckParams) -> dict[str, Any]:
    """The report; without items until the check has succeeded."""
    job = service.get(caller(call), p.job_id)
    found: dict[str, Any] = job.data.get("report") or {}
    return {
        "JobId": job.id,
        "Status": host.STATES[job.state],
        "Progress": job.progress,
        "Message": job.message,
        "Result": str(found.get("level", "")).capitalize(),
        "System": found.get("system", ""),
        "OSType": found.get("os_type", ""),
        "Architecture": found.get("architecture", ""),
        "Platform": found.get("platform", ""),
        "Items": {"Item": [_shown(item) for item in found.get("items", [])]},
    }


def _shown(item: dict[str, str]) -> dict[str, str]:
    return {
        "Name": item["name"],
        "Title": item["title"],
        "Result": item["level"].capitalize(),
        "Value": item["found"],
        "Advice": item["advice"],
    }
