"""The host's disk: what is refused before it is full, what is told, what disks and snapshots take (SPEC section 0)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from agent.config import Config
from agent.core.errors import ApiError
from agent.core.protocols import Storage
from agent.drivers.storage.local import LocalStorage
from agent.jobs.layers import tree
from agent.services import space
from agent.store.schema import Disk, Instance, Layer, Snapshot
from tests.support.agent import flat
from tests.support.cloud import START, Cloud, StorageStandIn
from tests.support.timetable import add_disk, set_clock, timetable_of

OWN = "2026-11-01"
GIB = 2**30
SMALL = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small"}


@pytest.fixture
def ready(make_cloud: Any) -> Cloud:
    cloud = make_cloud(minimum_disk_gib={"system": 1})
    cloud.default_vswitch()
    cloud.add_image()
    return cloud


def code(cloud: Cloud, action: str, params: dict[str, object], **more: str) -> str:
    with pytest.raises(ApiError) as refused:
        cloud.call(action, params, **more)
    return refused.value.code


@pytest.mark.parametrize(
    ("configured", "total_gib", "expected"),
    [(-1.0, 100, 5 * GIB), (-1.0, 1000, 10 * GIB), (0.0, 100, 0), (0.5, 100, GIB // 2), (30, 20, 30 * GIB)],
)
def test_the_reserve(configured: float, total_gib: int, expected: int) -> None:
    assert space.reserved_bytes(Config(disk_reserve_gib=configured), total_gib * GIB) == expected


def test_new_things_are_refused_when_the_reserve_would_be_used(ready: Cloud) -> None:
    instance_id = ready.call("CreateInstance", dict(SMALL))["InstanceId"]
    with ready.store.write() as session:
        found = session.get_one(Instance, instance_id)
        found.status, found.disks[0].status = "Stopped", "In_use"
        for job in ready.jobs("instance.create"):
            session.delete(session.merge(job))
    ready.storage.available = 5 * GIB + 100
    found_id = ready.call("DescribeDisks")["Disks"]["Disk"][0]["DiskId"]
    wanted: dict[str, dict[str, object]] = {
        "RunInstances": dict(SMALL),
        "CreateInstance": dict(SMALL),
        "CreateDisk": {"ZoneId": "local-a", "Size": 20, "DiskCategory": "cloud_ssd"},
        "CreateSnapshot": {"DiskId": found_id},
        "ReplaceSystemDisk": {"InstanceId": instance_id, "ImageId": "tiny_x64", "Password": "Passw0rd!x"},
    }
    for action, params in wanted.items():
        assert code(ready, action, params) == "OperationDenied.NoStock", action
    image = {"ImageId": "debian_12_x64"}
    ready.storage.available = 5 * GIB - 1
    assert code(ready, "BuildImage", dict(image), version=OWN) == "OperationDenied.NoStock"
    ready.storage.available = 6 * GIB
    wanted.pop("CreateSnapshot")  # while one is taken no system disk is replaced
    for action, params in wanted.items():
        ready.call(action, params)
    ready.call("BuildImage", dict(image), version=OWN)


def test_a_file_is_converted_beside_the_disks(ready: Cloud, tmp_path: Path) -> None:
    with (tmp_path / "source").open("w+b") as source, (tmp_path / "target").open("w+b") as target:
        files = ready.runner.open_files
        source_handle, target_handle = (files.put(os.dup(one.fileno()), "disk") for one in (source, target))
        params: dict[str, object] = {"Source": source_handle, "Target": target_handle, "TargetFormat": "raw"}
        ready.storage.available = 5 * GIB - 1
        assert code(ready, "ConvertImageFile", params, version=OWN) == "OperationDenied.NoStock"
        ready.storage.available = 5 * GIB
        ready.call("ConvertImageFile", params, version=OWN)
        files.drop(source_handle)
        files.drop(target_handle)


def test_the_refusal_says_how_much_and_what_to_do(ready: Cloud) -> None:
    ready.storage.available = 3 * GIB
    with pytest.raises(ApiError) as refused:
        ready.call("CreateInstance", dict(SMALL))
    text = refused.value.message
    assert "400 KiB are needed and 3 GiB free, 5 GiB of which are reserved" in text
    assert "Delete" in text


class Disk100(StorageStandIn):
    def __init__(self, available: int) -> None:
        super().__init__()
        self.available = available


@pytest.mark.parametrize(
    ("available", "expected"),
    [(50 * GIB, ""), (10 * GIB, ""), (8 * GIB, "will be refused"), (4 * GIB, "are refused below 5 GiB")],
)
def test_it_is_told_before(available: int, expected: str) -> None:
    storage: Storage = Disk100(available)  # type: ignore[assignment]
    lines = space.problems(Config(), storage)
    assert len(lines) == (1 if expected else 0)
    assert all(expected in line for line in lines)


def test_an_automatic_snapshot_without_room_is_skipped_and_says_why(cloud: Cloud) -> None:
    disk_id = add_disk(cloud)
    policy = {"timePoints": '["8"]', "repeatWeekdays": '["1"]', "retentionDays": -1}
    policy_id = cloud.call("CreateAutoSnapshotPolicy", {**policy, "TimeZone": "UTC"})["AutoSnapshotPolicyId"]
    cloud.call("ApplyAutoSnapshotPolicy", {"autoSnapshotPolicyId": policy_id, "diskIds": f'["{disk_id}"]'})
    set_clock(cloud, START.replace(hour=8, minute=1))  # a Monday
    timetable_of(cloud, lambda: "the host's disk has no room").take()
    with cloud.store.read() as session:
        assert session.get_one(Disk, disk_id).auto_snapshot_skipped == "the host's disk has no room"
        assert session.query(Snapshot).count() == 0


# ------------------------------------------------------------------------------ what is taken


def disk_of(cloud: Cloud) -> str:
    _, vswitch_id = cloud.default_vswitch()
    cloud.add_instance(vswitch_id, [])
    return cloud.call("DescribeDisks")["Disks"]["Disk"][0]["DiskId"]


def snapshot(cloud: Cloud, disk_id: str, snapshot_id: str, **values: object) -> tuple[str, str]:
    """As a taken one leaves the layers: (the layer that is its, the one that the disk writes to now)."""
    with cloud.store.write() as session:
        disk = session.get_one(Disk, disk_id)
        taken = disk.layer
        disk.layer = tree.new_child(session, disk_id, disk.size_gib, START, taken)
        given = {
            "account_id": cloud.account_id,
            "kind": "user",
            "status": "accomplished",
            "size_gib": disk.size_gib,
            "disk_kind": disk.kind,
            "category": disk.category,
            "created_at": START,
        }
        session.add(Snapshot(id=snapshot_id, disk_id=disk_id, layer_id=taken.id, **(given | values)))
        return taken.id, disk.layer.id


def usage(cloud: Cloud, **params: object) -> dict[str, Any]:
    return cloud.call("DescribeStorageUsage", dict(flat(params)), version=OWN)


def test_what_a_disk_and_its_snapshots_take(ready: Cloud) -> None:
    disk_id = disk_of(ready)
    with ready.store.read() as session:
        first = session.get_one(Disk, disk_id).layer_id
    ready.storage.allocated |= {"tiny_x64-1": 1000, first: 200}
    assert usage(ready, DiskId=[disk_id])["Disks"]["Disk"] == [
        {
            "DiskId": disk_id,
            "VirtualBytes": 20 * GIB,
            "AllocatedBytes": 200,
            "TotalBytes": 1200,
            "SharedBytes": 1000,
            "ChainLength": 2,
        }
    ]
    snapshot(ready, disk_id, "s-1")
    _, second = snapshot(ready, disk_id, "s-2", consistency="filesystem")
    with ready.store.write() as session:
        between = session.get_one(Layer, second).parent_id
        session.get_one(Snapshot, "s-1").layer_id = None  # deleted: the layer below only awaits its merge
    assert between
    ready.storage.allocated |= {between: 30, second: 4}
    answer = usage(ready, DiskId=[disk_id], SnapshotId=["s-2", "s-1"])
    [shown] = answer["Disks"]["Disk"]
    assert (shown["AllocatedBytes"], shown["TotalBytes"], shown["SharedBytes"], shown["ChainLength"]) == (
        *(4, 1234),
        1230,
        4,
    )
    assert answer["Snapshots"]["Snapshot"] == [
        {"SnapshotId": "s-2", "VirtualBytes": 20 * GIB, "AllocatedBytes": 30, "Consistency": "filesystem"},
        {"SnapshotId": "s-1", "VirtualBytes": 20 * GIB, "AllocatedBytes": 0, "Consistency": "crash"},
    ]


def test_what_awaits_its_merge_is_not_shared(ready: Cloud) -> None:
    disk_id = disk_of(ready)
    first, second = snapshot(ready, disk_id, "s-1")
    ready.storage.allocated |= {first: 200, second: 30}
    assert usage(ready, DiskId=[disk_id])["Disks"]["Disk"][0]["SharedBytes"] == 200
    with ready.store.write() as session:
        session.delete(session.get_one(Snapshot, "s-1"))
    assert usage(ready, DiskId=[disk_id])["Disks"]["Disk"][0]["SharedBytes"] == 0


def test_usage_is_the_owners_alone(ready: Cloud) -> None:
    disk_id = disk_of(ready)
    snapshot(ready, disk_id, "s-1")
    assert code(ready, "DescribeStorageUsage", {}, version=OWN) == "MissingParameter"
    other = ready.add_account()
    for wanted, expected in (
        ({"DiskId.1": disk_id}, "InvalidDiskId.NotFound"),
        ({"SnapshotId.1": "s-1"}, "InvalidSnapshotId.NotFound"),
    ):
        assert code(ready, "DescribeStorageUsage", wanted, version=OWN, account_id=other) == expected
    assert code(ready, "DescribeStorageUsage", {"DiskId.1": "d-nope"}, version=OWN) == "InvalidDiskId.NotFound"


def test_ten_thousand_files_are_looked_at_quickly(ready: Cloud, tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "data")
    ready.storage.allocated_bytes = storage.allocated_bytes  # type: ignore[method-assign]
    ready.storage.image_allocated_bytes = storage.image_allocated_bytes  # type: ignore[method-assign]
    disk_id = disk_of(ready)
    with ready.store.write() as session:
        layer = session.get_one(Disk, disk_id).layer
        for number in range(10_000):
            layer_id = f"{layer.tree}-{number}"
            parent_id = f"{layer.tree}-{number - 1}" if number else layer.id
            child = Layer(id=layer_id, tree=layer.tree, parent_id=parent_id, size_gib=20)
            child.state, child.created_at, child.image_file = "ready", START, None
            session.add(child)
            storage.layer_path(layer_id).write_bytes(b"x")
        session.flush()
        session.get_one(Disk, disk_id).layer_id = f"{layer.tree}-9999"
    began = time.perf_counter()
    [shown] = usage(ready, DiskId=[disk_id])["Disks"]["Disk"]
    assert time.perf_counter() - began < 2.0
    assert shown["ChainLength"] == 10_002
    assert shown["TotalBytes"] >= 10_000 * 512


def test_the_host_tells_what_is_reserved_and_promised(ready: Cloud) -> None:
    disk_of(ready)
    with ready.store.read() as session:
        assert space.promised_bytes(session) == 20 * GIB
