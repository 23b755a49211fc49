"""SIGKILL of the agent while the files of a system without cloud-init are being changed: nothing of the change goes on,
and the next agent makes the whole of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent import HOST, AgentProcess, running_agent
from tests.support.images import share_appliance, tiny_image
from tests.support.invariants import lasting_violations
from tests.support.libvirtd import PrivateLibvirt
from tests.support.ssh import login, run
from tests.support.transfers import ended, put_by_hand
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

PASSWORD = "Passw0rd!x"


@pytest.fixture
def victim(libvirtd: PrivateLibvirt) -> Iterator[tuple[AgentProcess, str]]:
    """An agent, and its customized image: the tiny one, which finds no seed."""
    with running_agent(libvirtd.uri, prepare=share_appliance) as process:
        process.call("CreateBucket", HOST, Bucket="files")
        put_by_hand(process, "files", "custom.qcow2", tiny_image().read_bytes())
        mapping = [{"OSSBucket": "files", "OSSObject": "custom.qcow2"}]
        made = process.call("ImportImage", Platform="Customized Linux", DiskDeviceMapping=mapping)
        assert ended(process, made["TaskId"])["TaskStatus"] == "Finished"
        yield process, made["ImageId"]


def _editors(disk: Path) -> list[str]:
    """Processes of the jail and of the appliance, which all name the disk."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and str(disk) in (words := (entry / "cmdline").read_text()):
                found.append(words.replace("\0", " "))
    return found


def _killed_while_it_writes(process: AgentProcess, disk: Path, writes: int) -> None:
    """As soon as the disk's file has changed so many times."""
    seen = {disk.stat().st_mtime_ns}

    def has_written() -> bool:
        seen.add(disk.stat().st_mtime_ns)
        return len(seen) > writes

    wait_for("changes of the disk", has_written, 60, every=0.0005)
    assert any("appliance" in words for words in _editors(disk))
    process.kill()
    wait_for("the end of the change", lambda: not _editors(disk), 30)


@pytest.mark.parametrize("kills", [(3,), pytest.param((1, 2, 8), marks=pytest.mark.long)])
def test_a_killed_change_of_a_systems_files_is_made_anew(
    victim: tuple[AgentProcess, str], kills: tuple[int, ...]
) -> None:
    """`kills`: after how many writes each."""
    process, image_id = victim
    wanted = {"ImageId": image_id, "HostName": "from-files", "Password": PASSWORD}
    instance_id = process.run_instance(**wanted)
    disks = process.root / "data/disks"
    wait_for("the disk's file", lambda: list(disks.glob("*.qcow2")))
    [disk] = disks.glob("*.qcow2")
    for writes in kills:
        _killed_while_it_writes(process, disk, writes)
        process.start()
    process.wait_status(instance_id, "Running")
    with login(process, instance_id, password=PASSWORD) as client:
        assert run(client, "hostname; cat /var/lib/ecs/instance").split() == ["from-files", instance_id]
        assert run(client, "find / -xdev -name '*.ecs'") == ""
    assert lasting_violations(process) == []
