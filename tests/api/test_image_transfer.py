"""ImportImage, ExportImage, buckets and tasks as their callers see them."""

from __future__ import annotations

import os
from typing import Any

import pytest

from agent.api.edge.registry import HOST
from agent.core.errors import ApiError, DryRunOperation
from agent.store.schema import Image, ImageDisk, Job
from tests.support.cloud import Cloud

LINUX = {"Platform": "Debian", "ImageName": "mine"}


@pytest.fixture
def files(cloud: Cloud, tmp_path: Any) -> str:
    """A bucket with a system disk and a data disk, as if they had been put there by hand."""
    cloud.call("CreateBucket", {"Bucket": "files"}, version=HOST)
    for key in ("system.vhd", "dir/data.raw"):
        (tmp_path / "content").write_bytes(b"content of " + key.encode())
        cloud.objects.put("files", key, tmp_path / "content")
    return "files"


def _disks(*keys: str, **first: Any) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for number, key in enumerate(keys, 1):
        params |= {f"DiskDeviceMapping.{number}.OSSBucket": "files", f"DiskDeviceMapping.{number}.OSSObject": key}
    return params | {f"DiskDeviceMapping.1.{name}": value for name, value in first.items()}


def _image(cloud: Cloud, image_id: str) -> Image:
    with cloud.store.read() as session:
        return session.get_one(Image, image_id)


def _refused(cloud: Cloud, action: str, params: dict[str, Any], **options: Any) -> str:
    with pytest.raises(ApiError) as caught:
        cloud.call(action, params, **options)
    return caught.value.code


def test_an_import_is_an_image_that_is_being_made_and_a_task(cloud: Cloud, files: str) -> None:
    params = _disks("system.vhd", "dir/data.raw", Format="VHD", DiskImageSize=40) | LINUX | {"Tag.1.Key": "a"}
    made = cloud.call("ImportImage", params | {"ClientToken": "once"})
    assert cloud.call("ImportImage", params | {"ClientToken": "once"}) == made
    [shown] = cloud.call("DescribeImages", {"ImageId": made["ImageId"], "Status": "Creating"})["Images"]["Image"]
    assert (shown["ImageName"], shown["Platform"], shown["OSName"]) == ("mine", "Debian", "Debian 64 bit")
    assert (shown["Status"], shown["Size"], shown["Progress"]) == ("Creating", 40, "0%")
    assert shown["Tags"]["Tag"] == [{"TagKey": "a", "TagValue": ""}]
    [job] = cloud.jobs("image.import")
    assert (job.id, job.resource_id) == (made["TaskId"], made["ImageId"])
    system, data = job.data["disks"]
    assert (system["device"], system["format"], system["size_gib"], system["exact"]) == ("/dev/xvda", "vhd", 40, True)
    assert (data["device"], data["kind"], data["size_gib"], data["exact"]) == ("/dev/xvdb", "data", 5, False)
    [task] = cloud.call("DescribeTasks", {"ResourceIds.1": made["ImageId"]})["TaskSet"]["Task"]
    assert (task["TaskAction"], task["TaskStatus"], task["SupportCancel"]) == ("ImportImage", "Waiting", "true")


PLATFORMS = [
    ("Ubuntu", "linux", "seed", True),
    ("opensuse", "linux", "seed", True),
    ("Customized Linux", "linux", "edit", True),
    ("Others Linux", "linux", "none", False),
    ("", "linux", "none", False),
    ("Windows Server 2012", "windows", "seed", False),
]


def test_the_platform_says_what_is_usual(cloud: Cloud, files: str) -> None:
    for platform, os_type, setup, virtio in PLATFORMS:
        made = _image(cloud, cloud.call("ImportImage", _disks("system.vhd") | {"Platform": platform})["ImageId"])
        assert (made.os_type, made.setup, made.virtio) == (os_type, setup, virtio)
        said = {"Platform": platform, "Virtio": "true", "Setup": "seed"}
        other = _image(cloud, cloud.call("ImportImage", _disks("system.vhd") | said)["ImageId"])
        assert (other.setup, other.virtio) == ("seed", True)


WRONG_IMPORTS: list[tuple[dict[str, Any], str]] = [
    ({}, "MissingParameter"),
    (_disks("gone.raw"), "InvalidOSSObject.NotFound"),
    (_disks("../system.vhd"), "InvalidOSSObject.NotFound"),
    (_disks("system.vhd", OSSBucket="other"), "InvalidOSSBucket.NotFound"),
    (_disks("system.vhd", OSSBucket=""), "MissingParameter"),
    (_disks("system.vhd", Format="zip"), "InvalidFormat.ValueNotSupported"),
    (_disks("system.vhd", DiskImageSize=10), "InvalidDiskImageSize.ValueNotSupported"),
    (_disks("system.vhd", DiskImageSize=501), "InvalidDiskImageSize.ValueNotSupported"),
    (_disks("system.vhd", DiskImageSize=39) | {"OSType": "windows"}, "InvalidDiskImageSize.ValueNotSupported"),
    (_disks("system.vhd", Device="/dev/xvdb"), "InvalidDevice.Malformed"),
    (_disks("system.vhd") | {"Platform": "Plan 9"}, "InvalidPlatform.ValueNotSupported"),
    (_disks("system.vhd") | {"Platform": "Debian", "OSType": "windows"}, "InvalidPlatform.ValueNotSupported"),
    (_disks("system.vhd") | {"Architecture": "arm64"}, "InvalidArchitecture.ValueNotSupported"),
    (_disks("system.vhd") | {"ImageName": "1"}, "InvalidImageName.Malformed"),
    (_disks("system.vhd") | {"Description": "http://x"}, "InvalidDescription.Malformed"),
    (_disks("system.vhd") | {"BootMode": "UEFI"}, "UnsupportedParameter"),
    (_disks("system.vhd") | {"DetectionStrategy": "Thorough"}, "InvalidDetectionStrategy.ValueNotSupported"),
    ({"DiskDeviceMapping.1.OSSObject": "http://169.254.169.254/latest"}, "InvalidOSSObject.Malformed"),
    ({"DiskDeviceMapping.1.OSSObject": "https://files.example.com/system.vhd"}, "InvalidOSSObject.Malformed"),
    ({"DiskDeviceMapping.1.OSSObject": "file:///etc/shadow"}, "InvalidOSSObject.Malformed"),
]


def test_a_wrong_import_is_refused_at_once(cloud: Cloud, files: str) -> None:
    for params, code in WRONG_IMPORTS:
        assert _refused(cloud, "ImportImage", params) == code, params
    assert cloud.jobs("image.import") == []


def test_an_object_can_be_named_by_its_address(cloud: Cloud, files: str) -> None:
    cloud.call("ImportImage", {"DiskDeviceMapping.1.OSSObject": "oss://files/dir/data.raw"})
    [job] = cloud.jobs("image.import")
    assert (job.data["disks"][0]["bucket"], job.data["disks"][0]["object"]) == ("files", "dir/data.raw")
    with pytest.raises(DryRunOperation):
        cloud.call("ImportImage", _disks("system.vhd") | {"DryRun": "true"})
    assert len(cloud.jobs("image.import")) == 1


def test_nobody_imports_from_the_bucket_of_another_account(cloud: Cloud, files: str) -> None:
    other = cloud.add_account()
    assert _refused(cloud, "ImportImage", _disks("system.vhd"), account_id=other) == "InvalidOSSBucket.NotFound"
    for action, params in (
        ("DescribeObjects", {"Bucket": "files"}),
        ("DeleteBucket", {"Bucket": "files"}),
        ("DeleteObject", {"Bucket": "files", "Object": "system.vhd"}),
        ("OpenDownload", {"Bucket": "files", "Object": "system.vhd"}),
    ):
        assert _refused(cloud, action, params, version=HOST, account_id=other) == "NoSuchBucket"
    assert _refused(cloud, "CreateBucket", {"Bucket": "files"}, version=HOST, account_id=other) == "BucketAlreadyExists"
    assert cloud.call("DescribeBuckets", version=HOST, account_id=other)["TotalCount"] == 0


def test_a_file_is_imported_by_its_handle(cloud: Cloud) -> None:
    handle = cloud.runner.open_files.put(os.open("/dev/null", os.O_RDONLY), "some/disk.raw")
    made = cloud.call("ImportImageFile", {"Disk.1.Source": handle, "Platform": "Debian"}, version=HOST)
    [job] = cloud.jobs("image.import")
    assert (job.id, job.data["disks"][0]["name"]) == (made["TaskId"], "some/disk.raw")
    cloud.runner.open_files.drop(handle)
    gone = {"Disk.1.Source": handle, "Platform": "Debian"}
    assert _refused(cloud, "ImportImageFile", gone, version=HOST) == "InvalidFileHandle.NotFound"


# ------------------------------------------------------------------------------ buckets


def test_a_bucket_is_named_as_object_stores_have_it(cloud: Cloud) -> None:
    for name in ("ab", "Files", "-files", "files-", "fi.les", "ecs-import-1", "a" * 64):
        assert _refused(cloud, "CreateBucket", {"Bucket": name}, version=HOST) == "InvalidBucketName", name


def test_buckets_come_and_go(cloud: Cloud, files: str) -> None:
    cloud.call("CreateBucket", {"Bucket": "files"}, version=HOST)  # it is the caller's already
    assert _refused(cloud, "DeleteBucket", {"Bucket": "files"}, version=HOST) == "BucketNotEmpty"
    for key in ("system.vhd", "dir/data.raw", "dir/data.raw"):
        cloud.call("DeleteObject", {"Bucket": "files", "Object": key}, version=HOST)
    cloud.call("CreateUpload", {"Object": "x", "Size": 1}, version=HOST)
    [shown] = cloud.call("DescribeBuckets", version=HOST)["Buckets"]["Bucket"]
    assert (shown["Bucket"], shown["Kind"]) == ("files", "local"), "the hidden one is not listed"
    cloud.call("DeleteBucket", {"Bucket": "files"}, version=HOST)
    assert cloud.call("DescribeBuckets", version=HOST)["TotalCount"] == 0


# ------------------------------------------------------------------------------ exports and tasks


@pytest.fixture
def custom(cloud: Cloud, files: str) -> str:
    """An image of the account, of one file."""
    cloud.add_image("m-custom")
    with cloud.store.write() as session:
        session.get_one(Image, "m-custom").account_id = cloud.account_id
    return "m-custom"


def test_an_export_has_a_name_of_its_own(cloud: Cloud, custom: str) -> None:
    wanted = {"ImageId": custom, "OSSBucket": "files", "OSSPrefix": "PREFIX"}
    tasks = [
        cloud.call("ExportImage", wanted | {"ImageFormat": name})["TaskId"] for name in ("", "VHD", "qcow2", "vmdk")
    ]
    found = [job.data["object"] for job in cloud.jobs("image.export")]
    assert len({name.rpartition(".")[0] for name in found}) == 4
    assert all(name.startswith(f"PREFIX-{custom}-") for name in found)
    assert [name.rpartition(".")[2] for name in found] == ["raw", "vhd", "qcow2", "vmdk"]
    shown = cloud.call("DescribeTaskAttribute", {"TaskId": tasks[1]})
    [operation] = shown["OperationProgressSet"]["OperationProgress"]
    assert operation["RelatedItemSet"]["RelatedItem"] == [
        {"Name": "ImageId", "Value": custom},
        {"Name": "OSSBucket", "Value": "files"},
        {"Name": "OSSObject", "Value": found[1]},
        {"Name": "ImageFormat", "Value": "vhd"},
    ]
    assert _refused(cloud, "DeleteBucket", {"Bucket": "files"}, version=HOST) == "BucketNotEmpty"


WRONG_EXPORTS: list[tuple[dict[str, Any], str]] = [
    ({"ImageId": "m-gone"}, "InvalidImageId.NotFound"),
    ({"ImageId": "tiny_x64"}, "InvalidImageId.NotFound"),
    ({"OSSBucket": "gone"}, "InvalidOSSBucket.NotFound"),
    ({"OSSPrefix": "../x"}, "InvalidOSSPrefix.Malformed"),
    ({"ImageFormat": "vdi"}, "InvalidImageFormat.Malformed"),
]


def test_a_wrong_export_is_refused(cloud: Cloud, custom: str) -> None:
    cloud.add_image("tiny_x64")
    for params, code in WRONG_EXPORTS:
        assert _refused(cloud, "ExportImage", {"ImageId": custom, "OSSBucket": "files"} | params) == code, params


def test_an_image_with_data_disks_is_not_exported(cloud: Cloud, custom: str) -> None:
    with cloud.store.write() as session:
        session.add(ImageDisk(image_id=custom, device="/dev/xvdb", kind="data", size_gib=5))
    assert _refused(cloud, "ExportImage", {"ImageId": custom, "OSSBucket": "files"}) == "ImageNotSupported"


def test_tasks_are_found_and_cancelled(cloud: Cloud, custom: str) -> None:
    exported = cloud.call("ExportImage", {"ImageId": custom, "OSSBucket": "files"})["TaskId"]
    imported = cloud.call("ImportImage", _disks("system.vhd"))["TaskId"]
    _check_finding(cloud, exported, imported)
    cloud.call("CancelTask", {"TaskId": imported})
    cloud.call("CancelTask", {"TaskId": imported})
    assert [job.cancelling for job in cloud.jobs("image.import")] == [True]
    _set(cloud, imported, state="undoing")
    cloud.call("CancelTask", {"TaskId": imported})
    _set(cloud, imported, state="cancelled", finished_at=cloud.clock.now(), message="cancelled on request")
    shown = cloud.call("DescribeTaskAttribute", {"TaskId": imported})
    assert (shown["TaskStatus"], shown["FailedCount"], shown["SuccessCount"]) == ("Deleted", 1, 0)
    assert shown["SupportCancel"] == "false"
    for task_id in (imported, exported):
        _set(cloud, task_id, state="succeeded")
        assert _refused(cloud, "CancelTask", {"TaskId": task_id}) == "InvalidTaskId.IncorrectTaskStatus"
    assert cloud.call("DescribeTaskAttribute", {"TaskId": exported})["TaskProcess"] == "100%"


def _check_finding(cloud: Cloud, exported: str, imported: str) -> None:
    def found(**params: Any) -> list[str]:
        return [task["TaskId"] for task in cloud.call("DescribeTasks", params)["TaskSet"]["Task"]]

    assert found() == [imported, exported]
    assert found(TaskAction="ExportImage") == [exported]
    assert found(TaskStatus="Waiting", TaskIds=imported) == [imported]
    assert found(TaskStatus="Finished") == found(TaskGroupId="x") == found(EndTime="2000-01-01T00:00Z") == []
    assert found(StartTime="2000-01-01T00:00Z", PageSize="1") == [imported]


def _set(cloud: Cloud, task_id: str, **values: Any) -> None:
    with cloud.store.write() as session:
        job = session.query(Job).filter_by(id=task_id).one()
        for name, value in values.items():
            setattr(job, name, value)


def test_what_is_no_task_is_not_found(cloud: Cloud, custom: str) -> None:
    task_id = cloud.call("ExportImage", {"ImageId": custom, "OSSBucket": "files"})["TaskId"]
    other = cloud.add_account()
    for action in ("DescribeTaskAttribute", "CancelTask"):
        assert _refused(cloud, action, {"TaskId": "t-gone"}) == "InvalidTaskId.NotFound"
        assert _refused(cloud, action, {"TaskId": task_id}, account_id=other) == "InvalidTaskId.NotFound"
