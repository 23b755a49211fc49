"""Images made, shared and deleted by both generations of the public SDK, unmodified, over the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alibabacloud_ecs20140526 import models
from alibabacloud_ecs20140526.client import Client
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkecs.request.v20140526.CreateImageRequest import CreateImageRequest
from aliyunsdkecs.request.v20140526.DeleteImageRequest import DeleteImageRequest
from aliyunsdkecs.request.v20140526.DescribeImageFromFamilyRequest import DescribeImageFromFamilyRequest
from aliyunsdkecs.request.v20140526.DescribeImageSharePermissionRequest import DescribeImageSharePermissionRequest
from aliyunsdkecs.request.v20140526.DescribeImagesRequest import DescribeImagesRequest
from aliyunsdkecs.request.v20140526.DescribeImageSupportInstanceTypesRequest import (
    DescribeImageSupportInstanceTypesRequest,
)
from aliyunsdkecs.request.v20140526.ModifyImageAttributeRequest import ModifyImageAttributeRequest
from aliyunsdkecs.request.v20140526.ModifyImageSharePermissionRequest import ModifyImageSharePermissionRequest
from darabonba.exceptions import DaraException

from tests.support.cloud import Cloud
from tests.support.timetable import add_disk, running_instance, take


@pytest.fixture
def snapshots(cloud: Cloud) -> tuple[str, str]:
    """(of a system disk, of a data disk)."""
    cloud.add_image()
    _, disk_id = running_instance(cloud)
    cloud.add_account()
    return take(cloud, disk_id), take(cloud, add_disk(cloud))


def test_the_current_sdk_makes_shares_and_deletes_images(tea: Client, snapshots: tuple[str, str]) -> None:
    system, data = snapshots
    mapping = models.CreateImageRequestDiskDeviceMapping
    wanted = models.CreateImageRequest(
        region_id="local",
        image_name="web",
        image_family="servers",
        disk_device_mapping=[
            mapping(snapshot_id=system, disk_type="system"),
            mapping(snapshot_id=data, disk_type="data", size=30),
        ],
        tag=[models.CreateImageRequestTag(key="k", value="v")],
    )
    image_id = tea.create_image(wanted).body.image_id
    listing = models.DescribeImagesRequest(region_id="local", image_owner_alias="self")
    [shown] = tea.describe_images(listing).body.images.image
    assert (shown.image_id, shown.image_name, shown.status, shown.progress) == (image_id, "web", "Available", "100%")
    assert (shown.size, shown.is_public, shown.is_copied, shown.is_self_shared) == (20, False, False, "false")
    disks = shown.disk_device_mappings.disk_device_mapping
    assert [(one.device, one.type, one.size, one.snapshot_id) for one in disks] == [
        ("/dev/xvda", "system", "20", system),
        ("/dev/xvdb", "data", "30", data),
    ]
    assert [(one.tag_key, one.tag_value) for one in shown.tags.tag] == [("k", "v")]
    tea.modify_image_attribute(
        models.ModifyImageAttributeRequest(region_id="local", image_id=image_id, image_name="shop", description="of it")
    )
    family = models.DescribeImageFromFamilyRequest(region_id="local", image_family="servers")
    assert tea.describe_image_from_family(family).body.image.image_name == "shop"
    types = models.DescribeImageSupportInstanceTypesRequest(region_id="local", image_id=image_id)
    found = tea.describe_image_support_instance_types(types).body.instance_types.instance_type
    assert "ecs.t1.small" in [one.instance_type_id for one in found]
    share = models.ModifyImageSharePermissionRequest(
        region_id="local", image_id=image_id, add_account=["1000000000000002"]
    )
    tea.modify_image_share_permission(share)
    shares = models.DescribeImageSharePermissionRequest(region_id="local", image_id=image_id)
    [account] = tea.describe_image_share_permission(shares).body.accounts.account
    assert account.aliyun_id == "1000000000000002"
    doomed = models.DeleteImageRequest(region_id="local", image_id=image_id)
    with pytest.raises(DaraException) as caught:
        tea.delete_image(doomed)
    assert caught.value.code == "ImageUseShared"
    share = models.ModifyImageSharePermissionRequest(
        region_id="local", image_id=image_id, remove_account=["1000000000000002"]
    )
    tea.modify_image_share_permission(share)
    tea.delete_image(doomed)
    assert tea.describe_images(listing).body.total_count == 0


def test_the_first_sdk_makes_shares_and_deletes_images(core: Any, snapshots: tuple[str, str]) -> None:
    wanted = CreateImageRequest()
    wanted.set_SnapshotId(snapshots[0])
    wanted.set_ImageName("web")
    wanted.set_ImageFamily("servers")
    image_id = json.loads(core(wanted))["ImageId"]
    listing = DescribeImagesRequest()
    listing.set_ImageId(image_id)
    [shown] = json.loads(core(listing))["Images"]["Image"]
    assert (shown["ImageName"], shown["ImageOwnerAlias"]) == ("web", "self")
    change = ModifyImageAttributeRequest()
    change.set_ImageId(image_id)
    change.set_Description("a text")
    core(change)
    family = DescribeImageFromFamilyRequest()
    family.set_ImageFamily("servers")
    assert json.loads(core(family))["Image"]["Description"] == "a text"
    types = DescribeImageSupportInstanceTypesRequest()
    types.set_ImageId(image_id)
    assert json.loads(core(types))["InstanceTypes"]["InstanceType"]
    share = ModifyImageSharePermissionRequest()
    share.set_ImageId(image_id)
    share.set_AddAccounts(["1000000000000002"])
    core(share)
    shares = DescribeImageSharePermissionRequest()
    shares.set_ImageId(image_id)
    assert json.loads(core(shares))["TotalCount"] == 1
    unshare = ModifyImageSharePermissionRequest()
    unshare.set_ImageId(image_id)
    unshare.set_RemoveAccounts(["1000000000000002"])
    core(unshare)
    doomed = DeleteImageRequest()
    doomed.set_ImageId(image_id)
    doomed.set_Force(True)
    core(doomed)
    with pytest.raises(ServerException) as caught:
        core(doomed)
    assert caught.value.get_error_code() == "InvalidImageId.NotFound"
