"""Changing, growing and deleting disks, and giving them other content, over the API (SPEC D4-D7, D9)."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.errors import ApiError
from agent.store.schema import Disk, Instance, Snapshot
from tests.support.agent import flat
from tests.support.cloud import Cloud
from tests.support.stored_disks import add_disk, add_snapshot, change, row, system_disk

PASSWORD = "Passw0rd!x"


@pytest.fixture
def stopped(cloud: Cloud) -> str:
    _, vswitch_id = cloud.default_vswitch()
    cloud.add_image()
    instance_id = cloud.add_instance(vswitch_id, [])
    change(cloud, Instance, instance_id, status="Stopped", power="off", password_hash="old")
    return instance_id


def code(cloud: Cloud, action: str, **params: Any) -> str:
    with pytest.raises(ApiError) as refused:
        cloud.call(action, dict(flat(params)))
    return refused.value.code


# ------------------------------------------------------------------------------ attributes


def test_attributes_and_flags_of_several(cloud: Cloud) -> None:
    ids = [add_disk(cloud) for _ in range(2)]
    changes = {"DiskName": "both", "Description": "", "DeleteWithInstance": "true", "DeleteAutoSnapshot": "false"}
    cloud.call("ModifyDiskAttribute", dict(flat({"DiskIds": ids, **changes, "EnableAutoSnapshot": "false"})))
    found = cloud.call("DescribeDisks", {"DiskName": "both", "EnableAutoSnapshot": "false"})["Disks"]["Disk"]
    assert {disk["DiskId"] for disk in found} == set(ids)
    assert {(disk["DeleteWithInstance"], disk["DeleteAutoSnapshot"]) for disk in found} == {(True, False)}
    cloud.call("ModifyDiskAttribute", {"DiskId": ids[0], "DiskName": "one"})
    assert (row(cloud, ids[0]).name, row(cloud, ids[1]).name) == ("one", "both")


def test_attributes_that_are_refused_change_nothing(cloud: Cloud) -> None:
    disk_id, ephemeral = add_disk(cloud, name="kept"), add_disk(cloud, category="ephemeral")
    assert code(cloud, "ModifyDiskAttribute", DiskName="x1") == "MissingParameter"
    assert code(cloud, "ModifyDiskAttribute", DiskId=disk_id, DiskName="1") == "InvalidDiskName.Malformed"
    assert code(cloud, "ModifyDiskAttribute", DiskId=disk_id, Description="x") == "InvalidDiskDescription.Malformed"
    assert code(cloud, "ModifyDiskAttribute", DiskId=disk_id, DiskIds=[disk_id]) == "InvalidParameter"
    assert code(cloud, "ModifyDiskAttribute", DiskIds=[disk_id, "d-none"], DiskName="x1") == "InvalidDiskId.NotFound"
    flag = {"DiskIds": [disk_id, ephemeral], "DeleteWithInstance": "false", "DiskName": "x1"}
    assert code(cloud, "ModifyDiskAttribute", **flag) == "InvalidOperation.EphemeralDisk"
    assert row(cloud, disk_id).name == "kept"


# ------------------------------------------------------------------------------ deleting


def test_a_disk_goes_with_its_automatic_snapshots(cloud: Cloud) -> None:
    for flag, left in ((True, {"user"}), (False, {"user", "auto"})):
        disk_id = add_disk(cloud, delete_auto_snapshot=flag)
        for kind in ("user", "auto"):
            add_snapshot(cloud, disk_id, kind=kind)
        cloud.call("DeleteDisk", {"DiskId": disk_id})
        with cloud.store.read() as session:
            assert {one.kind for one in session.query(Snapshot) if one.disk_id == disk_id} == left
    assert cloud.call("DescribeDisks")["TotalCount"] == 0
    assert len(cloud.jobs("layers.collect")) == 2


@pytest.mark.parametrize("status", ["Creating", "Attaching", "In_use", "Detaching", "ReIniting"])
def test_only_an_available_disk_is_deleted(cloud: Cloud, status: str) -> None:
    disk_id = add_disk(cloud, status=status)
    assert code(cloud, "DeleteDisk", DiskId=disk_id) == "IncorrectDiskStatus"
    assert code(cloud, "DeleteDisk", DiskId="d-none") == "InvalidDiskId.NotFound"


# ------------------------------------------------------------------------------ growing


def test_a_disk_grows_by_a_job(cloud: Cloud, stopped: str) -> None:
    alone, system = add_disk(cloud), system_disk(cloud, stopped)
    for disk_id in (alone, system):
        cloud.call("ResizeDisk", {"DiskId": disk_id, "NewSize": "41", "Type": "online"})
    jobs = cloud.jobs("disk.resize")
    assert [(job.resource_id, job.lock, job.data) for job in jobs] == [
        (alone, alone, {"size_gib": 41}),
        (system, stopped, {"size_gib": 41}),
    ]
    assert code(cloud, "ResizeDisk", DiskId=alone, NewSize=50) == "IncorrectDiskStatus"  # one at a time


def test_what_does_not_grow(cloud: Cloud, stopped: str) -> None:
    disk_id = add_disk(cloud)
    assert code(cloud, "ResizeDisk", DiskId=disk_id, NewSize=20) == "InvalidDiskSize.TooSmall"
    assert code(cloud, "ResizeDisk", DiskId=disk_id, NewSize=2049) == "InvalidDiskSize.NotSupported"
    assert code(cloud, "ResizeDisk", DiskId=disk_id, NewSize=30, Type="sideways") == "InvalidParameter"
    system = system_disk(cloud, stopped)
    assert code(cloud, "ResizeDisk", DiskId=system, NewSize=501) == "InvalidDiskSize.NotSupported"
    change(cloud, Instance, stopped, status="Starting")
    assert code(cloud, "ResizeDisk", DiskId=system, NewSize=30) == "IncorrectInstanceStatus"
    change(cloud, Disk, disk_id, status="Detaching")
    assert code(cloud, "ResizeDisk", DiskId=disk_id, NewSize=30) == "IncorrectDiskStatus"
    change(cloud, Disk, disk_id, status="Available")
    add_snapshot(cloud, disk_id, status="progressing", layer_id=None)
    assert code(cloud, "ResizeDisk", DiskId=disk_id, NewSize=30) == "IncorrectDiskStatus.CreatingSnapshot"
    assert cloud.jobs("disk.resize") == []


# ------------------------------------------------------------------------------ beginning again


def test_a_system_disk_begins_again_with_a_new_way_in(cloud: Cloud, stopped: str) -> None:
    system = system_disk(cloud, stopped)
    assert code(cloud, "ReInitDisk", DiskId=system) == "MissingParameter"
    assert code(cloud, "ReInitDisk", DiskId=system, Password="short") == "InvalidPassword.Malformed"
    assert code(cloud, "ReInitDisk", DiskId=system, KeyPairName="nobody") == "InvalidKeyPair.NotFound"
    assert row(cloud, system).status == "In_use"
    cloud.call("ReInitDisk", {"DiskId": system, "Password": PASSWORD, "AutoStartInstance": "true"})
    [job] = cloud.jobs("disk.reinit")
    assert (job.lock, job.data) == (stopped, {"snapshot_id": None, "start": True})
    assert row(cloud, system).status == "ReIniting"
    with cloud.store.read() as session:
        assert session.get_one(Instance, stopped).password_hash == "$6$stand-in"


def test_a_key_pair_replaces_the_password(cloud: Cloud, stopped: str) -> None:
    cloud.call("CreateKeyPair", {"KeyPairName": "mine"})
    cloud.call("ReInitDisk", {"DiskId": system_disk(cloud, stopped), "KeyPairName": "mine"})
    with cloud.store.read() as session:
        instance = session.get_one(Instance, stopped)
        assert (instance.key_pair_name, instance.password_hash) == ("mine", None)


def test_a_data_disk_begins_as_its_snapshot_or_empty(cloud: Cloud, stopped: str) -> None:
    source = add_snapshot(cloud, add_disk(cloud))
    of_it = add_disk(cloud, source_snapshot_id=source, instance_id=stopped, status="In_use", device="/dev/xvdb")
    empty = add_disk(cloud, instance_id=stopped, status="In_use", device="/dev/xvdc")
    orphan = add_disk(cloud, source_snapshot_id="s-gone", instance_id=stopped, status="In_use", device="/dev/xvdd")
    for disk_id in (of_it, empty):
        cloud.call("ReInitDisk", {"DiskId": disk_id})
    assert [job.data["snapshot_id"] for job in cloud.jobs("disk.reinit")] == [source, None]
    assert code(cloud, "ReInitDisk", DiskId=orphan) == "InvalidOperation.SourceSnapshotNotFound"
    assert code(cloud, "ReInitDisk", DiskId=orphan, Password=PASSWORD) == "InvalidParameter"


def test_beginning_again_needs_a_stopped_instance(cloud: Cloud, stopped: str) -> None:
    system = system_disk(cloud, stopped)
    change(cloud, Instance, stopped, status="Running")
    assert code(cloud, "ReInitDisk", DiskId=system, Password=PASSWORD) == "IncorrectInstanceStatus"
    assert code(cloud, "ReInitDisk", DiskId=add_disk(cloud)) == "IncorrectDiskStatus"


# ------------------------------------------------------------------------------ rolling back


def test_a_disk_goes_back_to_its_own_snapshots_only(cloud: Cloud, stopped: str) -> None:
    disk_id, other = add_disk(cloud), add_disk(cloud)
    mine, its = add_snapshot(cloud, disk_id), add_snapshot(cloud, other)
    assert code(cloud, "ResetDisk", DiskId=disk_id, SnapshotId=its) == "InvalidParameter.InvalidDiskIdAndSnapshotId"
    assert code(cloud, "ResetDisk", DiskId=disk_id, SnapshotId="s-none") == "InvalidSnapshotId.NotFound"
    assert code(cloud, "ResetDisk", DiskId=disk_id, SnapshotId=mine, DryRun="true") == "DryRunOperation"
    assert code(cloud, "ResetDisk", DiskId=disk_id, SnapshotId=mine, AutoStartInstance="true") == "InvalidParameter"
    cloud.call("ResetDisk", {"DiskId": disk_id, "SnapshotId": mine})
    assert row(cloud, disk_id).status == "ReIniting"
    assert code(cloud, "ResetDisk", DiskId=disk_id, SnapshotId=mine) == "IncorrectDiskStatus"
    change(cloud, Disk, other, instance_id=stopped, status="In_use", device="/dev/xvdb")
    change(cloud, Instance, stopped, status="Running")
    assert code(cloud, "ResetDisk", DiskId=other, SnapshotId=its) == "IncorrectInstanceStatus"


def test_several_go_back_together_or_not_at_all(cloud: Cloud) -> None:
    disks = [add_disk(cloud) for _ in range(2)]
    pairs = [{"DiskId": disk_id, "SnapshotId": add_snapshot(cloud, disk_id)} for disk_id in disks]
    wrong = [pairs[0], {"DiskId": disks[1], "SnapshotId": pairs[0]["SnapshotId"]}]
    assert code(cloud, "ResetDisks", Disk=wrong) == "InvalidParameter.InvalidDiskIdAndSnapshotId"
    assert cloud.jobs("disk.roll_back") == []
    answer = cloud.call("ResetDisks", dict(flat({"Disk": pairs})))
    done = answer["OperationProgressSet"]["OperationProgress"]
    assert [one["RelatedItemSet"]["RelatedItem"][0]["Value"] for one in done] == disks
    assert len(cloud.jobs("disk.roll_back")) == 2
    assert code(cloud, "ResetDisks") == "MissingParameter"
