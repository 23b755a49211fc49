"""Custom images over the API: made of instances and snapshots, changed and deleted (SPEC M2, M3, M11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from agent.core.errors import ApiError
from agent.jobs import snapshots
from agent.jobs.layers import tree
from agent.jobs.model import Drivers
from agent.jobs.runner import JobRunner
from agent.store.schema import Disk, Image, Instance, Job, Snapshot
from tests.support.agent import flat
from tests.support.cloud import Cloud
from tests.support.stored_disks import add_disk, add_snapshot, change, system_disk
from tests.support.timetable import add_disk as add_attached
from tests.support.timetable import finish_taking, take

SMALL = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small"}


@pytest.fixture
def ready(make_cloud: Callable[..., Cloud]) -> Cloud:
    cloud = make_cloud(minimum_disk_gib={"system": 1})
    cloud.add_image()
    return cloud


@pytest.fixture
def instance(ready: Cloud) -> str:
    """A running one with a system disk of 20 GiB and a data disk."""
    made = ready.add_instance(ready.default_vswitch()[1], [])
    add_attached(ready, instance_id=made)
    return made


def create(cloud: Cloud, **params: Any) -> str:
    return str(cloud.call("CreateImage", dict(flat(params)))["ImageId"])


def shown(cloud: Cloud, image_id: str) -> dict[str, Any]:
    every = "Creating,Available,CreateFailed,Deprecated"
    [found] = cloud.call("DescribeImages", {"ImageId": image_id, "Status": every})["Images"]["Image"]
    return found


def mappings(cloud: Cloud, image_id: str) -> list[tuple[str, str, str, str]]:
    found = shown(cloud, image_id)["DiskDeviceMappings"]["DiskDeviceMapping"]
    return [(one["Device"], one["Type"], one["Size"], one["SnapshotId"]) for one in found]


def code(cloud: Cloud, action: str, *, account_id: str = "", **params: Any) -> str:
    with pytest.raises(ApiError) as caught:
        cloud.call(action, dict(flat(params)), account_id=account_id)
    return caught.value.code


def data_disks(cloud: Cloud, image_id: str, *wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of a new instance of the image."""
    params = {**SMALL, "ImageId": image_id, "DataDisk": list(wanted)}
    [made] = cloud.call("RunInstances", dict(flat(params)))["InstanceIdSets"]["InstanceIdSet"]
    found = cloud.call("DescribeDisks", {"InstanceId": made, "DiskType": "data"})["Disks"]["Disk"]
    return sorted(found, key=lambda disk: disk["Device"])


@contextmanager
def jobs_running(cloud: Cloud) -> Iterator[None]:
    """Those that need no drivers; all are to end."""
    runner = JobRunner(cloud.services.config, cloud.store, cast(Drivers, None), cloud.clock, unseal=str)
    runner.start()
    runner.wake()
    yield
    for job in cloud.jobs("image.create"):
        assert runner.wait(job.id, 30)
    runner.stop()


# ------------------------------------------------------------------------------ of an instance


def test_an_instance_is_imaged_with_all_its_disks(ready: Cloud, instance: str) -> None:
    params = {"ImageName": "web", "Description": "of it", "ImageFamily": "web-servers", "ImageVersion": "2"}
    image_id = create(ready, InstanceId=instance, **params, Tag=[{"Key": "k", "Value": "v"}])
    taken = ready.call("DescribeSnapshots")["Snapshots"]["Snapshot"]
    assert [(one["Status"], one["SnapshotName"], one["Usage"]) for one in taken] == [
        ("progressing", f"of-image-{image_id}", "image")
    ] * 2
    by_kind = {one["SourceDiskType"]: one["SnapshotId"] for one in taken}
    found = shown(ready, image_id)
    assert mappings(ready, image_id) == [
        ("/dev/xvda", "system", "20", by_kind["system"]),
        ("/dev/xvdb", "data", "20", by_kind["data"]),
    ]
    wanted = {"ImageName": "web", "Status": "Creating", "Usable": False, "ImageFamily": "web-servers", "Size": 20}
    wanted |= {"ImageOwnerAlias": "self", "OSName": "Tiny", "Platform": "Others Linux", "IsPublic": False}
    assert {name: found[name] for name in wanted} == wanted
    assert found["ImageOwnerId"] == int(ready.account_id)
    assert found["Tags"]["Tag"] == [{"TagKey": "k", "TagValue": "v"}]
    for action in ("StopInstance", "RebootInstance", "CreateImage"):
        assert code(ready, action, InstanceId=instance) == "IncorrectInstanceStatus"
    assert code(ready, "DeleteImage", ImageId=image_id) == "ImageIsCreating"
    assert code(ready, "RunInstances", **{**SMALL, "ImageId": image_id}) == "IncorrectImageStatus"
    finish_taking(ready)
    with jobs_running(ready):
        pass
    assert (shown(ready, image_id)["Status"], shown(ready, image_id)["Usable"]) == ("Available", True)
    assert ready.call("DescribeImageFromFamily", {"ImageFamily": "web-servers"})["Image"]["ImageId"] == image_id
    assert ready.call("DescribeImageFromFamily", {"ImageFamily": "other"}) == {}
    ready.call("StopInstance", {"InstanceId": instance})


def test_when_a_snapshot_fails_nothing_but_the_reason_is_left(ready: Cloud, instance: str) -> None:
    image_id = create(ready, InstanceId=instance)
    finish_taking(ready, failing="the disk is full")
    with jobs_running(ready):
        pass
    found = shown(ready, image_id)
    assert (found["Status"], found["Usable"], found["ImageName"]) == ("CreateFailed", False, image_id)
    assert "the disk is full" in found["Message"]
    assert ready.call("DescribeSnapshots")["TotalCount"] == 0
    ready.call("DeleteImage", {"ImageId": image_id})
    assert ready.call("DescribeImages", {"Status": "CreateFailed"})["TotalCount"] == 0


def test_an_instance_must_be_there_and_at_rest(ready: Cloud, instance: str) -> None:
    assert code(ready, "CreateImage", InstanceId="i-none") == "InvalidInstanceId.NotFound"
    change(ready, Instance, instance, status="Starting")
    assert code(ready, "CreateImage", InstanceId=instance) == "IncorrectInstanceStatus"
    change(ready, Instance, instance, status="Running")
    ready.call("CreateSnapshot", {"DiskId": system_disk(ready, instance)})
    assert code(ready, "CreateImage", InstanceId=instance) == "IncorrectDiskStatus.CreatingSnapshot"
    assert code(ready, "CreateImage") == "MissingParameter"
    with ready.store.read() as session:
        assert session.query(Image).count() == 1  # the public one: nothing half done


# ------------------------------------------------------------------------------ of snapshots


def test_an_image_of_snapshots_and_an_empty_disk(ready: Cloud, instance: str) -> None:
    system = take(ready, system_disk(ready, instance))
    data = add_snapshot(ready, add_disk(ready, size_gib=30))
    image_id = create(
        ready,
        SnapshotId=system,
        DiskDeviceMapping=[{"SnapshotId": data}, {"Device": "/dev/xvdb"}, {"Size": 7}],
        Platform="Debian",
    )
    assert shown(ready, image_id)["Status"] == "Available"
    assert shown(ready, image_id)["Platform"] == "Debian"
    assert mappings(ready, image_id) == [
        ("/dev/xvda", "system", "20", system),
        ("/dev/xvdb", "data", "5", ""),
        ("/dev/xvdc", "data", "30", data),
        ("/dev/xvdd", "data", "7", ""),
    ]
    larger = create(ready, DiskDeviceMapping=[{"SnapshotId": system, "DiskType": "system", "Size": 25}])
    assert mappings(ready, larger) == [("/dev/xvda", "system", "25", system)]
    assert code(ready, "DeleteSnapshot", SnapshotId=data, Force="true") == "SnapshotCreatedImage"
    [usage] = ready.call("DescribeSnapshots", {"Usage": "image", "SourceDiskType": "data"})["Snapshots"]["Snapshot"]
    assert usage["SnapshotId"] == data
    assert ready.call("DescribeImages", {"SnapshotId": data})["TotalCount"] == 1


def test_what_was_on_the_disk_is_remembered_by_its_snapshot(ready: Cloud, instance: str) -> None:
    """Image and instance may both be gone when an image is made of it."""
    change(ready, Image, "tiny_x64", platform="Debian", architecture="i386", default_user="lena")
    change(ready, Instance, instance, virtio=False)
    snapshot_id = take(ready, system_disk(ready, instance))
    change(ready, Image, "tiny_x64", os_name="Newer", platform="Ubuntu")
    image_id = create(ready, SnapshotId=snapshot_id)
    with ready.store.read() as session:
        made = session.get_one(Image, image_id)
        assert (made.os_name, made.platform, made.architecture) == ("Tiny", "Debian", "i386")
        assert (made.virtio, made.default_user, made.setup) == (False, "lena", "seed")


def test_it_is_looked_into_as_soon_as_it_is_there(ready: Cloud, instance: str) -> None:
    of_instance = create(ready, InstanceId=instance, DetectionStrategy="Standard")
    assert ready.jobs("image.check") == []
    finish_taking(ready)
    with jobs_running(ready):
        pass
    [job] = ready.jobs("image.check")
    assert (job.resource_id, job.account_id) == (of_instance, ready.account_id)
    assert shown(ready, of_instance)["DetectionOptions"]["Status"] == "Processing"
    snapshot_id = take(ready, system_disk(ready, instance))
    of_snapshot = create(ready, SnapshotId=snapshot_id, DetectionStrategy="Standard")
    create(ready, SnapshotId=snapshot_id, DetectionStrategy="")
    assert [job.resource_id for job in ready.jobs("image.check")] == [of_instance, of_snapshot]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"SnapshotId": "s-none"}, "InvalidSnapshotId.NotFound"),
    ({"SnapshotId": "DATA"}, "OperationDenied"),
    ({"DiskDeviceMapping": [{"Size": 5}]}, "OperationDenied"),
    ({"DiskDeviceMapping": [{"SnapshotId": "SYSTEM"}, {"SnapshotId": "SYSTEM"}]}, "OperationDenied"),
    ({"DiskDeviceMapping": [{"SnapshotId": "DATA", "DiskType": "system"}]}, "OperationDenied"),
    ({"SnapshotId": "SYSTEM", "DiskDeviceMapping": [{"Size": 4}]}, "InvalidSize.ValueNotSupported"),
    ({"SnapshotId": "SYSTEM", "DiskDeviceMapping": [{"Size": 2001}]}, "InvalidSize.ValueNotSupported"),
    ({"DiskDeviceMapping": [{"SnapshotId": "SYSTEM", "Size": 19}]}, "InvalidSize.ValueNotSupported"),
    ({"SnapshotId": "SYSTEM", "DiskDeviceMapping": [{"Device": "/dev/xvda"}]}, "InvalidDevice.Malformed"),
    ({"SnapshotId": "SYSTEM", "DiskDeviceMapping": [{"Size": 5}] * 17}, "InstanceDiskLimitExceeded"),
    ({"SnapshotId": "SYSTEM", "DiskDeviceMapping": [{"Size": 5}] * 18}, "InvalidParameter"),
    ({"SnapshotId": "SYSTEM", "ImageName": "1st"}, "InvalidImageName.Malformed"),
    ({"SnapshotId": "SYSTEM", "ImageName": "taken"}, "InvalidImageName.Duplicated"),
    ({"SnapshotId": "SYSTEM", "Description": "x"}, "InvalidDescription.Malformed"),
    ({"SnapshotId": "SYSTEM", "ImageFamily": "1"}, "InvalidImageFamily.Malformed"),
    ({"SnapshotId": "SYSTEM", "ImageVersion": "x" * 41}, "InvalidImageVersion.Malformed"),
    ({"SnapshotId": "SYSTEM", "Platform": "BeOS"}, "InvalidPlatform.ValueNotSupported"),
    ({"SnapshotId": "SYSTEM", "DetectionStrategy": "Thorough"}, "InvalidDetectionStrategy.ValueNotSupported"),
    ({"SnapshotId": "SYSTEM", "BootMode": "UEFI"}, "InvalidBootMode.NotSupport"),
    ({"SnapshotId": "SYSTEM", "DryRun": "true"}, "DryRunOperation"),
]


def test_what_is_no_image_is_refused(ready: Cloud, instance: str) -> None:
    system, data = take(ready, system_disk(ready, instance)), add_snapshot(ready, add_disk(ready))
    create(ready, SnapshotId=system, ImageName="taken")
    names = {"SYSTEM": system, "DATA": data}
    for params, expected in REFUSED:
        given = {name: names.get(value, value) for name, value in flat(params).items()}
        assert code(ready, "CreateImage", **given) == expected, params
    with ready.store.read() as session:
        assert session.query(Image).count() == 2


# ------------------------------------------------------------------------------ instances of it


@pytest.fixture
def whole(ready: Cloud, instance: str) -> str:
    """An image with a data disk of 30 GiB at xvdb and an empty one of 5 GiB at xvdc."""
    system = take(ready, system_disk(ready, instance))
    data = add_snapshot(ready, add_disk(ready, size_gib=30))
    return create(ready, SnapshotId=system, DiskDeviceMapping=[{"SnapshotId": data}, {"Device": "/dev/xvdc"}])


def test_instances_get_the_data_disks_of_the_image(ready: Cloud, whole: str) -> None:
    made = data_disks(ready, whole)
    assert [(disk["Device"], disk["Size"], disk["Category"]) for disk in made] == [
        ("/dev/xvdb", 30, "cloud"),
        ("/dev/xvdc", 5, "cloud"),
    ]
    assert {(disk["ImageId"], disk["SourceSnapshotId"], disk["DeleteWithInstance"]) for disk in made} == {
        (whole, "", True)
    }
    with ready.store.read() as session:
        first, second = (session.get_one(Disk, disk["DiskId"]).layer for disk in made)
        assert (first.parent_id is not None, second.parent_id) == (True, None)
    changed = {"Device": "/dev/xvdc", "Size": 40, "Category": "cloud_ssd", "DiskName": "log"}
    made = data_disks(ready, whole, changed, {"Size": 31}, {"Size": 9})
    assert [(disk["Device"], disk["Size"], disk["Category"], disk["DiskName"]) for disk in made] == [
        ("/dev/xvdb", 31, "cloud", ""),
        ("/dev/xvdc", 40, "cloud_ssd", "log"),
        ("/dev/xvdd", 9, "cloud", ""),
    ]
    smaller = flat({**SMALL, "ImageId": whole, "DataDisk": [{"Size": 29}]})
    assert code(ready, "RunInstances", **smaller) == "InvalidDiskSize.TooSmall"
    assert code(ready, "RunInstances", **{**SMALL, "ImageId": whole, "SystemDisk.Size": 19}) == (
        "InvalidSystemDiskSize.LessThanImageSize"
    )


def test_a_snapshot_that_is_asked_for_comes_before_the_images_disk(ready: Cloud, whole: str) -> None:
    other = add_snapshot(ready, add_disk(ready, size_gib=20))
    made = data_disks(ready, whole, {"SnapshotId": other, "Device": "/dev/xvdb"}, {"SnapshotId": other})
    assert [(disk["Device"], disk["Size"], disk["SourceSnapshotId"]) for disk in made] == [
        ("/dev/xvdb", 20, other),
        ("/dev/xvdc", 5, ""),
        ("/dev/xvdd", 20, other),
    ]


def test_it_cannot_replace_a_system_disk(ready: Cloud, instance: str, whole: str) -> None:
    change(ready, Instance, instance, status="Stopped")
    assert code(ready, "ReplaceSystemDisk", InstanceId=instance, ImageId=whole, Password="Passw0rd!x") == (
        "OperationDenied"
    )
    found = ready.call("DescribeImages", {"ActionType": "ChangeOS"})["Images"]["Image"]
    assert [one["ImageId"] for one in found] == ["tiny_x64"]


# ------------------------------------------------------------------------------ changing, deleting


def test_an_image_is_renamed_and_deprecated(ready: Cloud, whole: str) -> None:
    wanted = {"ImageName": "other", "Description": "new one", "ImageFamily": "family"}
    ready.call("ModifyImageAttribute", {"ImageId": whole, **wanted})
    assert {name: shown(ready, whole)[name] for name in wanted} == wanted
    ready.call("ModifyImageAttribute", {"ImageId": whole, "ImageName": "other", "Description": ""})
    assert shown(ready, whole)["Description"] == ""
    ready.call("ModifyImageAttribute", {"ImageId": whole, "Status": "Deprecated"})
    assert shown(ready, whole)["Usable"] is True
    assert ready.call("DescribeImageFromFamily", {"ImageFamily": "family"}) == {}
    assert data_disks(ready, whole)
    again = {"ImageId": whole, "Status": "Deprecated"}
    assert code(ready, "ModifyImageAttribute", **again) == "ImageStatus.NotAvailable"
    ready.call("ModifyImageAttribute", {"ImageId": whole, "Status": "Available"})
    again["Status"] = "Available"
    assert code(ready, "ModifyImageAttribute", **again) == "ImageStatus.NotDeprecated"
    assert code(ready, "ModifyImageAttribute", ImageId="tiny_x64", ImageName="mine") == "InvalidImageId.NotFound"


def test_an_image_in_use_is_deleted_by_force_and_its_disks_stay_as_they_are(ready: Cloud, whole: str) -> None:
    [first, _] = data_disks(ready, whole)
    made = str(first["InstanceId"])
    assert code(ready, "DeleteImage", ImageId=whole) == "ImageUsingByInstance"
    assert code(ready, "DeleteImage", ImageId="tiny_x64") == "InvalidImageId.NotFound"
    change(ready, Instance, made, status="Stopped")
    for disk in ready.call("DescribeDisks", {"InstanceId": made})["Disks"]["Disk"]:
        change(ready, Disk, disk["DiskId"], status="In_use")
    ready.call("ReInitDisk", {"DiskId": first["DiskId"]})
    change(ready, Disk, first["DiskId"], status="In_use")
    with ready.store.write() as session:
        session.query(Job).update({"state": "succeeded"})
    ready.call("DeleteImage", {"ImageId": whole, "Force": True})
    assert ready.jobs("image.drop_files") == []
    assert code(ready, "DescribeImageSharePermission", ImageId=whole) == "InvalidImageId.NotFound"
    for disk_id, params in ((first["DiskId"], {}), (system_disk(ready, made), {"Password": "Passw0rd!x"})):
        assert code(ready, "ReInitDisk", DiskId=disk_id, **params) == "InvalidOperation.ImageNotFound"
    for snapshot in ready.call("DescribeSnapshots")["Snapshots"]["Snapshot"]:
        assert snapshot["Usage"] == "none"
        ready.call("DeleteSnapshot", {"SnapshotId": snapshot["SnapshotId"]})


def test_an_images_own_files_go_with_it(ready: Cloud, whole: str) -> None:
    with ready.store.write() as session:
        disk = session.get_one(Image, whole).data[1]
        disk.file = "m-file"
    ready.call("DeleteImage", {"ImageId": whole})
    [job] = ready.jobs("image.drop_files")
    assert job.data == {"files": ["m-file"]}


def test_automatic_snapshots_of_an_image_outlive_their_disk_and_days(ready: Cloud, instance: str) -> None:
    snapshot_id = take(ready, system_disk(ready, instance))
    change(ready, Snapshot, snapshot_id, kind="auto", expires_at=ready.clock.now())
    image_id = create(ready, SnapshotId=snapshot_id)
    with ready.caller() as caller:
        disk = caller.session.get_one(Disk, system_disk(ready, instance))
        assert not snapshots.make_room(caller.session, disk.id, 1, ready.clock.now())
        tree.forget_disk(caller.session, disk, ready.clock.now())
    assert mappings(ready, image_id)[0][3] == snapshot_id
