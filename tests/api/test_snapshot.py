"""Snapshots over the API (SPEC S1-S4)."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.errors import ApiError
from agent.store.schema import Disk, Instance, Snapshot
from tests.support.cloud import Cloud
from tests.support.timetable import add_disk, change, finish_taking, running_instance, take


def listed(cloud: Cloud, **params: object) -> list[dict[str, Any]]:
    given = {name.replace("__", "."): value for name, value in params.items()}
    return cloud.call("DescribeSnapshots", given)["Snapshots"]["Snapshot"]


def refusal(cloud: Cloud, action: str, **params: object) -> ApiError:
    given = {name.replace("__", "."): value for name, value in params.items()}
    with pytest.raises(ApiError) as caught:
        cloud.call(action, given)
    return caught.value


# ------------------------------------------------------------------------------ taking


def test_a_snapshot_is_shown_whole(cloud: Cloud) -> None:
    instance_id, disk_id = running_instance(cloud)
    wanted = {"SnapshotName": "before", "Description": "the upgrade", "Tag.1.Key": "k", "Tag.1.Value": "v"}
    snapshot_id = cloud.call("CreateSnapshot", {"DiskId": disk_id, **wanted})["SnapshotId"]
    [shown] = listed(cloud)
    assert shown == {
        "SnapshotId": snapshot_id,
        "SnapshotName": "before",
        "Description": "the upgrade",
        "RegionId": "local",
        "Status": "progressing",
        "Progress": "0%",
        "RemainTime": None,
        "Available": False,
        "Message": "",
        "Consistency": "",
        "SnapshotType": "user",
        "AutoSnapshotPolicyId": "",
        "SnapshotLinkId": "sl-" + disk_id.removeprefix("d-"),
        "SnapshotSN": snapshot_id.removeprefix("s-"),
        "SourceDiskId": disk_id,
        "SourceDiskSize": "20",
        "SourceDiskType": "system",
        "SourceStorageType": "disk",
        "SourceSnapshotId": "",
        "SourceRegionId": "",
        "Usage": "none",
        "Category": "standard",
        "InstantAccess": False,
        "Encrypted": False,
        "KMSKeyId": "",
        "ProductCode": "",
        "ResourceGroupId": "",
        "RetentionDays": None,
        "ExpirationTime": "",
        "CreationTime": "2026-11-23T07:35:12Z",
        "LastModifiedTime": "2026-11-23T07:35:12Z",
        "Tags": {"Tag": [{"TagKey": "k", "TagValue": "v"}]},
    }
    [job] = cloud.jobs("snapshot.take")
    assert (job.resource_id, job.lock, job.account_id) == (snapshot_id, instance_id, cloud.account_id)
    assert cloud.runner.wakes == 1
    cloud.clock.advance(2)
    finish_taking(cloud)
    [shown] = listed(cloud)
    assert (shown["Status"], shown["Progress"], shown["RemainTime"]) == ("accomplished", "100%", 0)
    assert (shown["Available"], shown["Consistency"]) == (True, "crash")
    assert shown["LastModifiedTime"] == "2026-11-23T07:35:14Z"


def test_the_time_that_is_left_is_estimated_from_the_progress(cloud: Cloud) -> None:
    _, disk_id = running_instance(cloud)
    snapshot_id = cloud.call("CreateSnapshot", {"DiskId": disk_id})["SnapshotId"]
    change(cloud, Snapshot, snapshot_id, progress=25)
    cloud.clock.advance(10)
    [shown] = listed(cloud)
    assert (shown["Progress"], shown["RemainTime"]) == ("25%", 30)


@pytest.mark.parametrize("status", ["Running", "Stopped"])
def test_disks_of_running_and_stopped_instances_are_taken(cloud: Cloud, status: str) -> None:
    instance_id, disk_id = running_instance(cloud)
    change(cloud, Instance, instance_id, status=status)
    assert take(cloud, disk_id).startswith("s-")


@pytest.mark.parametrize("status", ["Pending", "Starting", "Stopping"])
def test_those_of_others_are_not(cloud: Cloud, status: str) -> None:
    instance_id, disk_id = running_instance(cloud)
    change(cloud, Instance, instance_id, status=status)
    error = refusal(cloud, "CreateSnapshot", DiskId=disk_id)
    assert (error.code, error.status) == ("IncorrectInstanceStatus", 403)
    assert "must be Running or Stopped" in error.message


def test_nor_those_of_an_instance_that_is_being_released(cloud: Cloud) -> None:
    instance_id, disk_id = running_instance(cloud)
    change(cloud, Instance, instance_id, releasing=True)
    assert refusal(cloud, "CreateSnapshot", DiskId=disk_id).code == "IncorrectInstanceStatus"


@pytest.mark.parametrize("status", ["Creating", "Attaching", "Detaching", "ReIniting"])
def test_a_disk_on_its_way_is_not_taken(cloud: Cloud, status: str) -> None:
    disk_id = add_disk(cloud)
    change(cloud, Disk, disk_id, status=status)
    error = refusal(cloud, "CreateSnapshot", DiskId=disk_id)
    assert (error.code, error.status) == ("IncorrectDiskStatus", 403)
    assert status in error.message


def test_a_disk_without_an_instance_is_locked_by_itself(cloud: Cloud) -> None:
    disk_id = add_disk(cloud)
    cloud.call("CreateSnapshot", {"DiskId": disk_id})
    assert cloud.jobs("snapshot.take")[0].lock == disk_id


def test_one_manual_snapshot_at_a_time(cloud: Cloud) -> None:
    _, disk_id = running_instance(cloud)
    first = cloud.call("CreateSnapshot", {"DiskId": disk_id})["SnapshotId"]
    error = refusal(cloud, "CreateSnapshot", DiskId=disk_id)
    assert (error.code, error.status) == ("IncorrectDiskStatus.CreatingSnapshot", 403)
    assert first in error.message
    cloud.call("CreateSnapshot", {"DiskId": add_disk(cloud)})  # of another disk it may
    finish_taking(cloud)
    take(cloud, disk_id)


def test_a_manual_one_waits_for_an_automatic_one(cloud: Cloud) -> None:
    _, disk_id = running_instance(cloud)
    first = cloud.call("CreateSnapshot", {"DiskId": disk_id})["SnapshotId"]
    change(cloud, Snapshot, first, kind="auto")
    second = cloud.call("CreateSnapshot", {"DiskId": disk_id})["SnapshotId"]
    shown = {row["SnapshotId"]: row for row in listed(cloud)}
    assert (shown[second]["Status"], shown[second]["Progress"]) == ("progressing", "0%")
    jobs = cloud.jobs("snapshot.take")
    assert [job.resource_id for job in jobs] == [first, second]
    assert len({job.lock for job in jobs}) == 1  # one after the other


def test_the_same_token_takes_no_second_one(cloud: Cloud) -> None:
    _, disk_id = running_instance(cloud)
    params: dict[str, object] = {"DiskId": disk_id, "ClientToken": "again"}
    assert cloud.call("CreateSnapshot", params) == cloud.call("CreateSnapshot", params)
    assert len(listed(cloud)) == 1
    assert refusal(cloud, "CreateSnapshot", **params, SnapshotName="x1").code == "IdempotentParameterMismatch"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"SnapshotName": "1st"}, "InvalidSnapshotName.Malformed"),
        ({"SnapshotName": "x"}, "InvalidSnapshotName.Malformed"),
        ({"SnapshotName": "http://x"}, "InvalidSnapshotName.Malformed"),
        ({"SnapshotName": "auto-mine"}, "InvalidSnapshotName.Malformed"),
        ({"Description": "x"}, "InvalidDescription.Malformed"),
        ({"Category": "flash"}, "InvalidSnapshotCategory.Malformed"),
        ({"RetentionDays": 3}, "UnsupportedParameter"),
        ({"Tag.1.Key": "aliyun"}, "InvalidTagKey.Malformed"),
        ({"DiskId": "d-" + "0" * 20}, "InvalidDiskId.NotFound"),
    ],
)
def test_what_is_refused(cloud: Cloud, params: dict[str, object], code: str) -> None:
    _, disk_id = running_instance(cloud)
    with pytest.raises(ApiError) as caught:
        cloud.call("CreateSnapshot", {"DiskId": disk_id, **params})
    assert caught.value.code == code
    assert listed(cloud) == []
    assert cloud.jobs("snapshot.take") == []


def test_a_disk_has_to_be_named(cloud: Cloud) -> None:
    assert refusal(cloud, "CreateSnapshot").code == "MissingParameter"


def test_what_means_nothing_here_is_accepted(cloud: Cloud) -> None:
    _, disk_id = running_instance(cloud)
    assert take(cloud, disk_id, Category="Standard", InstantAccess=True, InstantAccessRetentionDays=3)


def test_other_accounts_have_nothing_to_do_with_it(cloud: Cloud) -> None:
    _, disk_id = running_instance(cloud)
    snapshot_id, other = take(cloud, disk_id), cloud.add_account()
    assert cloud.call("DescribeSnapshots", account_id=other)["TotalCount"] == 0
    assert cloud.call("DescribeSnapshotLinks", account_id=other)["TotalCount"] == 0
    for action, params in (
        ("CreateSnapshot", {"DiskId": disk_id}),
        ("DeleteSnapshot", {"SnapshotId": snapshot_id}),
        ("ModifySnapshotAttribute", {"SnapshotId": snapshot_id, "SnapshotName": "mine"}),
    ):
        with pytest.raises(ApiError) as caught:
            cloud.call(action, dict(params), account_id=other)
        assert caught.value.status == 404


# ------------------------------------------------------------------------------ the quota


def test_the_oldest_automatic_one_makes_room(make_cloud: Any) -> None:
    cloud: Cloud = make_cloud(quotas={"snapshots_per_disk": 3})
    _, disk_id = running_instance(cloud)
    ids = []
    for _ in range(3):
        cloud.clock.advance(60)
        ids.append(take(cloud, disk_id))
    error = refusal(cloud, "CreateSnapshot", DiskId=disk_id)
    assert (error.code, error.status) == ("QuotaExceed.Snapshot", 403)
    change(cloud, Snapshot, ids[1], kind="auto")
    change(cloud, Snapshot, ids[2], kind="auto")
    cloud.clock.advance(60)
    newest = take(cloud, disk_id)
    assert [row["SnapshotId"] for row in listed(cloud)] == [newest, ids[2], ids[0]]
    assert len(cloud.jobs("layers.collect")) == 1


def test_what_something_is_made_of_makes_no_room(make_cloud: Any) -> None:
    cloud: Cloud = make_cloud(quotas={"snapshots_per_disk": 1})
    _, disk_id = running_instance(cloud)
    only = take(cloud, disk_id)
    change(cloud, Snapshot, only, kind="auto")
    made = add_disk(cloud)
    change(cloud, Disk, made, source_snapshot_id=only)
    assert refusal(cloud, "CreateSnapshot", DiskId=disk_id).code == "QuotaExceed.Snapshot"


def test_failed_ones_and_those_of_other_disks_do_not_count(make_cloud: Any) -> None:
    cloud: Cloud = make_cloud(quotas={"snapshots_per_disk": 1})
    _, disk_id = running_instance(cloud)
    cloud.call("CreateSnapshot", {"DiskId": disk_id})
    finish_taking(cloud, failing="the disk is full")
    take(cloud, add_disk(cloud))
    take(cloud, disk_id)
    assert refusal(cloud, "CreateSnapshot", DiskId=disk_id).code == "QuotaExceed.Snapshot"


def test_a_lowered_quota_costs_one_snapshot_at_a_time(make_cloud: Any) -> None:
    cloud: Cloud = make_cloud(quotas={"snapshots_per_disk": 2})
    _, disk_id = running_instance(cloud)
    with cloud.store.write() as session:
        for number in range(5):
            session.add(_stored(cloud, disk_id, number))
    take(cloud, disk_id)
    assert len(listed(cloud)) == 5


def _stored(cloud: Cloud, disk_id: str, number: int) -> Snapshot:
    return Snapshot(
        id=f"s-{number:020}",
        account_id=cloud.account_id,
        disk_id=disk_id,
        kind="auto",
        status="accomplished",
        size_gib=20,
        disk_kind="system",
        category="cloud_ssd",
        created_at=cloud.clock.now(),
    )


# ------------------------------------------------------------------------------ changing and deleting


def test_a_failed_one_says_why_and_can_be_deleted(cloud: Cloud) -> None:
    _, disk_id = running_instance(cloud)
    snapshot_id = cloud.call("CreateSnapshot", {"DiskId": disk_id})["SnapshotId"]
    finish_taking(cloud, failing="no space left in /var/lib/ecs")
    [shown] = listed(cloud, Status="failed")
    assert (shown["Message"], shown["Available"], shown["RemainTime"]) == ("no space left in /var/lib/ecs", False, 0)
    cloud.call("DeleteSnapshot", {"SnapshotId": snapshot_id})
    assert listed(cloud) == []
    assert cloud.jobs("layers.collect") == []


def test_name_and_description_are_changed(cloud: Cloud) -> None:
    _, disk_id = running_instance(cloud)
    snapshot_id = take(cloud, disk_id, SnapshotName="old", Description="a text")
    cloud.call("ModifySnapshotAttribute", {"SnapshotId": snapshot_id, "SnapshotName": "new"})
    [shown] = listed(cloud)
    assert (shown["SnapshotName"], shown["Description"]) == ("new", "a text")
    cloud.call("ModifySnapshotAttribute", {"SnapshotId": snapshot_id, "Description": "", "DisableInstantAccess": True})
    assert listed(cloud)[0]["Description"] == ""
    bad = {"SnapshotId": snapshot_id}
    assert refusal(cloud, "ModifySnapshotAttribute", **bad, SnapshotName="autobus").code.endswith("Name.Malformed")
    assert refusal(cloud, "ModifySnapshotAttribute", **bad, Description="x").code == "InvalidDescription.Malformed"
    assert refusal(cloud, "ModifySnapshotAttribute", **bad, RetentionDays=1).code == "UnsupportedParameter"
    missing = {"SnapshotId": "s-" + "0" * 20}
    assert refusal(cloud, "ModifySnapshotAttribute", **missing).code == "InvalidSnapshotId.NotFound"
    change(cloud, Snapshot, snapshot_id, kind="auto")
    cloud.call("ModifySnapshotAttribute", {"SnapshotId": snapshot_id, "SnapshotName": "auto2.0_x"})


def test_deleting_gives_up_the_layer_and_the_tags(cloud: Cloud) -> None:
    _, disk_id = running_instance(cloud)
    snapshot_id = take(cloud, disk_id, **{"Tag.1.Key": "k"})
    cloud.call("DeleteSnapshot", {"SnapshotId": snapshot_id})
    assert listed(cloud) == []
    assert cloud.call("DescribeTags")["TotalCount"] == 0
    assert len(cloud.jobs("layers.collect")) == 1
    assert refusal(cloud, "DeleteSnapshot", SnapshotId=snapshot_id).code == "InvalidSnapshotId.NotFound"


def test_one_that_is_being_taken_is_not_deleted(cloud: Cloud) -> None:
    _, disk_id = running_instance(cloud)
    snapshot_id = cloud.call("CreateSnapshot", {"DiskId": disk_id})["SnapshotId"]
    error = refusal(cloud, "DeleteSnapshot", SnapshotId=snapshot_id, Force=True)
    assert error.code == "IncorrectDiskStatus.CreatingSnapshot"


def test_one_that_disks_were_made_of_needs_force(cloud: Cloud) -> None:
    _, disk_id = running_instance(cloud)
    snapshot_id, made = take(cloud, disk_id), add_disk(cloud)
    change(cloud, Disk, made, source_snapshot_id=snapshot_id)
    error = refusal(cloud, "DeleteSnapshot", SnapshotId=snapshot_id)
    assert (error.code, error.status) == ("SnapshotCreatedDisk", 403)
    assert made in error.message
    cloud.call("DeleteSnapshot", {"SnapshotId": snapshot_id, "Force": True})
    assert listed(cloud) == []
