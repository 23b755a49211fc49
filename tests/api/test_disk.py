"""Listing disks over the API (SPEC D12)."""

from __future__ import annotations

import json

import pytest

from agent.core.errors import ApiError
from tests.support.cloud import Cloud


def listed(cloud: Cloud, **params: object) -> list[dict[str, object]]:
    return cloud.call("DescribeDisks", dict(params))["Disks"]["Disk"]


def test_a_system_disk_is_shown_whole(cloud: Cloud) -> None:
    _, vswitch_id = cloud.default_vswitch()
    instance_id = cloud.add_instance(vswitch_id, [])
    [disk] = listed(cloud)
    assert (disk["InstanceId"], disk["Type"], disk["Device"]) == (instance_id, "system", "/dev/xvda")
    assert (disk["Status"], disk["Size"], disk["Portable"]) == ("In_use", 20, False)
    assert disk["SerialNumber"] == str(disk["DiskId"]).removeprefix("d-")
    assert disk["Attachments"] == {
        "Attachment": [{"InstanceId": instance_id, "Device": "/dev/xvda", "AttachedTime": "2026-11-23T07:35:12Z"}]
    }


def test_disks_are_filtered(cloud: Cloud) -> None:
    _, vswitch_id = cloud.default_vswitch()
    instances = [cloud.add_instance(vswitch_id, []) for _ in range(2)]
    [disk] = listed(cloud, InstanceId=instances[0])
    assert len(listed(cloud)) == 2
    assert listed(cloud, DiskIds=json.dumps([disk["DiskId"]])) == [disk]
    assert len(listed(cloud, DiskType="system", Category="cloud_efficiency", Status="In_use")) == 2
    assert listed(cloud, DiskType="data") == []
    assert listed(cloud, Status="Available") == []
    assert len(listed(cloud, Portable=False)) == 2
    assert listed(cloud, Portable=True) == []
    assert listed(cloud, SnapshotId="s-1") == []
    assert len(listed(cloud, MaxResults=1)) == 1
    other = cloud.add_account()
    assert cloud.call("DescribeDisks", account_id=other)["TotalCount"] == 0
    with pytest.raises(ApiError):
        listed(cloud, DiskType="floppy")
