"""Creating disks over the API (SPEC D1, G5, G7)."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.errors import ApiError
from agent.store.schema import Disk, Instance, Layer
from tests.support.agent import HOST, flat
from tests.support.cloud import Cloud
from tests.support.stored_disks import add_disk, add_snapshot, change, row

EMPTY = {"ZoneId": "local-a", "DiskCategory": "cloud_ssd", "Size": 40}


def create(cloud: Cloud, **params: Any) -> str:
    return str(cloud.call("CreateDisk", dict(flat({**EMPTY, **params})))["DiskId"])


def code(cloud: Cloud, action: str, params: dict[str, Any], **more: Any) -> str:
    with pytest.raises(ApiError) as refused:
        cloud.call(action, dict(flat(params)), **more)
    return refused.value.code


def test_an_empty_disk(cloud: Cloud) -> None:
    tags = [{"Key": "use", "Value": "db"}]
    disk_id = create(cloud, DiskName="data", Description="of the db", Tag=tags)
    [shown] = cloud.call("DescribeDisks", {"DiskName": "data"})["Disks"]["Disk"]
    assert (shown["DiskId"], shown["Status"], shown["Size"], shown["Type"]) == (disk_id, "Creating", 40, "data")
    assert (shown["Description"], shown["DeleteWithInstance"], shown["DeleteAutoSnapshot"]) == (
        "of the db",
        False,
        True,
    )
    assert shown["Tags"]["Tag"] == [{"TagKey": "use", "TagValue": "db"}]
    assert (shown["IOPS"], shown["Throughput"]) == (3000, 3000 * 12 // 1024)
    [job] = cloud.jobs("disk.create")
    assert (job.resource_id, job.lock, cloud.runner.wakes) == (disk_id, disk_id, 1)


def test_a_disk_of_a_snapshot_is_not_smaller(cloud: Cloud) -> None:
    snapshot_id = add_snapshot(cloud, add_disk(cloud, size_gib=30))
    of_it = {"SnapshotId": snapshot_id, "ZoneId": "local-a", "DiskCategory": "cloud_ssd"}
    as_large = cloud.call("CreateDisk", of_it)["DiskId"]
    larger = create(cloud, SnapshotId=snapshot_id)
    assert (row(cloud, as_large).size_gib, row(cloud, larger).size_gib) == (30, 40)
    assert code(cloud, "CreateDisk", {**of_it, "Size": 29}) == "InvalidDiskSize.TooSmall"
    found = cloud.call("DescribeDisks", {"SnapshotId": snapshot_id})["Disks"]["Disk"]
    assert {disk["DiskId"] for disk in found} == {as_large, larger}
    with cloud.store.read() as session:
        taken = session.get_one(Layer, session.get_one(Disk, larger).layer.parent_id)
        assert session.get_one(Disk, as_large).layer.parent_id == taken.id


def test_several_at_once_are_all_or_none(make_cloud: Any) -> None:
    cloud = make_cloud(quotas={"disks": 3})
    made = cloud.call("CreateDisks", {**EMPTY, "Amount": "2", "DiskName": "data"}, version=HOST)["DiskIds"]["DiskId"]
    assert [row(cloud, disk_id).name for disk_id in made] == ["data001", "data002"]
    assert code(cloud, "CreateDisks", {**EMPTY, "Amount": "2"}, version=HOST) == "QuotaExceed.DiskNumber"
    assert cloud.call("DescribeDisks")["TotalCount"] == 2


def test_the_same_token_makes_no_second_disk(cloud: Cloud) -> None:
    assert create(cloud, ClientToken="once") == create(cloud, ClientToken="once")
    assert code(cloud, "CreateDisk", {**EMPTY, "Size": 41, "ClientToken": "once"}) == "IdempotentParameterMismatch"


def test_created_for_an_instance_it_is_attached_at_once(cloud: Cloud) -> None:
    _, vswitch_id = cloud.default_vswitch()
    instance_id = cloud.add_instance(vswitch_id, [])
    disk_id = create(cloud, InstanceId=instance_id, ZoneId="")
    made = row(cloud, disk_id)
    assert (made.instance_id, made.device, made.status) == (instance_id, "/dev/xvdb", "Creating")
    [job] = cloud.jobs("disk.create_attached")
    assert (job.resource_id, job.lock) == (disk_id, instance_id)
    assert code(cloud, "CreateDisks", {**EMPTY, "InstanceId": instance_id, "Amount": 2}, version=HOST) == (
        "InvalidParameter.Conflict"
    )
    change(cloud, Instance, instance_id, status="Starting")
    assert code(cloud, "CreateDisk", {**EMPTY, "InstanceId": instance_id}) == "IncorrectInstanceStatus"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"ZoneId": ""}, "MissingParameter"),
        ({"ZoneId": "elsewhere"}, "InvalidZoneId.NotFound"),
        ({"Size": ""}, "MissingParameter"),
        ({"Size": 19}, "InvalidDiskSize.ValueNotSupported"),
        ({"Size": 2049}, "InvalidDiskSize.ValueNotSupported"),
        ({"DiskCategory": "cloud", "Size": 2001}, "InvalidDiskSize.ValueNotSupported"),
        ({"DiskCategory": "cloud", "Size": 4}, "InvalidDiskSize.ValueNotSupported"),
        ({"DiskCategory": "floppy"}, "InvalidDiskCategory.ValueNotSupported"),
        ({"DiskCategory": "ephemeral_ssd"}, "InvalidDiskCategory.ValueNotSupported"),
        ({"DiskName": "1"}, "InvalidDiskName.Malformed"),
        ({"Description": "http://"}, "InvalidDiskDescription.Malformed"),
        ({"SnapshotId": "s-none"}, "InvalidSnapshotId.NotFound"),
        ({"InstanceId": "i-none"}, "InvalidInstanceId.NotFound"),
        ({"Encrypted": "true"}, "UnsupportedParameter"),
        ({"MultiAttach": "Enabled"}, "UnsupportedParameter"),
        ({"Tag": [{"Key": "aliyun", "Value": ""}]}, "InvalidTagKey.Malformed"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_left(cloud: Cloud, params: dict[str, Any], expected: str) -> None:
    assert code(cloud, "CreateDisk", {**EMPTY, **params}) == expected
    assert cloud.call("DescribeDisks")["TotalCount"] == 0
    assert cloud.jobs("disk.create") == []


def test_a_snapshot_that_is_not_ready_or_not_mine(cloud: Cloud) -> None:
    disk_id = add_disk(cloud)
    taking = add_snapshot(cloud, disk_id, status="progressing", layer_id=None)
    assert code(cloud, "CreateDisk", {**EMPTY, "SnapshotId": taking}) == "IncorrectSnapshotStatus"
    mine = add_snapshot(cloud, disk_id)
    other = cloud.add_account()
    assert code(cloud, "CreateDisk", {**EMPTY, "SnapshotId": mine}, account_id=other) == "InvalidSnapshotId.NotFound"


def test_cloud_disks_are_five_for_each_instance_of_the_quota(make_cloud: Any) -> None:
    cloud = make_cloud(quotas={"instances": 1})
    for _ in range(5):
        create(cloud)
    assert code(cloud, "CreateDisk", EMPTY) == "QuotaExceed.PostPaidDisk"


def test_a_lab_may_have_smaller_disks(make_cloud: Any) -> None:
    cloud = make_cloud(minimum_disk_gib={"cloud_ssd": 1}, disk_limits={"cloud_ssd": {"iops": 100, "iops_per_gib": 0}})
    create(cloud, Size=1)
    [shown] = cloud.call("DescribeDisks")["Disks"]["Disk"]
    assert shown["IOPS"] == 100
