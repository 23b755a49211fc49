"""Disks of strangers are looked into in the appliance; a system without cloud-init becomes an instance (SPEC M8)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from agent.drivers.image.appliance import Appliance
from agent.drivers.image.inspector import GuestfsInspector
from tests.support.agent import HOST, REPOSITORY, AgentProcess, running_agent
from tests.support.images import share_appliance, shared_appliance, tiny_image
from tests.support.libvirtd import PrivateLibvirt
from tests.support.ssh import login, run
from tests.support.transfers import ended, put_by_hand

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

PASSWORD, OTHER_PASSWORD = "Passw0rd!x", "An0ther!Passw0rd"
SMALL = {"InstanceType": "ecs.t1.small"}


@pytest.fixture(scope="module")
def agent(libvirtd: PrivateLibvirt) -> Iterator[AgentProcess]:
    with running_agent(libvirtd.uri, prepare=share_appliance) as process:
        process.call("CreateBucket", HOST, Bucket="files")
        yield process


def _items(report: dict[str, Any]) -> dict[str, str]:
    return {item["Name"]: item["Result"] for item in report["Items"]["Item"]}


def _ecsctl(agent: AgentProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "ECSCTL_ENDPOINT": f"unix://{agent.socket}", "ECSCTL_HOME": "/nowhere"}
    command = [sys.executable, "-m", "ecsctl", *arguments]
    return subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=280)


def test_a_file_is_checked_from_the_command_line(agent: AgentProcess, tmp_path: Path) -> None:
    disk = tmp_path / "tiny.vmdk"
    options = ["-f", "qcow2", "-O", "vmdk", "-o", "subformat=streamOptimized"]
    subprocess.run(["qemu-img", "convert", *options, str(tiny_image()), str(disk)], check=True)
    done = _ecsctl(agent, "image", "check", str(disk), "-o", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["Result"], report["OSType"], report["Platform"]) == ("Warning", "linux", "Customized Linux")
    items = _items(report)
    assert {name for name, result in items.items() if result == "Warning"} == {"Format", "CloudInit"}
    assert items["Drivers"] == items["Integrity"] == items["BootLoader"] == "Ok"
    assert os.listdir(agent.root / "data/staging") == []


def test_what_is_wrong_with_a_disk_is_said_item_by_item(agent: AgentProcess, tmp_path: Path) -> None:
    """A system as nobody should bring it: GPT, no boot code, a data disk in fstab, a fixed address, no SSH."""
    put_by_hand(agent, "files", "wrong.raw", _wrong_disk(tmp_path).read_bytes())
    done = _ecsctl(agent, "image", "check", "oss://files/wrong.raw")
    assert done.returncode == 1, done.stderr
    assert "Repair them before the import" in done.stderr
    job_id = next(j["JobId"] for j in agent.call("DescribeJobs", HOST)["Jobs"]["Job"] if j["Kind"] == "image.check")
    items = _items(agent.call("DescribeImageCheck", HOST, JobId=job_id))
    wrong = {"BootCode", "Integrity", "BootLoader", "Drivers", "Fstab", "Port22", "NetworkInterfaces", "SystemFiles"}
    assert {name for name, result in items.items() if result == "Failed"} == wrong
    assert items["PartitionTable"] == items["CloudInit"] == items["SELinux"] == items["Firewall"] == "Warning"


def _wrong_disk(directory: Path) -> Path:
    files = {
        "etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Wrong 12"\n',
        "etc/debian_version": "12.0\n",
        "etc/fstab": "UUID=5d0b6c8c-3c2b-4a4c-9f0d-5a1f3a7f0001 /data ext4 defaults 0 2\n",
        "etc/shadow": "root:*:19000:0:99999:7:::\n",
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/selinux/config": "SELINUX=enforcing\n",
        "etc/ufw/ufw.conf": "ENABLED=yes\n",
        "etc/network/interfaces": "auto eth0\niface eth0 inet static\n  address 10.0.0.5/24\n",
        "lib/modules/6.1.0-1/modules.dep": "kernel/drivers/block/virtio_blk.ko:\n",
        "boot/vmlinuz-6.1.0-1": "no kernel",
        "bin/sh": "",
    }
    root = directory / "root"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name in ("usr", "var", "proc", "home", "tmp", "sbin", "dev"):
        (root / name).mkdir(exist_ok=True)
    (root / "home/damaged").write_text("text")
    partition, disk = directory / "partition.raw", directory / "wrong.raw"
    for path, size in ((partition, 60 << 20), (disk, 64 << 20)):
        with path.open("wb") as stream:
            stream.truncate(size)
    # Without extents a file's blocks stand in its inode, where one can be put that there is not.
    features = ["-t", "ext4", "-O", "^extents,^64bit,^metadata_csum", "-d", str(root)]
    subprocess.run(["mke2fs", "-q", *features, str(partition)], check=True)
    damage = "set_inode_field /home/damaged block[0] 99999999"
    subprocess.run(["debugfs", "-w", "-R", damage, str(partition)], check=True, capture_output=True)
    subprocess.run(["sfdisk", "-q", str(disk)], input="label: gpt\nstart=2048\n", text=True, check=True)
    with disk.open("r+b") as stream:
        stream.seek(1 << 20)
        stream.write(partition.read_bytes())
    return disk


# As RHEL and its kin are installed: all that is wanted is there, and virtio is built in.
PLAIN = {
    "/etc/os-release": 'ID=almalinux\nVERSION_ID="9.4"\nPRETTY_NAME="AlmaLinux 9.4"\n',
    "/etc/redhat-release": "AlmaLinux release 9.4 (Seafoam Ocelot)\n",
    "/etc/shadow": "root:*:19000:0:99999:7:::\n",
    "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "/etc/selinux/config": "SELINUX=disabled\n",
    "/etc/ssh/sshd_config": "PermitRootLogin yes\n",
    "/etc/systemd/system/multi-user.target.wants/sshd.service": "",
    "/usr/sbin/sshd": "",
    "/usr/bin/cloud-init": "",
    "/sbin/init": "",
    "/bin/sh": "",
    "/boot/grub2/grub.cfg": "",
    "/boot/vmlinuz-5.14.0-1": "",
    "/lib/modules/5.14.0-1/modules.builtin": "".join(
        f"kernel/drivers/{name}.ko\n" for name in ("block/virtio_blk", "virtio/virtio_pci", "net/virtio_net")
    ),
}


@pytest.mark.parametrize(
    ("kind", "device", "more"),
    [
        ("lvm", "/dev/guest/root", {"RootPartition"}),
        pytest.param("xfs", "/dev/sda1", set(), marks=pytest.mark.long),
    ],
)
def test_a_root_on_xfs_or_on_a_logical_volume_is_looked_into(
    agent: AgentProcess, tmp_path: Path, kind: str, device: str, more: set[str]
) -> None:
    put_by_hand(agent, "files", f"{kind}.raw", _volume_disk(tmp_path, kind).read_bytes())
    job_id = agent.call("CheckImage", HOST, OSSObject=f"oss://files/{kind}.raw")["JobId"]
    agent.wait_jobs(240)
    report = agent.call("DescribeImageCheck", HOST, JobId=job_id)
    assert (report["OSType"], report["Platform"]) == ("linux", "AlmaLinux")
    [root] = [item for item in report["Items"]["Item"] if item["Name"] == "FileSystem"]
    assert root["Value"] == f"xfs on {device}; it works here"
    # The public cloud supports neither XFS nor partitions beside the root's, and both work here.
    assert {name for name, result in _items(report).items() if result != "Ok"} == {"FileSystem", *more}


def _volume_disk(directory: Path, kind: str) -> Path:
    appliance = Appliance(shared_appliance()).ensure()
    disk = directory / f"{kind}.raw"
    with disk.open("wb") as stream:
        stream.truncate(480 << 20)
    environment = {"LIBGUESTFS_PATH": str(appliance), "LIBGUESTFS_BACKEND": "direct", "PATH": os.environ["PATH"]}
    command = ["/usr/bin/python3", REPOSITORY / "tests/support/volume_disks.py", kind, disk]
    subprocess.run(command, input=json.dumps(PLAIN), env=environment, text=True, check=True)
    return disk


def test_a_system_without_cloud_init_becomes_an_instance(agent: AgentProcess) -> None:
    """The tiny image, which finds no seed: all it knows of itself stands in its own files."""
    put_by_hand(agent, "files", "custom.qcow2", tiny_image().read_bytes())
    made = agent.call(
        "ImportImage",
        Platform="Customized Linux",
        DetectionStrategy="Standard",
        DiskDeviceMapping=[{"OSSBucket": "files", "OSSObject": "custom.qcow2"}],
    )
    assert ended(agent, made["TaskId"])["TaskStatus"] == "Finished"
    image = {"ImageId": made["ImageId"], "HostName": "from-files", "Password": PASSWORD}
    [instance_id] = agent.call("RunInstances", **SMALL, **image)["InstanceIdSets"]["InstanceIdSet"]
    agent.wait_status(instance_id, "Running")
    assert not (agent.root / "data/seeds" / f"{instance_id}.iso").exists()
    with login(agent, instance_id, password=PASSWORD) as client:
        assert run(client, "hostname; cat /var/lib/ecs/instance").split() == ["from-files", instance_id]
        first = run(client, "md5sum </etc/dropbear/host_key")
    agent.call("ModifyInstanceAttribute", InstanceId=instance_id, Password=OTHER_PASSWORD)
    agent.call("RebootInstance", InstanceId=instance_id, ForceStop="true")
    agent.wait_jobs()
    with pytest.raises(paramiko.AuthenticationException), login(agent, instance_id, password=PASSWORD):
        pass
    with login(agent, instance_id, password=OTHER_PASSWORD) as client:
        assert run(client, "md5sum </etc/dropbear/host_key") == first  # still the same instance
    agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
    agent.wait_jobs()
    [image] = agent.call("DescribeImages", ImageId=made["ImageId"])["Images"]["Image"]
    found = image["DetectionOptions"]
    assert found["Status"] == "Finished"
    risks = {item["RiskCode"]: item["RiskLevel"] for item in found["Items"]["Item"] if item["RiskLevel"] != ""}
    assert risks == {"CloudInit": "Medium", "Port22": "Low"}  # what starts its SSH server cannot be told


def test_the_jail_shows_the_disk_and_no_more_of_the_host(tmp_path: Path) -> None:
    canary, disk, appliance = tmp_path / "canary", tmp_path / "disks/disk.qcow2", tmp_path / "appliance"
    disk.parent.mkdir()
    appliance.mkdir()
    canary.write_text("a secret of the host")
    disk.write_text("content\n")
    disk.chmod(0o444)
    inspector = GuestfsInspector(tmp_path / "unused", lambda: "tcg")
    command = inspector._command([disk], appliance, writable=False, kvm=False)
    look = f"id -u; id -G; cat {disk}; cat {canary} /etc/shadow; ls /proc | grep -c '^[0-9]'; ls /sys; echo x >{disk}"
    jailed = [*command[: command.index("/usr/bin/python3")], "sh", "-c", look]
    done = subprocess.run(jailed, capture_output=True, text=True, check=False)
    user, groups, content, processes = done.stdout.splitlines()
    assert user != "0"
    assert "0" not in groups.split()
    assert content == "content"  # and nothing of the other two files
    assert int(processes) < 8  # only those in the jail
    assert disk.read_text() == "content\n"
    assert done.returncode != 0
