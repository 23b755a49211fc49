"""Finding snapshots, and the space they take, over the API (SPEC S1, S2)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.core.errors import ApiError
from agent.store.schema import Disk, Snapshot
from tests.support.cloud import Cloud
from tests.support.timetable import add_disk, change, finish_taking, running_instance, take


def listed(cloud: Cloud, **params: object) -> list[dict[str, Any]]:
    given = {name.replace("__", "."): value for name, value in params.items()}
    return cloud.call("DescribeSnapshots", given)["Snapshots"]["Snapshot"]


def test_snapshots_are_found_by_what_they_are(cloud: Cloud) -> None:
    instance_id, system = running_instance(cloud)
    data = add_disk(cloud, instance_id=instance_id)
    first = take(cloud, system, SnapshotName="one", **{"Tag.1.Key": "k", "Tag.1.Value": "v"})
    cloud.clock.advance(3600)
    second = take(cloud, data, SnapshotName="two")
    change(cloud, Snapshot, second, kind="auto")
    change(cloud, Disk, system, source_snapshot_id=second, image_id=None)
    cloud.clock.advance(3600)
    third = take(cloud, add_disk(cloud), SnapshotName="three")

    def found(**params: object) -> list[str]:
        return [row["SnapshotId"] for row in listed(cloud, **params)]

    assert found() == [third, second, first]
    assert found(SnapshotIds=json.dumps([first, third])) == [third, first]
    assert found(DiskId=system) == [first]
    assert found(SnapshotLinkId="sl-" + system.removeprefix("d-")) == [first]
    assert found(SnapshotLinkId="sl-" + system.removeprefix("d-"), DiskId=data) == []
    assert found(InstanceId=instance_id) == [second, first]
    assert found(SnapshotName="t*") == [third, second]
    assert found(SnapshotName="one") == [first]
    assert found(SnapshotType="auto") == [second]
    assert found(SnapshotType="user") == [third, first]
    assert found(SourceDiskType="System") == [first]
    assert found(SourceDiskType="data") == [third, second]
    assert found(Usage="disk") == [second]
    assert found(Usage="none") == [third, first]
    assert found(Usage="image") == found(Usage="image_disk") == []
    assert found(Status="accomplished") == [third, second, first]
    assert found(Status="failed") == []
    assert found(Tag__1__Key="k") == [first]
    assert found(Tag__1__Key="k", Tag__1__Value="w") == []
    assert found(Category="Standard") == [third, second, first]
    assert found(Category="archive") == found(Encrypted=True) == found(KMSKeyId="x") == []
    since = {"Filter__1__Key": "CreationStartTime", "Filter__1__Value": "2026-11-23T08:00Z"}
    assert found(**since) == [third, second]
    assert found(**since, Filter__2__Key="CreationEndTime", Filter__2__Value="2026-11-23T09:00:00Z") == [second]
    assert [row["Usage"] for row in listed(cloud)] == ["none", "disk", "none"]


def test_pages_of_both_kinds(cloud: Cloud) -> None:
    ids = [take(cloud, add_disk(cloud)) for _ in range(3)]
    numbered = cloud.call("DescribeSnapshots", {"PageNumber": 2, "PageSize": 2})
    assert (numbered["TotalCount"], len(numbered["Snapshots"]["Snapshot"])) == (3, 1)
    seen, token = [], ""
    for _ in ids:
        answer = cloud.call("DescribeSnapshots", {"MaxResults": 1, "NextToken": token})
        seen += [row["SnapshotId"] for row in answer["Snapshots"]["Snapshot"]]
        token = answer["NextToken"]
    assert (sorted(seen), token) == (sorted(ids), "")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"Status": "done"}, "InvalidStatus.NotSupported"),
        ({"SnapshotType": "timer"}, "InvalidSnapshotType.NotSupported"),
        ({"SourceDiskType": "floppy"}, "InvalidSourceDiskType.NotSupported"),
        ({"Usage": "much"}, "InvalidUsage"),
        ({"SnapshotIds": "s-1"}, "InvalidParameter"),
        ({"Filter.1.Key": "Size", "Filter.1.Value": "1"}, "InvalidFilterKey.NotSupported"),
        ({"Filter.1.Key": "CreationEndTime", "Filter.1.Value": "now"}, "InvalidFilterValue.NotSupported"),
        ({"DryRun": True}, "DryRunOperation"),
    ],
)
def test_questions_that_are_refused(cloud: Cloud, params: dict[str, object], code: str) -> None:
    with pytest.raises(ApiError) as caught:
        cloud.call("DescribeSnapshots", params)
    assert caught.value.code == code


# ------------------------------------------------------------------------------ chains, space, tags


def test_chains_and_the_space_they_take(cloud: Cloud) -> None:
    instance_id, system = running_instance(cloud)
    data = add_disk(cloud, name="data")
    for disk_id in (system, data, data):
        cloud.clock.advance(1)
        take(cloud, disk_id)
    cloud.clock.advance(1)
    cloud.call("CreateSnapshot", {"DiskId": system})
    finish_taking(cloud, failing="for once")
    with cloud.store.read() as session:
        sizes = {one.layer_id: 1000 + n for n, one in enumerate(session.query(Snapshot)) if one.layer_id}
    cloud.storage.allocated = sizes
    shown = cloud.call("DescribeSnapshotLinks")["SnapshotLinks"]["SnapshotLink"]
    of = {row["SourceDiskId"]: row for row in shown}
    assert [row["SourceDiskId"] for row in shown] == [system, data]
    assert (of[system]["TotalCount"], of[system]["InstanceId"], of[system]["InstanceName"]) == (2, instance_id, "test")
    assert (of[data]["TotalCount"], of[data]["SourceDiskName"], of[data]["SourceDiskSize"]) == (2, "data", 20)
    assert (of[data]["SourceDiskType"], of[data]["InstanceId"], of[data]["Category"]) == ("data", "", "standard")
    assert of[system]["TotalSize"] + of[data]["TotalSize"] == sum(sizes.values())
    usage = cloud.call("DescribeSnapshotsUsage")
    assert usage == {"SnapshotCount": 4, "SnapshotSize": sum(sizes.values())}

    def found(**params: object) -> list[str]:
        return [
            row["SourceDiskId"] for row in cloud.call("DescribeSnapshotLinks", params)["SnapshotLinks"]["SnapshotLink"]
        ]

    assert found(DiskIds=json.dumps([data])) == [data]
    assert found(SnapshotLinkIds=json.dumps(["sl-" + data.removeprefix("d-")])) == [data]
    assert found(InstanceId=instance_id) == [system]
    assert found(PageSize=1, PageNumber=2) == [data]


def test_the_chain_of_a_disk_that_is_gone(cloud: Cloud) -> None:
    disk_id = add_disk(cloud, name="gone")
    take(cloud, disk_id)
    with cloud.store.write() as session:
        session.delete(session.get_one(Disk, disk_id))
    [shown] = cloud.call("DescribeSnapshotLinks")["SnapshotLinks"]["SnapshotLink"]
    assert (shown["SourceDiskId"], shown["SourceDiskName"], shown["SourceDiskSize"]) == (disk_id, "", 20)


def test_snapshots_are_tagged_like_everything_else(cloud: Cloud) -> None:
    _, disk_id = running_instance(cloud)
    snapshot_id = take(cloud, disk_id)
    tagged: dict[str, object] = {"ResourceType": "snapshot", "ResourceId.1": snapshot_id}
    cloud.call("TagResources", {**tagged, "Tag.1.Key": "k", "Tag.1.Value": "v"})
    assert listed(cloud)[0]["Tags"] == {"Tag": [{"TagKey": "k", "TagValue": "v"}]}
    [counted] = cloud.call("DescribeTags")["Tags"]["Tag"]
    assert counted["ResourceTypeCount"]["Snapshot"] == 1
    with pytest.raises(ApiError) as caught:
        cloud.call("TagResources", {"ResourceType": "snapshot", "ResourceId.1": "s-1", "Tag.1.Key": "k"})
    assert caught.value.code == "InvalidSnapshotId.NotFound"
