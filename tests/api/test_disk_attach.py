"""Attaching and detaching over the API (SPEC D2, D3): what is refused, and what is written."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.errors import ApiError
from agent.jobs import journal
from agent.store.schema import Disk, Instance, Snapshot
from tests.support.cloud import START, Cloud
from tests.support.stored_disks import add_disk, add_snapshot, change, row, system_disk


@pytest.fixture
def instance_id(cloud: Cloud) -> str:
    """Running, with a system disk."""
    _, vswitch_id = cloud.default_vswitch()
    return cloud.add_instance(vswitch_id, [])


def attach(cloud: Cloud, disk_id: str, instance_id: str, **params: Any) -> None:
    cloud.call("AttachDisk", {"DiskId": disk_id, "InstanceId": instance_id, **params})


def code(cloud: Cloud, action: str, **params: Any) -> str:
    with pytest.raises(ApiError) as refused:
        cloud.call(action, params)
    return refused.value.code


def test_a_running_instance_gets_it_by_a_job(cloud: Cloud, instance_id: str) -> None:
    disk_id = add_disk(cloud)
    attach(cloud, disk_id, instance_id, DeleteWithInstance="true")
    found = row(cloud, disk_id)
    assert (found.status, found.instance_id, found.device) == ("Attaching", instance_id, "/dev/xvdb")
    assert (found.delete_with_instance, found.attached_at) == (True, START)
    [job] = cloud.jobs("disk.attach")
    assert (job.resource_id, job.lock, job.account_id, cloud.runner.wakes) == (
        disk_id,
        instance_id,
        cloud.account_id,
        1,
    )


def test_a_stopped_instance_has_it_at_once(cloud: Cloud, instance_id: str) -> None:
    change(cloud, Instance, instance_id, status="Stopped")
    disk_id = add_disk(cloud)
    attach(cloud, disk_id, instance_id, Device="/dev/xvdx")
    assert (row(cloud, disk_id).status, row(cloud, disk_id).device) == ("In_use", "/dev/xvdx")
    cloud.call("DetachDisk", {"DiskId": disk_id, "InstanceId": instance_id})
    found = row(cloud, disk_id)
    assert (found.status, found.instance_id, found.device, found.detached_at) == ("Available", None, None, START)
    assert cloud.jobs("disk.attach") == cloud.jobs("disk.detach") == []
    [shown] = cloud.call("DescribeDisks", {"DiskType": "data"})["Disks"]["Disk"]
    assert (shown["DetachedTime"], shown["AttachedTime"]) == ("2026-11-23T07:35:12Z", "")


def test_devices_are_free_or_chosen(cloud: Cloud, instance_id: str) -> None:
    change(cloud, Instance, instance_id, status="Stopped")
    disks = [add_disk(cloud) for _ in range(4)]
    attach(cloud, disks[0], instance_id, Device="/dev/xvdb")
    attach(cloud, disks[1], instance_id)
    assert row(cloud, disks[1]).device == "/dev/xvdc"
    wrong = {
        "/dev/xvdb": "InvalidDevice.InUse",
        "/dev/xvda": "InvalidDevice.Malformed",
        "vdd": "InvalidDevice.Malformed",
    }
    for device, expected in wrong.items():
        assert code(cloud, "AttachDisk", DiskId=disks[2], InstanceId=instance_id, Device=device) == expected
    assert row(cloud, disks[2]).status == "Available"


def test_sixteen_data_disks_and_no_more(make_cloud: Any) -> None:
    cloud = make_cloud(quotas={"data_disk_gib_per_instance": 350})
    _, vswitch_id = cloud.default_vswitch()
    instance_id = cloud.add_instance(vswitch_id, [])
    change(cloud, Instance, instance_id, status="Stopped")
    large = add_disk(cloud, size_gib=351)
    assert code(cloud, "AttachDisk", DiskId=large, InstanceId=instance_id) == "InstanceDiskLimitExceeded"
    for _ in range(16):
        attach(cloud, add_disk(cloud), instance_id)
    assert code(cloud, "AttachDisk", DiskId=add_disk(cloud), InstanceId=instance_id) == "InstanceDiskLimitExceeded"


@pytest.mark.parametrize("status", ["Creating", "Attaching", "In_use", "Detaching", "ReIniting"])
def test_only_an_available_disk_is_attached(cloud: Cloud, instance_id: str, status: str) -> None:
    disk_id = add_disk(cloud, status=status)
    assert code(cloud, "AttachDisk", DiskId=disk_id, InstanceId=instance_id) == "IncorrectDiskStatus"


@pytest.mark.parametrize("status", ["Pending", "Starting", "Stopping"])
def test_not_to_an_instance_on_its_way(cloud: Cloud, instance_id: str, status: str) -> None:
    change(cloud, Instance, instance_id, status=status)
    disk_id = add_disk(cloud)
    assert code(cloud, "AttachDisk", DiskId=disk_id, InstanceId=instance_id) == "IncorrectInstanceStatus"
    change(cloud, Disk, disk_id, status="In_use", instance_id=instance_id)
    assert code(cloud, "DetachDisk", DiskId=disk_id, InstanceId=instance_id) == "IncorrectInstanceStatus"


def test_what_else_is_not_attached(cloud: Cloud, instance_id: str) -> None:
    disk_id = add_disk(cloud)
    both = {"DiskId": disk_id, "InstanceId": instance_id}
    assert code(cloud, "AttachDisk", **both, Bootable="true") == "UnsupportedParameter"
    assert code(cloud, "AttachDisk", DiskId="d-none", InstanceId=instance_id) == "InvalidDiskId.NotFound"
    assert code(cloud, "AttachDisk", DiskId=disk_id, InstanceId="i-none") == "InvalidInstanceId.NotFound"
    assert (
        code(cloud, "AttachDisk", DiskId=system_disk(cloud, instance_id), InstanceId=instance_id) == "DiskNotPortable"
    )
    elsewhere = add_disk(cloud, zone_id="elsewhere")
    assert code(cloud, "AttachDisk", DiskId=elsewhere, InstanceId=instance_id) == "ResourcesNotInSameZone"
    change(cloud, Instance, instance_id, releasing=True)
    assert code(cloud, "AttachDisk", **both) == "InvalidInstanceId.NotFound"


def test_a_guest_without_virtio_is_to_be_stopped_first(cloud: Cloud, instance_id: str) -> None:
    change(cloud, Instance, instance_id, virtio=False)
    disk_id = add_disk(cloud)
    for action, status in (("AttachDisk", "Available"), ("DetachDisk", "In_use")):
        change(cloud, Disk, disk_id, status=status, instance_id=instance_id if status == "In_use" else None)
        with pytest.raises(ApiError, match="stop it first") as refused:
            cloud.call(action, {"DiskId": disk_id, "InstanceId": instance_id})
        assert refused.value.code == "IncorrectInstanceStatus"


def test_a_disk_that_something_is_done_with_is_left_alone(cloud: Cloud, instance_id: str) -> None:
    disk_id = add_disk(cloud)
    taking = add_snapshot(cloud, disk_id, status="progressing", layer_id=None)
    both = {"DiskId": disk_id, "InstanceId": instance_id}
    assert code(cloud, "AttachDisk", **both) == "IncorrectDiskStatus.CreatingSnapshot"
    with cloud.store.write() as session:
        session.delete(session.get_one(Snapshot, taking))
        journal.enqueue(session, "disk.resize", disk_id, START, data={"size_gib": 30})
    assert code(cloud, "AttachDisk", **both) == "IncorrectDiskStatus"


def test_a_running_guest_is_asked_to_let_go(cloud: Cloud, instance_id: str) -> None:
    disk_id = add_disk(cloud, status="In_use", instance_id=instance_id, device="/dev/xvdb")
    cloud.call("DetachDisk", {"DiskId": disk_id, "InstanceId": instance_id})
    assert (row(cloud, disk_id).status, row(cloud, disk_id).instance_id) == ("Detaching", instance_id)
    [job] = cloud.jobs("disk.detach")
    assert (job.resource_id, job.lock) == (disk_id, instance_id)


def test_what_is_not_detached(cloud: Cloud, instance_id: str) -> None:
    _, vswitch_id = cloud.default_vswitch()
    other = cloud.add_instance(vswitch_id, [])
    mine = add_disk(cloud, status="In_use", instance_id=instance_id, device="/dev/xvdb")
    ephemeral = add_disk(cloud, status="In_use", category="ephemeral", instance_id=instance_id, device="/dev/xvdc")
    free = add_disk(cloud)
    expected = {
        (system_disk(cloud, instance_id), instance_id): "DiskNotPortable",
        (ephemeral, instance_id): "DiskNotPortable",
        (free, instance_id): "IncorrectDiskStatus",
        (mine, other): "InvalidOperation.DiskNotAttached",
        (mine, "i-none"): "InvalidInstanceId.NotFound",
    }
    for (disk_id, where), wanted in expected.items():
        assert code(cloud, "DetachDisk", DiskId=disk_id, InstanceId=where) == wanted
