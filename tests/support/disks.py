"""What tests of disks do often: over the API, and in a guest without udev."""

from __future__ import annotations

import json
from typing import Any

import paramiko

from tests.support.agent import HOST, AgentProcess
from tests.support.ssh import run
from tests.support.waiting import wait_for

RESTLESS = ("Creating", "Attaching", "Detaching", "ReIniting")


def create(agent: AgentProcess, **params: Any) -> str:
    """A disk of 1 GiB unless said otherwise, Available; its id."""
    wanted = {"ZoneId": "local-a", "DiskCategory": "cloud_efficiency", "Size": 1} | params
    disk_id = agent.call("CreateDisk", **wanted)["DiskId"]
    settled(agent, disk_id)
    return disk_id


def describe(agent: AgentProcess, disk_id: str) -> dict[str, Any] | None:
    found = agent.call("DescribeDisks", DiskIds=json.dumps([disk_id]))["Disks"]["Disk"]
    return found[0] if found else None


def settled(agent: AgentProcess, disk_id: str, seconds: float = 120) -> dict[str, Any]:
    """The disk as soon as no operation on it goes on."""

    def look() -> dict[str, Any] | None:
        found = describe(agent, disk_id)
        assert found, f"{disk_id} is gone: {agent.output()[-2000:]}"
        jobs = agent.call("DescribeJobs", HOST, ResourceId=[disk_id])["Jobs"]["Job"]
        ended = all(job["Status"] in ("Succeeded", "Failed") for job in jobs)
        return found if ended and found["Status"] not in RESTLESS else None

    return wait_for(f"rest of {disk_id}", look, seconds, every=0.02)


def last_job(agent: AgentProcess, disk_id: str) -> dict[str, Any]:
    return agent.call("DescribeJobs", HOST, ResourceId=[disk_id])["Jobs"]["Job"][0]


def attach(agent: AgentProcess, disk_id: str, instance_id: str, **params: Any) -> None:
    agent.call("AttachDisk", DiskId=disk_id, InstanceId=instance_id, **params)
    assert settled(agent, disk_id)["Status"] == "In_use", last_job(agent, disk_id)


def detach(agent: AgentProcess, disk_id: str, instance_id: str) -> None:
    agent.call("DetachDisk", DiskId=disk_id, InstanceId=instance_id)
    assert settled(agent, disk_id)["Status"] == "Available", last_job(agent, disk_id)


def names(client: paramiko.SSHClient, disk_id: str) -> list[str]:
    """What the guest calls the disk with this serial: none or one name, as `vdb`."""
    serial = disk_id.removeprefix("d-")
    found = run(client, f"grep -l {serial} /sys/block/vd*/serial 2>/dev/null || true").split()
    return [path.split("/")[3] for path in found]


def device(client: paramiko.SSHClient, disk_id: str) -> str:
    """The disk's device in the guest, waiting for it to appear."""
    return "/dev/" + wait_for(f"{disk_id} in the guest", lambda: names(client, disk_id), 30)[0]


def size_gib(client: paramiko.SSHClient, disk_id: str) -> float:
    [name] = names(client, disk_id)
    return int(run(client, f"cat /sys/block/{name}/size")) / 2**21
