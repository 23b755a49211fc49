"""The image that users get: real Debian with real cloud-init, through the whole of the product (SPEC M1, I1, L1).

Its passwords, keys and user data, too (SPEC I6, I11, K3): tests of the tiny image know no cloud-init.
"""

from __future__ import annotations

import base64
import json
import subprocess
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import paramiko
import pytest

from tests.support import disks
from tests.support.agent import HOST, AgentProcess
from tests.support.ssh import login, run

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1500)]

PASSWORD, OTHER_PASSWORD = "Debian-Passw0rd", "Debian-Passw0rd-2"
# What the user's script says on its way; put together there, so that the script itself is no match.
SAID = "the user's script has run"
SCRIPT = '#!/bin/sh\necho once >>/root/user-data-ran\necho "the user\'s script" has run\n'
# The worst for us: it turns off the way by which clouds give a guest their own part.
CONFIG = "#cloud-config\nvendor_data: {enabled: false}\nruncmd: [[sh, -c, 'echo once >>/root/runcmd-ran']]\n"


def user_data() -> str:
    """Script and configuration in one message, in Base64."""
    made = MIMEMultipart()
    made.attach(MIMEText(SCRIPT, "x-shellscript"))
    made.attach(MIMEText(CONFIG, "cloud-config"))
    return base64.b64encode(made.as_bytes()).decode()


def host_key(client: paramiko.SSHClient) -> bytes:
    transport = client.get_transport()
    assert transport is not None
    return transport.get_remote_server_key().asbytes()


@pytest.fixture(scope="module")
def key(agent: AgentProcess) -> str:
    return agent.call("CreateKeyPair", KeyPairName="debian-test")["PrivateKeyBody"]


def test_debian_boots_with_cloud_init_and_takes_our_seeds(agent: AgentProcess, key: str) -> None:
    agent.ensure_image("debian_12_x64")
    instance_id = agent.run_instance(
        ImageId="debian_12_x64",
        HostName="bookworm",
        KeyPairName="debian-test",
        UserData=user_data(),
        SystemDisk={"Size": 6},
    )
    with login(agent, instance_id, key=key, seconds=600) as client:
        assert "status: done" in run(client, "cloud-init status --wait")
        assert run(client, "hostname").strip() == "bookworm"
        assert run(client, "cat /sys/class/dmi/id/product_name").strip() == "Alibaba Cloud ECS"
        assert run(client, f"getent hosts {instance_id}").split()[1] == f"{instance_id}.ecs.internal"
        assert run(client, "cat /root/user-data-ran /root/runcmd-ran").split() == ["once", "once"]
        assert run(client, "systemctl is-system-running --wait || systemctl --failed --no-legend").strip() == "running"
        gib = int(run(client, "df --output=size -B1 / | tail -1")) / 2**30
        assert gib > 5, "the root file system did not grow with the disk"
        serial = run(client, "lsblk -dno SERIAL /dev/vda").strip()
        assert f"d-{serial}" == agent.call("DescribeDisks", InstanceId=instance_id)["Disks"]["Disk"][0]["DiskId"]
        run(client, "echo 'ssh-rsa own-key' >>/root/.ssh/authorized_keys")
        _set_a_password_at_once(agent, instance_id, client)
        _use_a_disk(agent, instance_id, client)
        first_host_key = host_key(client)
    console = base64.b64decode(agent.call("GetInstanceConsoleOutput", InstanceId=instance_id)["ConsoleOutput"])
    assert SAID.encode() in console
    agent.call("DetachKeyPair", KeyPairName="debian-test", InstanceIds=json.dumps([instance_id]))
    agent.call("StopInstance", InstanceId=instance_id)
    agent.wait_status(instance_id, "Stopped", 200)
    agent.call("StartInstance", InstanceId=instance_id)
    with login(agent, instance_id, password=PASSWORD, seconds=600) as client:
        run(client, "cloud-init status --wait")
        assert run(client, "cat /root/user-data-ran /root/runcmd-ran").split() == ["once", "once"]
        assert run(client, "cat /root/.ssh/authorized_keys").strip() == "ssh-rsa own-key"
        assert host_key(client) == first_host_key
    with pytest.raises(paramiko.AuthenticationException), login(agent, instance_id, key=key):
        pass
    agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
    agent.wait_status(instance_id, None)


@pytest.mark.long  # tests/vm/test_custom_image.py has the tiny image, test_minimal.py the disk of another Debian
def test_an_instance_of_an_instances_image_is_somebody_else(agent: AgentProcess) -> None:
    """It has its content, and nothing of what that one was (SPEC M3)."""
    agent.ensure_image("debian_12_x64")
    source = agent.run_instance(ImageId="debian_12_x64", Password=PASSWORD, UserData=user_data())
    with login(agent, source, password=PASSWORD, seconds=600) as client:
        assert "status: done" in run(client, "cloud-init status --wait")
        run(client, "mkdir -p /root/.ssh && echo 'ssh-rsa own-key' >>/root/.ssh/authorized_keys && sync")
        was = _identity(client)
    image_id = agent.call("CreateImage", InstanceId=source)["ImageId"]
    agent.wait_jobs()
    agent.call("DeleteInstance", InstanceId=source, Force="true")
    agent.wait_status(source, None)
    _is_somebody_else(agent, image_id, source, was)


def _identity(client: paramiko.SSHClient) -> set[str]:
    """What tells the guest from all others: machine id, host keys, root's password, host name."""
    told = run(client, "cat /etc/machine-id /etc/ssh/ssh_host_*_key.pub /etc/hostname; getent shadow root")
    return {word for line in told.splitlines() for word in line.split(":")[:2] if word != "root"}


def _is_somebody_else(agent: AgentProcess, image_id: str, source: str, was: set[str]) -> None:
    made = agent.run_instance(ImageId=image_id, Password=OTHER_PASSWORD)
    with login(agent, made, password=OTHER_PASSWORD, seconds=600) as client:
        assert "status: done" in run(client, "cloud-init status --wait")
        found = _identity(client)
        assert len(found) == len(was)
        assert not found & was
        assert run(client, "cat /root/.ssh/authorized_keys").strip() == "ssh-rsa own-key"
        assert run(client, "cat /root/user-data-ran /root/runcmd-ran").split() == ["once", "once"]
        assert run(client, "ls /var/lib/cloud/instances").split() == [made]
        places = "/etc /root /var/lib/cloud /var/lib/systemd /run/cloud-init"
        assert run(client, f"grep -rl {source} {places} || true") == ""
        assert run(client, "test ! -e /etc/shadow- || cut -d: -f2 /etc/shadow- | head -1").strip() not in was
        assert run(client, "ls -d /var/log/journal/$(cat /etc/machine-id)").strip()
        assert "cloud-init" in run(client, "journalctl -b --no-pager -n 2000")
        assert run(client, "systemctl is-system-running --wait || systemctl --failed --no-legend").strip() == "running"
    agent.call("DeleteInstance", InstanceId=made, Force="true")
    agent.wait_status(made, None)
    agent.call("DeleteImage", ImageId=image_id)
    [snapshot] = agent.call("DescribeSnapshots")["Snapshots"]["Snapshot"]
    agent.call("DeleteSnapshot", SnapshotId=snapshot["SnapshotId"])


def _use_a_disk(agent: AgentProcess, instance_id: str, client: paramiko.SSHClient) -> None:
    """Found by its serial; while the guest agent says that it is mounted, the guest is not asked to let go of it."""
    disk_id = disks.create(agent, Size=20)
    disks.attach(agent, disk_id, instance_id)
    path = f"/dev/disk/by-id/virtio-{disk_id.removeprefix('d-')}"
    run(client, f"udevadm settle && mkfs.ext4 -q {path} && mkdir /srv/d && mount {path} /srv/d && echo x >/srv/d/x")
    agent.call("DetachDisk", DiskId=disk_id, InstanceId=instance_id)
    assert disks.settled(agent, disk_id)["Status"] == "In_use"
    assert "the guest has it mounted at /srv/d; unmount it" in disks.last_job(agent, disk_id)["Message"]
    assert run(client, "cat /srv/d/x").strip() == "x"
    agent.call("ResizeDisk", DiskId=disk_id, NewSize=21)
    disks.settled(agent, disk_id)
    run(client, f"resize2fs {path} 2>&1")
    assert int(run(client, "df --output=size -BG /srv/d | tail -1").strip().rstrip("G")) == 21
    _take_a_snapshot(agent, instance_id, disk_id, client)
    run(client, "umount /srv/d")
    disks.detach(agent, disk_id, instance_id)
    agent.call("DeleteDisk", DiskId=disk_id)


def _take_a_snapshot(agent: AgentProcess, instance_id: str, disk_id: str, client: paramiko.SSHClient) -> None:
    """The guest agent freezes the file systems (SPEC S2): even what was only in the guest's memory is in the snapshot,
    and needs no journal to be read."""
    run(client, "echo unsynced >/srv/d/late")
    snapshot_id = agent.call("CreateSnapshot", DiskId=disk_id)["SnapshotId"]
    agent.wait_jobs()
    [found] = agent.call("DescribeSnapshots", SnapshotIds=json.dumps([snapshot_id]))["Snapshots"]["Snapshot"]
    assert (found["Status"], found["Consistency"]) == ("accomplished", "filesystem")
    run(client, "echo thawed >/srv/d/after && sync")
    copy = disks.create(agent, SnapshotId=snapshot_id, Size=21)
    disks.attach(agent, copy, instance_id)
    path = f"/dev/disk/by-id/virtio-{copy.removeprefix('d-')}"
    run(client, f"udevadm settle && mkdir /srv/c && mount -o ro,noload {path} /srv/c")
    assert run(client, "cat /srv/c/late; ls /srv/c").split() == ["unsynced", "late", "lost+found", "x"]
    run(client, "umount /srv/c")
    disks.detach(agent, copy, instance_id)
    agent.call("DeleteDisk", DiskId=copy)
    agent.call("DeleteSnapshot", SnapshotId=snapshot_id)


def _set_a_password_at_once(agent: AgentProcess, instance_id: str, client: paramiko.SSHClient) -> None:
    """By the guest agent: the guest has it, though SSH takes passwords only from the next console restart on."""
    answer = agent.call("ResetInstancePasswords", HOST, InstanceId=[instance_id], Password=PASSWORD, Now="true")
    agent.wait_jobs()
    [job] = agent.call("DescribeJobs", HOST, JobId=answer["JobIds"]["JobId"])["Jobs"]["Job"]
    assert job["Status"] == "Succeeded", job["Message"]
    kept = run(client, "getent shadow root").split(":")[1]
    again = subprocess.run(
        ["openssl", "passwd", "-6", "-salt", kept.split("$")[2], "-stdin"],
        input=f"{PASSWORD}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert kept == again.stdout.strip()
    with pytest.raises(paramiko.AuthenticationException), login(agent, instance_id, password=PASSWORD):
        pass
