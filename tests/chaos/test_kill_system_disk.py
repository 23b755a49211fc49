"""SIGKILL of the agent before and after every step of replacing a system disk: the next agent finishes it."""

from __future__ import annotations

import contextlib
import http.client
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import agent.jobs.kinds  # noqa: F401  (registers every kind)
from agent.app import CRASH_VARIABLE
from agent.jobs.model import KINDS
from tests.support.agent import AgentProcess, running_agent
from tests.support.invariants import lasting_violations
from tests.support.killed import cases, crash_file
from tests.support.libvirtd import PrivateLibvirt

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

SMALL = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small"}
KIND = "system_disk.replace"


@pytest.fixture(scope="module")
def victim(libvirtd: PrivateLibvirt) -> Iterator[tuple[AgentProcess, str]]:
    """An agent that is not running, and its stopped instance."""
    with running_agent(libvirtd.uri) as process:
        process.ensure_tiny_image()
        instance_id = process.call("CreateInstance", **SMALL)["InstanceId"]
        process.wait_jobs()
        process.stop()
        process.environment[CRASH_VARIABLE] = str(process.root / "crash-at")
        yield process, instance_id


@pytest.fixture
def crash_at(victim: tuple[AgentProcess, str]) -> Iterator[Path]:
    with crash_file(victim[0]) as file:
        yield file


@pytest.mark.parametrize(("step", "when"), cases(KINDS[KIND].steps))
def test_the_next_agent_finishes_what_a_killed_one_began(
    victim: tuple[AgentProcess, str], crash_at: Path, step: str, when: str
) -> None:
    process, instance_id = victim
    [old] = process.call("DescribeDisks", InstanceId=instance_id)["Disks"]["Disk"]
    process.call("CreateSnapshot", DiskId=old["DiskId"])
    process.wait_jobs()
    params = {"InstanceId": instance_id, "ImageId": "tiny_x64", "Password": "Passw0rd!x"}
    params["ClientToken"] = str(uuid.uuid4())
    crash_at.write_text(f"{KIND}:{step}:{when}")
    with contextlib.suppress(OSError, http.client.HTTPException):  # the agent may die before it has answered
        process.call("ReplaceSystemDisk", **params)
    process.died()
    crash_at.unlink()
    process.start()
    new_id = process.call("ReplaceSystemDisk", **params)["DiskId"]  # the same token: the disk of the first call
    process.wait_jobs()
    [disk] = process.call("DescribeDisks", InstanceId=instance_id)["Disks"]["Disk"]
    assert (disk["DiskId"], disk["Status"]) == (new_id, "In_use")
    assert process.call("DescribeDisks")["TotalCount"] == 1
    [kept] = process.call("DescribeSnapshots", DiskId=old["DiskId"])["Snapshots"]["Snapshot"]
    assert kept["Status"] == "accomplished"
    assert lasting_violations(process) == []
