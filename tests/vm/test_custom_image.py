"""Images made of a real guest, and instances made of these (SPEC M2-M4, M11): they get its content, and nothing of what
it was."""

from __future__ import annotations

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

PASSWORD, OTHER = "Passw0rd!x", "Passw0rd!y"
# What tells instances apart, as far as the tiny guest has it.
IDENTITY = "cat /etc/machine-id /etc/hostname; sed -n 's/^root://p' /etc/shadow; cat /root/.ssh/authorized_keys"


@pytest.fixture(scope="module")
def agent(libvirtd: PrivateLibvirt) -> Iterator[AgentProcess]:
    """One that makes disks small enough for the test."""
    with running_agent(
        libvirtd.uri, minimum_disk_gib=dict.fromkeys(("system", "cloud", "cloud_efficiency"), 1)
    ) as made:
        made.ensure_tiny_image()
        yield made


def _host_key(client: paramiko.SSHClient) -> bytes:
    transport = client.get_transport()
    assert transport is not None
    return transport.get_remote_server_key().asbytes()


def _identity(client: paramiko.SSHClient) -> list[str]:
    return [*run(client, IDENTITY).splitlines(), _host_key(client).hex()]


def _disks(agent: AgentProcess, instance_id: str) -> list[dict[str, Any]]:
    found = agent.call("DescribeDisks", InstanceId=instance_id)["Disks"]["Disk"]
    return sorted(found, key=lambda disk: disk["Device"])


def _image(agent: AgentProcess, image_id: str) -> dict[str, Any]:
    [found] = agent.call("DescribeImages", ImageId=image_id, Status="Available,Creating,CreateFailed")["Images"][
        "Image"
    ]
    return found


def _wait_made(agent: AgentProcess, image_id: str) -> dict[str, Any]:
    wait_for("the image", lambda: _image(agent, image_id)["Status"] != "Creating", 60, every=0.05)
    return _image(agent, image_id)


def _start_anew(agent: AgentProcess, instance_id: str) -> None:
    """Initialise the system disk again, with another password."""
    agent.call("StopInstance", InstanceId=instance_id, ForceStop="true")
    agent.wait_status(instance_id, "Stopped")
    system = _disks(agent, instance_id)[0]["DiskId"]
    agent.call("ReInitDisk", DiskId=system, Password=PASSWORD, AutoStartInstance="true")
    agent.wait_jobs()
    agent.wait_status(instance_id, "Running")


def test_an_image_of_a_running_instance_gives_others_its_content_and_not_its_identity(agent: AgentProcess) -> None:
    source = agent.run_instance(
        Password=PASSWORD, HostName="source", DataDisk=[{"Category": "cloud_efficiency", "Size": 1}]
    )
    with login(agent, source, password=PASSWORD) as client:
        data = disks.device(client, _disks(agent, source)[1]["DiskId"])
        run(
            client, f"mke2fs -q {data} && mkdir /mnt/d && mount -t ext4 {data} /mnt/d && echo data >/mnt/d/file && sync"
        )
        run(client, "echo content >/root/file; tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id; sync")
        run(
            client,
            "printf '# BEGIN ecs\\nssh-rsa of-source\\n# END ecs\\nssh-rsa own\\n' >/root/.ssh/authorized_keys; sync",
        )
        was = _identity(client)
    image_id = agent.call("CreateImage", InstanceId=source, ImageName="whole")["ImageId"]
    image = _wait_made(agent, image_id)
    assert (image["Status"], image["Size"], image["Usable"]) == ("Available", 1, True), image["Message"]
    shown = image["DiskDeviceMappings"]["DiskDeviceMapping"]
    assert [(one["Device"], one["Type"], one["Size"]) for one in shown] == [
        ("/dev/xvda", "system", "1"),
        ("/dev/xvdb", "data", "1"),
    ]
    agent.call("DeleteInstance", InstanceId=source, Force="true")  # the image outlives it
    agent.wait_status(source, None)
    made = agent.run_instance(ImageId=image_id, Password=OTHER, DataDisk=[{"Size": 2}])
    assert [disk["Size"] for disk in _disks(agent, made)] == [1, 2]
    with login(agent, made, password=OTHER) as client:
        assert run(client, "cat /root/file").strip() == "content"
        data = disks.device(client, _disks(agent, made)[1]["DiskId"])
        assert run(client, f"mkdir -p /mnt/d && mount -t ext4 {data} /mnt/d && cat /mnt/d/file").strip() == "data"
        machine_id, name, password, *keys, host_key = _identity(client)
        assert keys == ["ssh-rsa own"]
        assert not {machine_id, name, password, host_key} & set(was)
        assert (len(machine_id), name) == (32, made)
        assert run(client, f"grep -rl {source} /var/lib/cloud /etc /root || true") == ""
        assert run(client, "ls /var/lib/cloud/instances").split() == [made]
        assert run(client, "ls /var/lib/cloud/ecs | wc -l").strip() == "1"
        run(client, "rm /root/file; sync")
    _start_anew(agent, made)
    with login(agent, made, password=PASSWORD) as client:
        assert run(client, "cat /root/file").strip() == "content"
        assert not set(_identity(client)) & ({*was, machine_id, host_key} - {"ssh-rsa own"})
    with pytest.raises(CallFailed, match="ImageUsingByInstance"):
        agent.call("DeleteImage", ImageId=image_id)
    agent.call("StopInstance", InstanceId=made, ForceStop="true")
    agent.wait_status(made, "Stopped")
    agent.call("DeleteImage", ImageId=image_id, Force="true")
    for disk in _disks(agent, made):
        with pytest.raises(CallFailed, match=r"InvalidOperation\.ImageNotFound"):
            agent.call("ReInitDisk", DiskId=disk["DiskId"], **({"Password": OTHER} if disk["Type"] == "system" else {}))
    agent.call("DeleteInstance", InstanceId=made, Force="true")
    agent.wait_status(made, None)
    for snapshot in agent.call("DescribeSnapshots")["Snapshots"]["Snapshot"]:
        agent.call("DeleteSnapshot", SnapshotId=snapshot["SnapshotId"])
    agent.wait_jobs()
    agent.wait_collected()
    assert lasting_violations(agent) == []
