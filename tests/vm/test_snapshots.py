"""Snapshots of a real guest's disks, taken by a person and by a policy (SPEC S1-S3, S5)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import paramiko
import pytest

from tests.support import disks
from tests.support.agent import AgentProcess, CallFailed, running_agent
from tests.support.invariants import lasting_violations
from tests.support.libvirtd import PrivateLibvirt
from tests.support.ssh import login, run
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

PASSWORD = "Passw0rd!x"
HOUR = dt.timedelta(hours=1)


@pytest.fixture(scope="module")
def agent(libvirtd: PrivateLibvirt) -> Iterator[AgentProcess]:
    """One whose clock a test may set, which an agent that others use could not bear."""
    small = dict.fromkeys(("system", "cloud", "cloud_efficiency", "cloud_ssd"), 1)
    with running_agent(libvirtd.uri, minimum_disk_gib=small) as process:
        process.ensure_tiny_image()
        yield process


@pytest.fixture(scope="module")
def guest(agent: AgentProcess) -> str:
    """A running instance with a data disk, which the tests of this module share."""
    data = [{"Category": "cloud_efficiency", "Size": 1, "DiskName": "data"}]
    instance_id = agent.run_instance(Password=PASSWORD, DataDisk=data)
    agent.wait_status(instance_id, "Running")
    return instance_id


def disk_of(agent: AgentProcess, instance_id: str, kind: str) -> str:
    [found] = agent.call("DescribeDisks", InstanceId=instance_id, DiskType=kind)["Disks"]["Disk"]
    return str(found["DiskId"])


def listed(agent: AgentProcess, **params: Any) -> list[dict[str, Any]]:
    return agent.call("DescribeSnapshots", **params)["Snapshots"]["Snapshot"]


def take(agent: AgentProcess, disk_id: str, name: str) -> str:
    """A snapshot that is accomplished; its id."""
    snapshot_id = str(agent.call("CreateSnapshot", DiskId=disk_id, SnapshotName=name)["SnapshotId"])

    def ended() -> dict[str, Any] | None:
        [found] = listed(agent, SnapshotIds=json.dumps([snapshot_id]))
        return found if found["Status"] != "progressing" else None

    found = wait_for(f"snapshot {name}", ended, 60, every=0.02)
    assert (found["Status"], found["Progress"]) == ("accomplished", "100%"), found["Message"]
    return snapshot_id


def write(client: paramiko.SSHClient, name: str) -> None:
    run(client, f"dd if=/dev/urandom of=/mnt/d/{name} bs=64k count=64 2>/dev/null && sync")


def sums(client: paramiko.SSHClient, directory: str) -> dict[str, str]:
    """The digest of each file by its name."""
    lines = run(client, f"cd {directory} && md5sum * 2>/dev/null || true").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines if "lost+found" not in line)}


def test_what_was_taken_of_a_running_guest_is_what_it_had(agent: AgentProcess, guest: str) -> None:
    data = disk_of(agent, guest, "data")
    with login(agent, guest, password=PASSWORD) as client:
        device = disks.device(client, data)
        run(client, f"mke2fs -q {device} && mkdir -p /mnt/d && mount -t ext4 {device} /mnt/d")
        write(client, "one")
        first = take(agent, data, "first")
        write(client, "two")
        second, then = take(agent, data, "second"), sums(client, "/mnt/d")
        write(client, "three")
        run(client, "rm /mnt/d/one; sync")
        shown = {row["SnapshotId"]: row for row in listed(agent, DiskId=data)}
        assert [shown[one]["SnapshotName"] for one in (first, second)] == ["first", "second"]
        assert list(shown) == [second, first]  # the newest first

        agent.call("DeleteSnapshot", SnapshotId=first)
        agent.wait_jobs()
        restored = disks.create(agent, SnapshotId=second, DiskName="restored")
        assert [row["Usage"] for row in listed(agent, DiskId=data)] == ["disk"]
        disks.attach(agent, restored, guest)
        run(client, f"mkdir -p /mnt/r && mount -t ext4 {disks.device(client, restored)} /mnt/r")
        assert sums(client, "/mnt/r") == then
        assert set(then) == {"one", "two"}
        assert set(sums(client, "/mnt/d")) == {"two", "three"}
        run(client, "umount /mnt/r")
    disks.detach(agent, restored, guest)
    with pytest.raises(CallFailed, match="SnapshotCreatedDisk"):
        agent.call("DeleteSnapshot", SnapshotId=second)
    agent.call("DeleteDisk", DiskId=restored)
    agent.wait_jobs()
    agent.call("DeleteSnapshot", SnapshotId=second)
    agent.wait_jobs()
    assert lasting_violations(agent) == []


def test_a_second_snapshot_holds_what_changed(agent: AgentProcess, guest: str) -> None:
    system = disk_of(agent, guest, "system")
    first, used = take(agent, system, "before"), [agent.call("DescribeSnapshotsUsage")]
    with login(agent, guest, password=PASSWORD) as client:
        run(client, "dd if=/dev/urandom of=/root/changed bs=64k count=64 2>/dev/null && sync")
    second = take(agent, system, "after")
    used.append(agent.call("DescribeSnapshotsUsage"))
    assert [one["SnapshotCount"] for one in used] == [1, 2]
    assert 4 << 20 < used[1]["SnapshotSize"] - used[0]["SnapshotSize"] < 8 << 20
    [link] = agent.call("DescribeSnapshotLinks", DiskIds=json.dumps([system]))["SnapshotLinks"]["SnapshotLink"]
    assert (link["TotalCount"], link["TotalSize"]) == (2, used[1]["SnapshotSize"])
    for snapshot_id in (first, second):
        agent.call("DeleteSnapshot", SnapshotId=snapshot_id)
    agent.wait_jobs()
    assert agent.call("DescribeSnapshotsUsage")["SnapshotSize"] == 0
    assert lasting_violations(agent) == []


def test_a_policy_takes_them_at_its_hour(agent: AgentProcess, guest: str) -> None:
    """The agent is started again with a clock on which the next hour is about to begin."""
    now = dt.datetime.now(dt.UTC)
    hour = now.replace(minute=0, second=0, microsecond=0) + HOUR
    plan = {"timePoints": json.dumps([str(hour.hour)]), "repeatWeekdays": json.dumps([str(d) for d in range(1, 8)])}
    policy_id = agent.call("CreateAutoSnapshotPolicy", retentionDays=1, TimeZone="UTC", **plan)["AutoSnapshotPolicyId"]
    both = sorted([disk_of(agent, guest, "system"), disk_of(agent, guest, "data")])
    agent.call("ApplyAutoSnapshotPolicy", autoSnapshotPolicyId=policy_id, diskIds=json.dumps(both))
    agent.stop()
    agent.module = "tests.support.agent_ahead"
    agent.environment["ECS_AHEAD"] = str((hour - dt.datetime.now(dt.UTC)).total_seconds() - 3)
    agent.start()

    def taken() -> list[dict[str, Any]]:
        found = listed(agent, SnapshotType="auto", Status="accomplished")
        return found if len(found) == 2 else []

    found = wait_for("the policy's snapshots", taken, 60)
    assert sorted(row["SourceDiskId"] for row in found) == both
    assert {row["SnapshotName"] for row in found} == {f"auto2.0_{hour:%Y%m%d}_{policy_id}"}
    assert {row["ExpirationTime"][:13] for row in found} == {f"{hour + 24 * HOUR:%Y-%m-%dT%H}"}
    answer = agent.call("DescribeAutoSnapshotPolicyAssociations", AutoSnapshotPolicyId=policy_id)
    rows = answer["AutoSnapshotPolicyAssociations"]["AutoSnapshotPolicyAssociation"]
    assert {(row["LastTime"], row["LastSkipped"]) for row in rows} == {(f"{hour:%Y-%m-%dT%H:%M:%SZ}", "")}
    with login(agent, guest, password=PASSWORD) as client:
        assert run(client, "echo alive").strip() == "alive"
    assert lasting_violations(agent) == []
