"""Disks on real guests (SPEC D1-D7, D9, D10): found by their serial, with what was written to them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import libvirt
import paramiko
import pytest

from tests.support import disks
from tests.support.agent import HOST, AgentProcess, CallFailed, running_agent
from tests.support.invariants import lasting_violations
from tests.support.libvirtd import PrivateLibvirt
from tests.support.ssh import login, run
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

PASSWORD = "Passw0rd!x"
DETACH_SECONDS = 5.0
CAPPED_IOPS = 100  # of the category cloud, and cloud_ssd has no limit


@pytest.fixture(scope="module")
def agent(libvirtd: PrivateLibvirt) -> Iterator[AgentProcess]:
    """One whose guests have little time to let go of a disk."""
    small = dict.fromkeys(("system", "cloud", "cloud_efficiency", "cloud_ssd"), 1)
    limits = {"cloud": {"iops": CAPPED_IOPS}, "cloud_ssd": {"iops": 0}}
    settings = {"minimum_disk_gib": small, "detach_seconds": DETACH_SECONDS, "disk_limits": limits}
    with running_agent(libvirtd.uri, **settings) as process:
        process.ensure_tiny_image()
        yield process


@pytest.fixture(scope="module")
def guest(agent: AgentProcess) -> str:
    """A running instance that the tests of this module share; each leaves it running, with its first disks."""
    data = [{"Category": "cloud_efficiency", "Size": 1, "DiskName": "first", "Device": "/dev/xvdc"}]
    instance_id = agent.run_instance(Password=PASSWORD, DataDisk=data)
    agent.wait_status(instance_id, "Running")
    return instance_id


@pytest.fixture(scope="module")
def other(agent: AgentProcess) -> str:
    """An instance that is stopped."""
    instance_id = agent.call("CreateInstance", ImageId="tiny_x64", InstanceType="ecs.t1.small", Password=PASSWORD)
    agent.wait_status(instance_id["InstanceId"], "Stopped")
    return str(instance_id["InstanceId"])


@contextlib.contextmanager
def domain(agent: AgentProcess, instance_id: str) -> Iterator[libvirt.virDomain]:
    connection = libvirt.open(agent.settings["libvirt_uri"])
    try:
        yield connection.lookupByName(f"{agent.prefix}-{instance_id}")
    finally:
        connection.close()


def first_disk(agent: AgentProcess, instance_id: str, kind: str = "data") -> str:
    [found] = agent.call("DescribeDisks", InstanceId=instance_id, DiskType=kind)["Disks"]["Disk"]
    return str(found["DiskId"])


def test_an_instance_comes_with_its_data_disks(agent: AgentProcess, guest: str) -> None:
    shown = disks.describe(agent, first_disk(agent, guest))
    assert shown
    assert (shown["Device"], shown["Status"], shown["DeleteWithInstance"]) == ("/dev/xvdc", "In_use", True)
    with login(agent, guest, password=PASSWORD) as client:
        assert disks.device(client, shown["DiskId"]) == "/dev/vdb"  # the guest's own count; its serial is what tells
        assert disks.size_gib(client, shown["DiskId"]) == 1


def test_a_disk_goes_from_a_running_guest_to_a_stopped_one_with_its_data(
    agent: AgentProcess, guest: str, other: str
) -> None:
    disk_id = disks.create(agent, DiskName="traveller")
    disks.attach(agent, disk_id, guest, Device="/dev/xvdz")
    with login(agent, guest, password=PASSWORD) as client:
        device = disks.device(client, disk_id)
        run(client, f"mke2fs -q {device} && mkdir -p /mnt/d && mount -t ext4 {device} /mnt/d")
        run(client, "echo travels > /mnt/d/file && sync && umount /mnt/d")
        disks.detach(agent, disk_id, guest)
        assert disks.names(client, disk_id) == []
    shown = disks.describe(agent, disk_id)
    assert shown
    assert (shown["InstanceId"], shown["Device"], shown["DetachedTime"] != "") == ("", "", True)

    disks.attach(agent, disk_id, other)
    agent.call("StartInstance", InstanceId=other)
    with login(agent, other, password=PASSWORD) as client:
        device = disks.device(client, disk_id)
        run(client, f"mkdir -p /mnt/d && mount -t ext4 {device} /mnt/d")
        assert run(client, "cat /mnt/d/file").strip() == "travels"
        run(client, "umount /mnt/d")
    agent.call("StopInstance", InstanceId=other, ForceStop="true")
    agent.wait_status(other, "Stopped")
    disks.detach(agent, disk_id, other)
    agent.call("DeleteDisk", DiskId=disk_id)
    agent.wait_jobs()
    assert lasting_violations(agent) == []


def test_a_disk_grows_under_a_running_guest(agent: AgentProcess, guest: str) -> None:
    for disk_id in (first_disk(agent, guest), first_disk(agent, guest, "system")):
        agent.call("ResizeDisk", DiskId=disk_id, NewSize=3, Type="online")
        assert disks.settled(agent, disk_id)["Size"] == 3, disks.last_job(agent, disk_id)
        with login(agent, guest, password=PASSWORD) as client:
            wait_for("the new size", lambda one=disk_id: disks.size_gib(client, one) == 3, 30)
    with domain(agent, guest) as live:
        assert live.blockIoTune("vdc", 0)["total_iops_sec"] == 1800 + 8 * 3


def test_a_guest_that_does_not_let_go_keeps_its_disk(agent: AgentProcess, guest: str) -> None:
    disk_id = first_disk(agent, guest)
    with domain(agent, guest) as live:
        live.suspend()
        agent.call("DetachDisk", DiskId=disk_id, InstanceId=guest)
        assert disks.settled(agent, disk_id)["Status"] == "In_use"
        job = disks.last_job(agent, disk_id)
        assert job["Status"] == "Failed"
        assert f"stays attached: the guest did not let go of it within {DETACH_SECONDS:g} s" in job["Message"]
        assert disk_id.removeprefix("d-") in live.XMLDesc()
        live.resume()
        # It lets go now, too late: it is to have the disk, and gets it again.
        wait_for("the disk's return", lambda: disks.last_job(agent, disk_id)["Kind"] == "disk.attach_again", 60)
    assert disks.settled(agent, disk_id)["Status"] == "In_use"
    with login(agent, guest, password=PASSWORD) as client:
        assert disks.device(client, disk_id)
    assert lasting_violations(agent) == []


def test_what_somebody_took_from_a_guest_is_given_back(agent: AgentProcess, guest: str) -> None:
    disk_id = first_disk(agent, guest)
    with domain(agent, guest) as live:
        live.detachDeviceAlias("virtio-disk2")
    wait_for("the disk's return", lambda: disks.last_job(agent, disk_id)["Kind"] == "disk.attach_again", 60)
    with login(agent, guest, password=PASSWORD) as client:
        assert disks.device(client, disk_id)


def test_disks_of_a_stopped_instance_begin_again_and_go_back(agent: AgentProcess, other: str) -> None:
    data = disks.create(agent, DiskName="again")
    system = first_disk(agent, other, "system")
    disks.attach(agent, data, other)
    with pytest.raises(CallFailed, match="MissingParameter"):
        agent.call("ReInitDisk", DiskId=system)
    agent.call("StartInstance", InstanceId=other)
    with login(agent, other, password=PASSWORD) as client:
        device = disks.device(client, data)
        run(client, f"echo here > /root/mark; echo content | dd of={device} bs=512 count=1 conv=sync 2>/dev/null; sync")
    agent.call("StopInstance", InstanceId=other)
    agent.wait_status(other, "Stopped")
    agent.call("ReInitDisk", DiskId=data)
    disks.settled(agent, data)
    agent.call("ReInitDisk", DiskId=system, Password=PASSWORD + "2", AutoStartInstance="true")
    disks.settled(agent, system)
    agent.wait_status(other, "Running")
    with login(agent, other, password=PASSWORD + "2") as client:
        assert run(client, "ls /root/mark 2>/dev/null || echo gone").strip() == "gone"
        assert run(client, f"head -c 7 {disks.device(client, data)} | tr -d '\\0'") == ""
    agent.call("StopInstance", InstanceId=other, ForceStop="true")
    agent.wait_status(other, "Stopped")
    disks.detach(agent, data, other)
    agent.call("DeleteDisk", DiskId=data)
    agent.wait_jobs()
    assert lasting_violations(agent) == []


def test_a_rollback_brings_back_what_was_there(agent: AgentProcess, guest: str, other: str) -> None:
    disk_id = disks.create(agent)
    disks.attach(agent, disk_id, guest)
    with login(agent, guest, password=PASSWORD) as client:
        write(client, disk_id, "before")
        snapshot_id = agent.call("CreateSnapshot", DiskId=disk_id)["SnapshotId"]
        agent.wait_jobs()
        write(client, disk_id, "after")
        with pytest.raises(CallFailed, match="IncorrectInstanceStatus"):
            agent.call("ResetDisk", DiskId=disk_id, SnapshotId=snapshot_id)
        disks.detach(agent, disk_id, guest)
        agent.call("ResizeDisk", DiskId=disk_id, NewSize=2)
        disks.settled(agent, disk_id)
        agent.call("ResetDisk", DiskId=disk_id, SnapshotId=snapshot_id)
        assert disks.settled(agent, disk_id)["Size"] == 2
        copy = disks.create(agent, SnapshotId=snapshot_id)
        for one in (disk_id, copy):
            disks.attach(agent, one, guest)
            assert read(client, one) == "before"
        assert (disks.size_gib(client, disk_id), disks.size_gib(client, copy)) == (2, 1)
    # Nothing of a deleted disk is needed by its snapshot, or of a deleted snapshot by the disks made of it.
    disks.detach(agent, disk_id, guest)
    agent.call("DeleteDisk", DiskId=disk_id)
    agent.call("DeleteSnapshot", SnapshotId=snapshot_id, Force="true")
    agent.wait_jobs()
    with login(agent, guest, password=PASSWORD) as client:
        assert read(client, copy) == "before"
    disks.detach(agent, copy, guest)
    agent.call("DeleteDisk", DiskId=copy)
    agent.wait_jobs()
    assert lasting_violations(agent) == []


def write(client: paramiko.SSHClient, disk_id: str, word: str) -> None:
    run(client, f"echo {word} | dd of={disks.device(client, disk_id)} bs=512 count=1 conv=sync 2>/dev/null; sync")


def read(client: paramiko.SSHClient, disk_id: str) -> str:
    return run(client, f"head -c 512 {disks.device(client, disk_id)} | tr -d '\\0'").strip()


def test_sixteen_disks_cold_and_hot_and_what_a_release_leaves(agent: AgentProcess) -> None:
    """As many as there may be have room on the guest's PCI bus, with all its other devices."""
    instance_id = str(
        agent.call("CreateInstance", ImageId="tiny_x64", InstanceType="ecs.t1.small", Password=PASSWORD)["InstanceId"]
    )
    wanted = {"ZoneId": "local-a", "DiskCategory": "cloud_efficiency", "Size": 1, "Amount": 16, "DiskName": "many"}
    many = agent.call("CreateDisks", HOST, **wanted)["DiskIds"]["DiskId"]
    agent.wait_status(instance_id, "Stopped")
    agent.wait_jobs()
    for disk_id in many[:8]:
        disks.attach(agent, disk_id, instance_id, DeleteWithInstance="true")
    agent.call("StartInstance", InstanceId=instance_id)
    with login(agent, instance_id, password=PASSWORD) as client:
        for disk_id in many[8:]:
            agent.call("AttachDisk", DiskId=disk_id, InstanceId=instance_id)
        for disk_id in many:
            assert disks.device(client, disk_id)
    agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
    agent.wait_status(instance_id, None)
    agent.wait_jobs()
    left = {disk["DiskId"] for disk in agent.call("DescribeDisks", DiskName="many*", PageSize=50)["Disks"]["Disk"]}
    assert left == set(many[8:])
    for disk_id in many[8:]:
        agent.call("DeleteDisk", DiskId=disk_id)
    agent.wait_jobs()
    assert lasting_violations(agent) == []


def test_a_category_limits_what_the_guest_gets(agent: AgentProcess, guest: str) -> None:
    capped, free = disks.create(agent, DiskCategory="cloud"), disks.create(agent, DiskCategory="cloud_ssd")
    count = 3 * CAPPED_IOPS
    seconds = {}
    for disk_id in (capped, free):
        disks.attach(agent, disk_id, guest)
        with login(agent, guest, password=PASSWORD) as client:
            read = f"dd if={disks.device(client, disk_id)} of=/dev/null bs=4k count={count} iflag=direct 2>/dev/null"
            began, ended = run(client, f"cat /proc/uptime && {read} && cat /proc/uptime").splitlines()
            seconds[disk_id] = float(ended.split()[0]) - float(began.split()[0])
        disks.detach(agent, disk_id, guest)
        agent.call("DeleteDisk", DiskId=disk_id)
    # A little more than its share is allowed in a burst.
    assert 0.7 * count / CAPPED_IOPS < seconds[capped]
    assert seconds[free] < seconds[capped] / 1.5, seconds
