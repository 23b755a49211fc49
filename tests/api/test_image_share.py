"""Images shared between accounts of the host (SPEC M6)."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.errors import ApiError
from agent.services.default_network import ensure_default_network
from agent.store.schema import Disk, Image, Instance
from tests.support.cloud import Cloud
from tests.support.stored_disks import change, system_disk
from tests.support.timetable import take

OTHER, THIRD = "1000000000000002", "1000000000000003"
SMALL = {"InstanceType": "ecs.t1.small"}


@pytest.fixture
def image(cloud: Cloud) -> str:
    """The default account's, shared with OTHER."""
    cloud.add_image()
    instance = cloud.add_instance(cloud.default_vswitch()[1], [])
    cloud.add_account(OTHER)
    cloud.add_account(THIRD)
    params = {"SnapshotId": take(cloud, system_disk(cloud, instance)), "Tag.1.Key": "k", "Tag.1.Value": "v"}
    made = str(cloud.call("CreateImage", params)["ImageId"])
    share(cloud, made, AddAccount=OTHER)
    return made


def share(cloud: Cloud, image_id: str, **params: str) -> None:
    given = {f"{name}.1": value for name, value in params.items()}
    cloud.call("ModifyImageSharePermission", {"ImageId": image_id, **given})


def listed(cloud: Cloud, account_id: str = "", **params: object) -> dict[str, dict[str, Any]]:
    found = cloud.call("DescribeImages", dict(params), account_id=account_id)["Images"]["Image"]
    return {one["ImageId"]: one for one in found}


def code(cloud: Cloud, action: str, account_id: str = "", **params: object) -> str:
    with pytest.raises(ApiError) as caught:
        cloud.call(action, dict(params), account_id=account_id)
    return caught.value.code


def test_a_shared_image_is_seen_and_used_by_whom_it_is_shared_with_alone(cloud: Cloud, image: str) -> None:
    assert set(listed(cloud, THIRD)) == {"tiny_x64"}
    assert set(listed(cloud, OTHER)) == {"tiny_x64", image}
    assert set(listed(cloud, OTHER, ImageOwnerAlias="others", ImageOwnerId=cloud.account_id)) == {image}
    assert set(listed(cloud, OTHER, ImageOwnerAlias="self")) == set()
    mine, theirs = listed(cloud)[image], listed(cloud, OTHER)[image]
    assert (mine["ImageOwnerAlias"], mine["IsSelfShared"]) == ("self", "true")
    assert (theirs["ImageOwnerAlias"], theirs["IsSelfShared"], theirs["IsPublic"]) == ("others", "false", False)
    [disk] = theirs["DiskDeviceMappings"]["DiskDeviceMapping"]
    assert (disk["Device"], disk["SnapshotId"]) == ("/dev/xvda", "")  # what it is made of is the owner's
    assert (len(mine["Tags"]["Tag"]), theirs["Tags"]["Tag"]) == (1, [])
    by_tag = {"Tag.1.Key": "k"}
    assert (set(listed(cloud, **by_tag)), set(listed(cloud, OTHER, **by_tag))) == ({image}, set())
    assert code(cloud, "RunInstances", THIRD, ImageId=image, **SMALL) == "InvalidImageId.NotFound"
    with cloud.caller(OTHER) as caller:
        ensure_default_network(caller)
    cloud.call("RunInstances", {"ImageId": image, **SMALL}, account_id=OTHER)
    assert listed(cloud, OTHER)[image]["Usage"] == "instance"


def test_only_its_owner_may_change_delete_and_share_it(cloud: Cloud, image: str) -> None:
    for action, params in (
        ("ModifyImageAttribute", {"ImageName": "mine"}),
        ("DeleteImage", {"Force": True}),
        ("ModifyImageSharePermission", {"AddAccount.1": THIRD}),
        ("DescribeImageSharePermission", {}),
    ):
        assert code(cloud, action, OTHER, ImageId=image, **params) == "InvalidImageId.NotFound"


def test_with_whom_it_is_shared(cloud: Cloud, image: str) -> None:
    share(cloud, image, AddAccount=OTHER)  # once more changes nothing
    cloud.clock.advance(5)
    share(cloud, image, AddAccount=THIRD)
    found = cloud.call("DescribeImageSharePermission", {"ImageId": image})
    assert [one["AliyunId"] for one in found["Accounts"]["Account"]] == [OTHER, THIRD]
    assert found["Accounts"]["Account"][1]["SharedTime"] == "2026-11-23T07:35:17Z"
    assert (found["TotalCount"], found["ShareGroups"], found["ImageId"]) == (2, {"ShareGroup": []}, image)
    share(cloud, image, AddAccount=OTHER, RemoveAccount=THIRD)
    assert cloud.call("DescribeImageSharePermission", {"ImageId": image})["TotalCount"] == 1
    assert set(listed(cloud, THIRD)) == {"tiny_x64"}


def test_what_cannot_be_shared_is_refused(cloud: Cloud, image: str) -> None:
    action = "ModifyImageSharePermission"
    assert code(cloud, action, ImageId=image, **{"AddAccount.1": "1000000000000009"}) == "InvalidAccount.NotFound"
    assert code(cloud, action, ImageId=image, **{"RemoveAccount.1": "1000000000000009"}) == "InvalidAccount.NotFound"
    assert code(cloud, action, ImageId=image, **{"AddAccount.1": cloud.account_id}) == "InvalidAccount.Forbbiden"
    assert code(cloud, action, ImageId="tiny_x64", **{"AddAccount.1": OTHER}) == "InvalidImageId.NotFound"
    assert code(cloud, action, ImageId=image, IsPublic=True) == "UnsupportedParameter"
    assert code(cloud, action, ImageId=image, **{f"AddAccount.{n}": OTHER for n in range(1, 12)}) == "InvalidParameter"
    assert code(cloud, "ModifyImageAttribute", ImageId=image, Status="Deprecated") == "ImageUseShared"
    change(cloud, Image, image, status="UnAvailable")
    assert code(cloud, action, ImageId=image, **{"AddAccount.1": THIRD}) == "IncorrectImageStatus"


def test_the_quota_of_accounts(cloud: Cloud, image: str) -> None:
    cloud.services.config.quotas["image_share_accounts"] = 1
    refused = code(cloud, "ModifyImageSharePermission", ImageId=image, **{"AddAccount.1": THIRD})
    assert refused == "QuotaExceed.ShareImageUser"
    share(cloud, image, AddAccount=THIRD, RemoveAccount=OTHER)


def test_unshared_its_instances_run_on_but_are_not_initialised_again(cloud: Cloud, image: str) -> None:
    with cloud.caller(OTHER) as caller:
        ensure_default_network(caller)
    answer = cloud.call("RunInstances", {"ImageId": image, **SMALL}, account_id=OTHER)
    [made] = answer["InstanceIdSets"]["InstanceIdSet"]
    assert code(cloud, "DeleteImage", ImageId=image) == "ImageUseShared"
    share(cloud, image, RemoveAccount=OTHER)
    assert set(listed(cloud, OTHER)) == {"tiny_x64"}
    disk = system_disk(cloud, made)
    change(cloud, Instance, made, status="Stopped")
    change(cloud, Disk, disk, status="In_use")
    params = {"DiskId": disk, "Password": "Passw0rd!x"}
    assert code(cloud, "ReInitDisk", OTHER, **params) == "InvalidOperation.ImageNotFound"
    with pytest.raises(ApiError) as caught:
        cloud.call("DeleteImage", {"ImageId": image})
    assert (caught.value.code, made in caught.value.message) == ("ImageUsingByInstance", False)
    share(cloud, image, AddAccount=OTHER)
    cloud.call("ReInitDisk", params, account_id=OTHER)
