"""Instances created with data disks (SPEC I1, section 0)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.core.errors import ApiError
from tests.support.agent import flat
from tests.support.cloud import Cloud
from tests.support.stored_disks import add_disk, add_snapshot

SMALL = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small"}
LOCAL = {"SystemDisk": {"Category": "ephemeral_ssd", "Size": 20}}


@pytest.fixture
def ready(make_cloud: Callable[..., Cloud]) -> Cloud:
    cloud = make_cloud()
    cloud.add_image()
    cloud.default_vswitch()
    return cloud


def run(cloud: Cloud, *data: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    """The data disks of the new instances, by device."""
    cloud.call("RunInstances", dict(flat({**SMALL, "DataDisk": list(data), **params})))
    found = cloud.call("DescribeDisks", {"DiskType": "data"})["Disks"]["Disk"]
    return sorted((disk for disk in found if disk["InstanceId"]), key=lambda disk: disk["Device"])


def test_data_disks_are_made_with_the_instance(ready: Cloud) -> None:
    snapshot_id = add_snapshot(ready, add_disk(ready, size_gib=30))
    chosen = {"Size": 20, "Category": "cloud_ssd", "Device": "/dev/xvdb", "DiskName": "log", "Description": "of it"}
    first, second = run(ready, {"SnapshotId": snapshot_id, "DeleteWithInstance": "false"}, chosen)
    assert (first["Device"], first["DiskName"], first["Category"], first["Size"]) == (
        "/dev/xvdb",
        "log",
        "cloud_ssd",
        20,
    )
    assert (second["Device"], second["Category"], second["Size"]) == ("/dev/xvdc", "cloud", 30)
    assert [disk["DeleteWithInstance"] for disk in (first, second)] == [True, False]
    assert (second["SourceSnapshotId"], second["Status"]) == (snapshot_id, "Creating")
    assert ready.jobs("disk.create") == []  # the instance's own job makes them


def test_each_of_several_instances_has_its_own(ready: Cloud) -> None:
    assert len(run(ready, {"Size": 5}, {"Size": 6}, Amount=3)) == 6


def test_ephemeral_ones_go_with_an_ephemeral_system_disk(ready: Cloud) -> None:
    made = run(ready, {"Category": "ephemeral", "Size": 1024}, {"Category": "ephemeral", "Size": 1024}, **LOCAL)
    assert [(disk["Portable"], "IOPS" in disk) for disk in made] == [(False, False)] * 2


@pytest.mark.parametrize(
    ("data", "more", "expected"),
    [
        ([{"Size": 4}], {}, "InvalidDataDiskSize.ValueNotSupported"),
        ([{"Category": "cloud"}], {}, "MissingParameter"),
        ([{"Size": 20, "Category": "floppy"}], {}, "InvalidDataDiskCategory.ValueNotSupported"),
        ([{"Size": 20, "Category": "ephemeral"}], {}, "InvalidDataDiskCategory.NotSupported"),
        ([{"Size": 20, "Category": "ephemeral", "DeleteWithInstance": "false"}], LOCAL, "InvalidParameter"),
        ([{"Size": 1024, "Category": "ephemeral"}] * 3, LOCAL, "InstanceDiskLimitExceeded"),
        ([{"Size": 800, "Category": "ephemeral_ssd"}] * 2, LOCAL, "InstanceDiskLimitExceeded"),
        ([{"Size": 20, "Device": "/dev/xvdb"}] * 2, {}, "InvalidDevice.InUse"),
        ([{"Size": 20, "Device": "/dev/sdb"}], {}, "InvalidDevice.Malformed"),
        ([{"Size": 20, "SnapshotId": "s-none"}], {}, "InvalidSnapshotId.NotFound"),
        ([{"Size": 20, "DiskName": "1"}], {}, "InvalidDiskName.Malformed"),
        ([{"Size": 20, "Encrypted": "true"}], {}, "UnsupportedParameter"),
        ([{"Size": 20}] * 17, {}, "InstanceDiskLimitExceeded"),
        ([{"Size": 20}] * 16, {"Amount": 3}, "QuotaExceed.PostPaidDisk"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_left(
    ready: Cloud, data: list[dict[str, Any]], more: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ApiError) as refused:
        run(ready, *data, **more)
    assert refused.value.code == expected
    assert ready.call("DescribeDisks")["TotalCount"] == 0
