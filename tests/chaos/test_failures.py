"""What breaks around the agent gives one clear line, leaves nothing half-made, and heals without a person."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent import HOST, AgentProcess, CallFailed, running_agent
from tests.support.invariants import violations
from tests.support.libvirtd import PrivateLibvirt
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

SMALL = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 MiB."""
    tmp_path.chmod(0o755)
    directory = tmp_path / "small"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=0755", "tmpfs", str(directory)], check=True)
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


def _fill(directory: Path, leave_bytes: int) -> Path:
    """A file that leaves `leave_bytes` free."""
    filler = directory / "filler"
    free = int(subprocess.check_output(["stat", "-f", "-c", "%a*%S", str(directory)]).split(b"*")[0]) * 4096
    with filler.open("wb") as stream:
        stream.write(bytes(max(0, free - leave_bytes)))
    return filler


def _jobs(agent: AgentProcess, resource_id: str) -> list[dict[str, str]]:
    return agent.call("DescribeJobs", HOST, ResourceId=[resource_id])["Jobs"]["Job"]


def test_a_full_disk_is_said_and_nothing_is_left(libvirtd: PrivateLibvirt, small_disk: Path) -> None:
    with running_agent(libvirtd.uri, data_dir=str(small_disk / "data"), disk_reserve_gib=0) as agent:
        (agent.root / "data").symlink_to(small_disk / "data")
        agent.ensure_tiny_image()
        filler = _fill(small_disk, 0)
        with pytest.raises(CallFailed, match="no room") as refused:
            agent.call("RunInstances", **SMALL)
        assert refused.value.code == "OperationDenied.NoStock"
        with pytest.raises(CallFailed, match="disk") as refused:
            agent.call("CreateVpc", VpcName="x" * 100)
        assert refused.value.status == 503
        # Room for the journal, none for a disk: the job gives up and undoes what it did.
        filler.unlink()
        filler = _fill(small_disk, 450_000)
        instance_id = agent.call("CreateInstance", **SMALL)["InstanceId"]
        wait_for("the job's failure", lambda: [j for j in _jobs(agent, instance_id) if j["Status"] == "Failed"])
        assert "space" in _jobs(agent, instance_id)[0]["Message"]
        assert agent.instance(instance_id) is None
        filler.unlink()
        agent.wait_jobs()
        assert violations(agent) == []
        again = agent.call("CreateInstance", **SMALL)["InstanceId"]
        agent.wait_status(again, "Stopped")


def test_without_libvirt_the_agent_serves_and_says_so() -> None:
    with running_agent("qemu+unix:///system?socket=/nonexistent/libvirt-sock") as agent:
        agent.ensure_tiny_image()
        assert "/nonexistent/libvirt-sock" in agent.call("DescribeHost", HOST)["Host"]["Hypervisor"]
        with pytest.raises(CallFailed, match="libvirt") as refused:
            agent.call("RunInstances", **SMALL)
        assert refused.value.status == 503
        assert agent.call("DescribeVpcs")["TotalCount"] == 1


def test_libvirt_away_for_a_while_only_delays_a_start(libvirtd: PrivateLibvirt) -> None:
    with running_agent(libvirtd.uri) as agent:
        agent.ensure_tiny_image()
        instance_id = agent.call("CreateInstance", **SMALL)["InstanceId"]
        agent.wait_status(instance_id, "Stopped")
        agent.call("StartInstance", InstanceId=instance_id)
        libvirtd.kill_libvirtd()
        libvirtd.start_libvirtd()
        agent.wait_status(instance_id, "Running")
        agent.wait_jobs()
        assert violations(agent) == []
