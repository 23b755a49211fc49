"""A stopped instance gets another type and another system disk, on a real guest (SPEC D8, D11, I8, I9)."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.agent import HOST, REPOSITORY, AgentProcess
from tests.support.invariants import lasting_violations
from tests.support.ssh import login, run
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

PASSWORD, OTHER = "Passw0rd!x", "Passw0rd!y"


def _ecsctl(agent: AgentProcess, home: Path, *arguments: str) -> str:
    """What it prints, progress apart."""
    environment = os.environ | {"ECSCTL_ENDPOINT": f"unix://{agent.socket}", "ECSCTL_HOME": str(home)}
    command = [sys.executable, "-m", "ecsctl", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _system_disk(agent: AgentProcess, instance_id: str) -> dict[str, str]:
    [disk] = agent.call("DescribeDisks", InstanceId=instance_id, DiskType="system")["Disks"]["Disk"]
    return disk


def _samples(agent: AgentProcess, disk_id: str) -> tuple[int, int]:
    """(reads, bytes written) of all samples of a disk."""
    with contextlib.closing(sqlite3.connect(f"file:{agent.root}/data/ecs.db?mode=ro", uri=True)) as database:
        wanted = "SELECT total(reads), total(bytes_written) FROM disk_samples WHERE disk_id = ? AND period = 60"
        reads, written = database.execute(wanted, (disk_id,)).fetchone()
    return int(reads), int(written)


def _bring_to(agent: AgentProcess, instance_id: str, action: str, status: str) -> None:
    agent.call(action, InstanceId=instance_id)
    agent.wait_status(instance_id, status)


def test_another_type_and_another_system(agent: AgentProcess, tmp_path: Path) -> None:
    instance_id = agent.run_instance(Password=PASSWORD, UserData="IyEvYmluL3NoCmVjaG8gcmFuID4+L3Jvb3QvcmFuCg==")
    with login(agent, instance_id, password=PASSWORD) as client:
        run(client, "echo old >/root/file; dd if=/dev/zero of=/root/large bs=1M count=20 2>/dev/null; sync")
        memory = int(run(client, "awk '/MemTotal/ {print $2}' /proc/meminfo"))
        assert run(client, "nproc").strip() == "1"
        old_key = client.get_transport().get_remote_server_key().asbytes()  # type: ignore[union-attr]
    old, address = _system_disk(agent, instance_id), agent.instance(instance_id)["VpcAttributes"]  # type: ignore[index]
    # What it wrote is in a sample by the next full minute.
    wait_for("samples", lambda: _samples(agent, old["DiskId"])[1] >= 20 * 2**20, 130)
    assert "write requests" in _ecsctl(agent, tmp_path, "disk", "monitor", old["DiskId"], "--plot")
    _bring_to(agent, instance_id, "StopInstance", "Stopped")
    _ecsctl(agent, tmp_path, "instance", "set-type", instance_id, "ecs.s2.small")
    password = tmp_path / "password"
    password.write_text(OTHER)
    replace = ("instance", "replace-system-disk", instance_id, "--yes", "--image", "tiny_x64", "--size", "2")
    new_id = _ecsctl(agent, tmp_path, *replace, "--password-file", str(password)).strip()
    new = _system_disk(agent, instance_id)
    assert (new["DiskId"], new["Size"], new["Status"]) == (new_id, 2, "In_use")
    assert new_id != old["DiskId"]
    agent.wait_jobs()
    assert lasting_violations(agent) == []
    _bring_to(agent, instance_id, "StartInstance", "Running")
    with login(agent, instance_id, password=OTHER) as client:
        assert run(client, "ls /root/file /root/large 2>/dev/null | wc -l").strip() == "0"
        assert run(client, "nproc").strip() == "2"
        assert int(run(client, "awk '/MemTotal/ {print $2}' /proc/meminfo")) > 1.8 * memory
        assert run(client, "cat /sys/block/vda/serial").strip() == new_id.removeprefix("d-")
        assert run(client, "cat /sys/block/vda/size").strip() == str(2 * 2**30 // 512)
        assert client.get_transport().get_remote_server_key().asbytes() != old_key  # type: ignore[union-attr]
        metadata = "wget -qO- http://100.100.100.200/latest/meta-data"
        assert run(client, f"{metadata}/instance-id").strip() == instance_id
        assert run(client, f"{metadata}/image-id").strip() == "tiny_x64"
        assert run(client, f"{metadata}/instance/instance-type").strip() == "ecs.s2.small"
    assert agent.instance(instance_id)["VpcAttributes"] == address  # type: ignore[index]
    usage = agent.call("DescribeStorageUsage", HOST, DiskId=[new_id])["Disks"]["Disk"][0]
    assert 0 < usage["AllocatedBytes"] < usage["TotalBytes"] < usage["VirtualBytes"] == 2 * 2**30
    assert usage["SharedBytes"] == usage["TotalBytes"] - usage["AllocatedBytes"]
    agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
    agent.wait_status(instance_id, None)
    agent.wait_jobs()
    assert lasting_violations(agent) == []
