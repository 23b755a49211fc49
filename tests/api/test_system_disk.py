"""Replacing the system disk and changing the type, as far as the store goes (SPEC D8, I8, I9)."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.errors import ApiError
from agent.core.ids import is_id
from agent.jobs.model import KINDS
from agent.store.schema import Disk, Image, ImageDisk, Instance, Job, Layer
from tests.support.agent import flat
from tests.support.cloud import START, Cloud

PASSWORD = "Passw0rd!x"


@pytest.fixture
def ready(make_cloud: Any) -> Cloud:
    cloud = make_cloud(minimum_disk_gib={"system": 1})
    cloud.add_image()
    return cloud


@pytest.fixture
def stopped(ready: Cloud) -> str:
    """A stopped instance that a key pair is bound to, with a system disk of 20 GiB."""
    _, vswitch_id = ready.default_vswitch()
    ready.call("CreateKeyPair", {"KeyPairName": "mine"})
    instance_id = ready.add_instance(vswitch_id, [], key_pair_name="mine")
    change(ready, instance_id, status="Stopped", power="off")
    return instance_id


def change(cloud: Cloud, instance_id: str, **values: object) -> None:
    with cloud.store.write() as session:
        for name, value in values.items():
            setattr(session.get_one(Instance, instance_id), name, value)


def image(cloud: Cloud, image_id: str, **values: object) -> str:
    """One more image, public unless it says otherwise."""
    given = {
        "name": image_id,
        "status": "Available",
        "os_type": "linux",
        "os_name": "Other",
        "platform": "Others Linux",
        "architecture": "x86_64",
        "size_gib": 2,
        "disks": [ImageDisk(device="/dev/xvda", kind="system", size_gib=2, file=f"{image_id}-1")],
        "created_at": START,
    }
    with cloud.store.write() as session:
        session.add(Image(id=image_id, **(given | values)))
    return image_id


def disks(cloud: Cloud) -> list[dict[str, Any]]:
    return cloud.call("DescribeDisks")["Disks"]["Disk"]


def replace(cloud: Cloud, instance_id: str, **params: object) -> str:
    wanted = {"InstanceId": instance_id, "ImageId": "tiny_x64", "KeyPairName": "mine", **params}
    return cloud.call("ReplaceSystemDisk", dict(flat(wanted)))["DiskId"]


def code(cloud: Cloud, action: str, **params: object) -> str:
    with pytest.raises(ApiError) as refused:
        cloud.call(action, dict(flat(params)))
    return refused.value.code


def test_the_new_disk_is_answered_at_once_and_a_job_makes_it(ready: Cloud, stopped: str) -> None:
    [old] = disks(ready)
    image(ready, "other")
    new_id = replace(ready, stopped, ImageId="other")
    assert is_id("disk", new_id)
    shown = {disk["DiskId"]: disk for disk in disks(ready)}
    assert shown[new_id]["Status"] == "Creating"
    assert shown[old["DiskId"]]["Status"] == "ReIniting"
    kept = ("DiskName", "Category", "Size", "Type", "DeleteAutoSnapshot", "DeleteWithInstance")
    assert [shown[new_id][name] for name in kept] == [old[name] for name in kept]
    [job] = ready.jobs("system_disk.replace")
    assert (job.lock, job.resource_id, ready.runner.wakes) == (stopped, stopped, 1)
    found = ready.call("DescribeInstanceAttribute", {"InstanceId": stopped})
    assert found["ImageId"] == "other"


def test_a_second_one_waits_for_the_first(ready: Cloud, stopped: str) -> None:
    first = replace(ready, stopped, ClientToken="once")
    assert replace(ready, stopped, ClientToken="once") == first
    wanted = {"InstanceId": stopped, "ImageId": "tiny_x64", "KeyPairName": "mine"}
    assert code(ready, "ReplaceSystemDisk", **wanted) == "IncorrectDiskStatus"
    assert len(ready.jobs("system_disk.replace")) == 1


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"InstanceId": "i-nope"}, "InvalidInstanceId.NotFound"),
        ({"ImageId": "nope"}, "InvalidImageId.NotFound"),
        ({"ImageId": "debian_12_x64"}, "InvalidImageId.NotReady"),
        ({"ImageId": "large", "SystemDisk": {"Size": 29}}, "InvalidSystemDiskSize.LessThanImageSize"),
        ({"SystemDisk": {"Size": 501}}, "InvalidSystemDiskSize.ValueNotSupported"),
        ({"KeyPairName": ""}, "MissingParameter"),
        ({"KeyPairName": "nope"}, "InvalidKeyPair.NotFound"),
        ({"KeyPairName": "", "Password": "short"}, "InvalidPassword.Malformed"),
        ({"ImageId": "windows"}, "DependencyViolation.WindowsInstance"),
        ({"ImageId": "windows", "KeyPairName": ""}, "MissingParameter"),
        ({"PasswordInherit": "true"}, "InvalidParameter.PasswordInheritConflict"),
        ({"PasswordInherit": "true", "KeyPairName": ""}, "InvalidPasswordInherit.NotSupported"),
        ({"ImageId": "i386"}, "InvalidInstanceType.ValueNotSupported"),
        ({"DiskId": "d-1"}, "UnsupportedParameter"),
        ({"Encrypted": "true"}, "UnsupportedParameter"),
        ({"ImageId": "broken"}, "IncorrectImageStatus"),
        ({"ImageId": "foreign"}, "InvalidImageId.NotFound"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_changes(
    ready: Cloud, stopped: str, params: dict[str, object], expected: str
) -> None:
    change(ready, stopped, instance_type="ecs.s1.medium")
    image(ready, "large", size_gib=30)
    image(ready, "windows", os_type="windows")
    image(ready, "i386", architecture="i386")
    image(ready, "broken", status="UnAvailable")
    image(ready, "foreign", account_id=ready.add_account())
    before = ready.call("DescribeInstanceAttribute", {"InstanceId": stopped})
    wanted = {"InstanceId": stopped, "ImageId": "tiny_x64", "KeyPairName": "mine", **params}
    assert code(ready, "ReplaceSystemDisk", **wanted) == expected
    assert [disk["Status"] for disk in disks(ready)] == ["In_use"]
    assert ready.call("DescribeInstanceAttribute", {"InstanceId": stopped}) == before
    assert ready.jobs("system_disk.replace") == []
    with ready.store.read() as session:
        assert session.query(Layer).count() == 1


def test_only_a_stopped_instance(ready: Cloud, stopped: str) -> None:
    for status in ("Pending", "Starting", "Running", "Stopping"):
        change(ready, stopped, status=status)
        wanted = {"InstanceId": stopped, "ImageId": "tiny_x64", "Password": PASSWORD}
        assert code(ready, "ReplaceSystemDisk", **wanted) == "IncorrectInstanceStatus"
        assert code(ready, "ModifyInstanceSpec", InstanceId=stopped, InstanceType="ecs.s1.small") == (
            "IncorrectInstanceStatus"
        )


@pytest.mark.parametrize(
    ("image_gib", "asked", "expected"), [(2, None, 20), (30, None, 30), (2, 7, 7), (30, 31, 31), (2, 40, 40)]
)
def test_sizes(ready: Cloud, stopped: str, image_gib: int, asked: int | None, expected: int) -> None:
    image(ready, "other", size_gib=image_gib)
    params = {} if asked is None else {"SystemDisk": {"Size": asked}}
    new_id = replace(ready, stopped, ImageId="other", **params)
    assert {disk["DiskId"]: disk["Size"] for disk in disks(ready)}[new_id] == expected


def test_from_linux_to_windows_and_back(ready: Cloud, stopped: str) -> None:
    image(ready, "windows", os_type="windows", os_name="Windows Server", size_gib=40, virtio=False)
    change(ready, stopped, host_name="a-name-of-more-than-15-letters")
    replace(ready, stopped, ImageId="windows", KeyPairName="", Password=PASSWORD)
    with ready.store.read() as session:
        found = session.get_one(Instance, stopped)
        assert (found.os_type, found.os_name, found.virtio, found.key_pair_name) == (
            *("windows", "Windows Server", False),
            None,
        )
        assert found.password_hash is None
        assert found.password is not None
        assert ready.services.sealer.open(found.password) == PASSWORD
        assert found.host_name == stopped[:15]
    finish(ready, stopped)
    change(ready, stopped, windows_seed_id="done")
    replace(ready, stopped)
    with ready.store.read() as session:
        found = session.get_one(Instance, stopped)
        assert (found.os_type, found.virtio, found.key_pair_name, found.password) == ("linux", True, "mine", None)
        assert found.windows_seed_id is None


def finish(cloud: Cloud, instance_id: str) -> None:
    """As the job leaves it."""
    with cloud.store.write() as session:
        job = session.query(Job).filter_by(kind="system_disk.replace").one()
        new = session.get_one(Disk, job.data["new"])
        new.instance_id, new.status, new.device = instance_id, "In_use", "/dev/xvda"
        session.delete(session.get_one(Disk, job.data["old"]))
        session.delete(job)


def test_a_custom_image_may_keep_the_login_or_bring_its_own(ready: Cloud, stopped: str) -> None:
    own = image(ready, "m-own", account_id=ready.account_id)
    replace(ready, stopped, ImageId=own, KeyPairName="")
    with ready.store.read() as session:
        assert session.get_one(Instance, stopped).key_pair_name == "mine"
    finish(ready, stopped)
    replace(ready, stopped, ImageId=own, KeyPairName="", PasswordInherit="true")
    with ready.store.read() as session:
        found = session.get_one(Instance, stopped)
        assert (found.key_pair_name, found.password_hash) == (None, None)


def test_a_key_pair_goes_before_a_password(ready: Cloud, stopped: str) -> None:
    replace(ready, stopped, Password=PASSWORD)
    with ready.store.read() as session:
        assert session.get_one(Instance, stopped).password_hash is None


def test_a_failure_puts_everything_back(ready: Cloud, stopped: str) -> None:
    change(ready, stopped, password=b"\x00sealed", os_type="windows", host_name="win", virtio=False)
    with ready.store.read() as session:
        before = _columns(session.get_one(Instance, stopped))
    new_id = replace(ready, stopped)
    with ready.store.write() as session:
        job = session.query(Job).filter_by(kind="system_disk.replace").one()
        KINDS["system_disk.replace"].failed(session, job, START)
    with ready.store.read() as session:
        assert _columns(session.get_one(Instance, stopped)) == before
        assert session.get(Disk, new_id) is None
        assert session.query(Job).filter_by(kind="system_disk.replace").one().data == {}
    assert [disk["Status"] for disk in disks(ready)] == ["In_use"]
    assert [job.resource_id.split(".")[0] for job in ready.jobs("layers.collect")] == [new_id]


def _columns(instance: Instance) -> dict[str, object]:
    return {column.name: getattr(instance, column.name) for column in Instance.__table__.columns}


# ------------------------------------------------------------------------------ the type


def test_a_type_up_and_down(ready: Cloud, stopped: str) -> None:
    for type_id, vcpus, memory_mib in (("ecs.s2.large", 2, 4096), ("ecs.t1.small", 1, 1024), ("ecs.t1.small", 1, 1024)):
        ready.call("ModifyInstanceSpec", {"InstanceId": stopped, "InstanceType": type_id})
        found = ready.call("DescribeInstances")["Instances"]["Instance"][0]
        assert (found["InstanceType"], found["Cpu"], found["Memory"]) == (type_id, vcpus, memory_mib)
        assert found["Status"] == "Stopped"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"InstanceId": "i-nope"}, "InvalidInstanceId.NotFound"),
        ({"InstanceType": "ecs.none"}, "InvalidInstanceType.ValueNotSupported"),
        ({"InstanceType": ""}, "MissingParameter"),
        ({"InstanceType": "ecs.m1.medium"}, "OperationDenied.NoStock"),
        ({"InternetMaxBandwidthOut": 201}, "InvalidInternetMaxBandwidthOut.ValueNotSupported"),
        ({"Temporary": {"InternetMaxBandwidthOut": 5}}, "UnsupportedParameter"),
        ({"SystemDisk": {"Category": "cloud_ssd"}}, "UnsupportedParameter"),
        ({"Disk": [{"DiskId": "d-1", "Category": "cloud_ssd"}]}, "UnsupportedParameter"),
        ({"DryRun": "true"}, "DryRunOperation"),
    ],
)
def test_types_that_are_refused(ready: Cloud, stopped: str, params: dict[str, object], expected: str) -> None:
    wanted = {"InstanceId": stopped, "InstanceType": "ecs.s1.small", **params}
    assert code(ready, "ModifyInstanceSpec", **wanted) == expected
    assert ready.call("DescribeInstances")["Instances"]["Instance"][0]["InstanceType"] == "ecs.t1.small"


def test_a_type_that_the_image_cannot_use(ready: Cloud, stopped: str) -> None:
    image(ready, "i386", architecture="i386")
    change(ready, stopped, image_id="i386")
    assert code(ready, "ModifyInstanceSpec", InstanceId=stopped, InstanceType="ecs.s1.medium") == (
        "InvalidInstanceType.ValueNotSupported"
    )
    change(ready, stopped, image_id="gone")
    ready.call("ModifyInstanceSpec", {"InstanceId": stopped, "InstanceType": "ecs.s1.medium"})


def test_the_prepaid_way_is_for_prepaid_instances(ready: Cloud, stopped: str) -> None:
    wanted = {"RegionId": "local", "InstanceId": stopped, "InstanceType": "ecs.s1.small"}
    assert code(ready, "ModifyPrepayInstanceSpec", **wanted) == "ChargeTypeViolation"
    change(ready, stopped, charge_type="PrePaid")
    assert code(ready, "ModifyInstanceSpec", **wanted) == "ChargeTypeViolation"
    assert code(ready, "ModifyPrepayInstanceSpec", **wanted, EndTime="2027-01-01T00:00Z") == "UnsupportedParameter"
    assert ready.call("ModifyPrepayInstanceSpec", wanted) == {"OrderId": ""}
