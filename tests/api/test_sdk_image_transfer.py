"""Imports, exports and tasks called by both generations of the public SDK, unmodified, over the wire."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_ecs20140526 import models
from alibabacloud_ecs20140526.client import Client
from aliyunsdkecs.request.v20140526.CancelTaskRequest import CancelTaskRequest
from aliyunsdkecs.request.v20140526.DescribeTaskAttributeRequest import DescribeTaskAttributeRequest
from aliyunsdkecs.request.v20140526.DescribeTasksRequest import DescribeTasksRequest
from aliyunsdkecs.request.v20140526.ExportImageRequest import ExportImageRequest
from aliyunsdkecs.request.v20140526.ImportImageRequest import ImportImageRequest
from darabonba.exceptions import DaraException

from agent.api.edge.registry import HOST
from agent.store.schema import Image
from tests.support.cloud import Cloud


@pytest.fixture
def custom(cloud: Cloud, tmp_path: Path) -> str:
    """An image of the account; and a bucket with one object, disk.vhd."""
    cloud.call("CreateBucket", {"Bucket": "files"}, version=HOST)
    (tmp_path / "content").write_bytes(b"content")
    cloud.objects.put("files", "disk.vhd", tmp_path / "content")
    cloud.add_image("m-custom")
    with cloud.store.write() as session:
        session.get_one(Image, "m-custom").account_id = cloud.account_id
    return "m-custom"


def test_the_current_sdk_imports_exports_and_cancels(tea: Client, custom: str) -> None:
    disk = models.ImportImageRequestDiskDeviceMapping(
        ossbucket="files", ossobject="disk.vhd", format="VHD", disk_image_size=30
    )
    tag = models.ImportImageRequestTag(key="k", value="v")
    wanted = models.ImportImageRequest(
        region_id="local",
        image_name="brought",
        architecture="x86_64",
        ostype="linux",
        platform="Ubuntu",
        disk_device_mapping=[disk],
        tag=[tag],
        role_name="AliyunECSImageImportDefaultRole",
        license_type="Auto",
        client_token="token",
    )
    made = tea.import_image(wanted).body
    assert tea.import_image(wanted).body.image_id == made.image_id
    images = models.DescribeImagesRequest(region_id="local", image_id=made.image_id, status="Creating")
    [image] = tea.describe_images(images).body.images.image
    assert (image.image_name, image.platform, image.size) == ("brought", "Ubuntu", 30)
    export = models.ExportImageRequest(region_id="local", image_id=custom, ossbucket="files", ossprefix="P")
    exported = tea.export_image(export).body.task_id
    listing = models.DescribeTasksRequest(region_id="local", task_ids=f"{made.task_id},{exported}")
    answer = tea.describe_tasks(listing).body
    assert [(one.task_id, one.task_action) for one in answer.task_set.task] == [
        (exported, "ExportImage"),
        (made.task_id, "ImportImage"),
    ]
    tea.cancel_task(models.CancelTaskRequest(region_id="local", task_id=made.task_id))
    about = models.DescribeTaskAttributeRequest(region_id="local", task_id=exported)
    shown = tea.describe_task_attribute(about).body
    assert (shown.task_status, shown.support_cancel, shown.total_count) == ("Waiting", "true", 1)
    [operation] = shown.operation_progress_set.operation_progress
    assert "OSSObject" in [item.name for item in operation.related_item_set.related_item]
    with pytest.raises(DaraException) as caught:
        tea.cancel_task(models.CancelTaskRequest(region_id="local", task_id="t-gone"))
    assert caught.value.code == "InvalidTaskId.NotFound"


def test_the_first_sdk_does_so_too(core: Callable[[Any], bytes], custom: str) -> None:
    wanted = ImportImageRequest()
    wanted.set_DiskDeviceMappings([{"OSSBucket": "files", "OSSObject": "disk.vhd", "DiskImSize": 30}])
    wanted.set_Platform("Debian")
    made = json.loads(core(wanted))
    export = ExportImageRequest()
    export.set_ImageId(custom)
    export.set_OSSBucket("files")
    export.set_ImageFormat("vhd")
    exported = json.loads(core(export))["TaskId"]
    listing = DescribeTasksRequest()
    listing.set_TaskAction("ImportImage")
    assert [one["ResourceId"] for one in json.loads(core(listing))["TaskSet"]["Task"]] == [made["ImageId"]]
    for task_id in (exported, made["TaskId"]):
        cancel = CancelTaskRequest()
        cancel.set_TaskId(task_id)
        core(cancel)
        about = DescribeTaskAttributeRequest()
        about.set_TaskId(task_id)
        assert json.loads(core(about))["TaskId"] == task_id
