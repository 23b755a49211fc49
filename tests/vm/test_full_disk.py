"""A guest that fills the disk of the host is paused, told of, goes on when there is room, and loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from tests.support.agent import HOST, AgentProcess, CallFailed, running_agent
from tests.support.invariants import lasting_violations
from tests.support.libvirtd import private_libvirt
from tests.support.small_disk import fill, small_disk_for_guests
from tests.support.ssh import login, run
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

PASSWORD = "Passw0rd!x"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    for directory in (tmp_path, *tmp_path.parents[:3]):
        directory.chmod(0o755)  # QEMU's user has to get there
    with small_disk_for_guests(tmp_path / "small", 400) as directory:
        yield directory


@pytest.fixture
def crowded(small: Path) -> Iterator[AgentProcess]:
    """An agent whose disk has 400 MiB, of which it keeps 20 back; with a libvirtd that was started after the mount,
    for it has mounts of its own."""
    settings = {"data_dir": str(small / "data"), "disk_reserve_gib": 20 / 1024}
    with private_libvirt() as libvirtd, running_agent(libvirtd.uri, **settings) as agent:
        (agent.root / "data").symlink_to(small / "data")
        agent.ensure_tiny_image()
        yield agent


def _paused(agent: AgentProcess, instance_id: str) -> tuple[bool, str]:
    """Whether libvirt says so, and what the agent says."""
    connection = libvirt.open(agent.settings["libvirt_uri"])
    try:
        state, reason = connection.lookupByName(f"{agent.prefix}-{instance_id}").state()
    finally:
        connection.close()
    paused = (state, reason) == (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR)
    return paused, agent.call("DescribeInstanceDiagnosis", HOST, InstanceId=instance_id)["Reason"]


def test_a_guest_waits_for_room_and_goes_on(crowded: AgentProcess, small: Path) -> None:
    instance_id = crowded.run_instance(Password=PASSWORD)
    with login(crowded, instance_id, password=PASSWORD) as client:
        run(client, "dd if=/dev/urandom of=/run/part bs=1M count=1 2>/dev/null; sync")
        filler = fill(small, 12 * 2**20)
        with pytest.raises(CallFailed, match="reserved") as refused:
            crowded.call("CreateInstance", ImageId="tiny_x64", InstanceType="ecs.t1.small")
        assert refused.value.code == "OperationDenied.NoStock"
        assert any("refused below" in line for line in _problems(crowded))
        _, out, _ = client.exec_command("for i in $(seq 32); do cat /run/part; done >/root/whole; sync; echo written")
        wait_for("the guest's pause", lambda: _paused(crowded, instance_id)[0])
        wait_for("the reason", lambda: "disk is full" in _paused(crowded, instance_id)[1])
        assert crowded.status(instance_id) == "Running"
        assert any(instance_id in line for line in _problems(crowded))
        filler.unlink()
        assert out.read() == b"written\n"
        wait_for("no reason any more", lambda: _paused(crowded, instance_id) == (False, ""))
        run(client, "echo 3 >/proc/sys/vm/drop_caches")
        wanted = run(client, "for i in $(seq 32); do cat /run/part; done | sha256sum")
        assert run(client, "sha256sum </root/whole") == wanted
        wait_for("no problem any more", lambda: not any(instance_id in line for line in _problems(crowded)))
    crowded.wait_jobs()
    assert lasting_violations(crowded) == []


def _problems(agent: AgentProcess) -> list[str]:
    return agent.call("DescribeHost", HOST)["Host"]["Problems"]["Problem"]
