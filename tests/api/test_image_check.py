"""Checks over the API: what may be checked, and how the report reads (SPEC M8)."""

from __future__ import annotations

from typing import Any

import pytest

from agent.api.edge.registry import HOST
from agent.core import image_check
from agent.core.errors import ApiError
from agent.jobs.kinds.image_check import stored
from agent.store.schema import Image, Job
from tests.support.cloud import Cloud
from tests.support.stored_disks import change


def check(cloud: Cloud, **params: object) -> str:
    return str(cloud.call("CheckImage", dict(params), version=HOST)["JobId"])


def report(cloud: Cloud, job_id: str, **more: Any) -> dict[str, Any]:
    return cloud.call("DescribeImageCheck", {"JobId": job_id}, version=HOST, **more)


def test_one_thing_is_checked_and_it_must_be_there(cloud: Cloud) -> None:
    cloud.add_image()
    refused: list[tuple[dict[str, object], str]] = [
        ({}, "MissingImageId"),
        ({"ImageId": "m-none"}, "InvalidImageId.NotFound"),
        ({"Source": "file-none"}, "InvalidFileHandle.NotFound"),
        ({"ImageId": "tiny_x64", "Source": "file-none"}, "InvalidParameter.Conflict"),
        ({"OSSObject": "oss://none/disk"}, "InvalidOSSBucket.NotFound"),
        ({"OSSObject": "disk"}, "MissingParameter"),
    ]
    for params, code in refused:
        with pytest.raises(ApiError) as caught:
            check(cloud, **params)
        assert caught.value.code in (code, "MissingParameter"), (params, caught.value.code)
    change(cloud, Image, "tiny_x64", status="Creating")
    with pytest.raises(ApiError, match="it must be Available"):
        check(cloud, ImageId="tiny_x64")
    assert cloud.jobs("image.check") == []


def _detection(cloud: Cloud, **more: Any) -> dict[str, Any]:
    [image] = cloud.call("DescribeImages", {"ImageId": "tiny_x64"}, **more)["Images"]["Image"]
    shown: dict[str, Any] = image["DetectionOptions"]
    return shown


def test_the_report_is_there_when_the_job_has_ended(cloud: Cloud) -> None:
    cloud.add_image()
    job_id = check(cloud, ImageId="tiny_x64")
    [job] = cloud.jobs("image.check")
    assert (job.id, job.resource_id, job.data) == (job_id, "tiny_x64", {"source": {}, "declared": ""})
    assert _detection(cloud)["Status"] == "Processing"
    waiting = report(cloud, job_id)
    assert (waiting["Status"], waiting["Result"], waiting["Items"]["Item"]) == ("Pending", "", [])
    with cloud.store.write() as session:
        row = session.query(Job).where(Job.id == job_id).one()
        row.state, row.data = "succeeded", row.data | {"report": stored(image_check.unreadable("it is a text"))}
    found = report(cloud, job_id)
    assert (found["Status"], found["Result"], found["Platform"]) == ("Succeeded", "Failed", "")
    assert _detection(cloud)["Status"] == "Finished"
    assert _detection(cloud)["Items"]["Item"] == [
        {"Name": "file format", "Value": "it is a text", "RiskLevel": "High", "RiskCode": "Format"}
    ]
    other = cloud.add_account()
    assert _detection(cloud, account_id=other) == {"Status": "", "Items": {"Item": []}}
    [item] = found["Items"]["Item"]
    assert (item["Name"], item["Result"], item["Value"]) == ("Format", "Failed", "it is a text")
    with pytest.raises(ApiError, match="does not exist"):
        report(cloud, job_id, account_id=other)
