"""What a Windows guest would meet, on a real QEMU: its devices, its seed, and the password's end (SPEC L2).

There is no Windows here. The tiny image plays one: the firmware boots it from the SATA disk; then its kernel, which has
virtio drivers only, waits in a shell on the serial line, in which the devices can be looked at.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent import REPOSITORY, AgentProcess
from tests.support.libvirtd import PrivateLibvirt
from tests.support.pty_session import PtySession
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

PASSWORD = "Passw0rd!x"
PROMPT = "/ #"


@pytest.fixture(scope="module")
def windows_image(agent: AgentProcess) -> Iterator[str]:
    """The tiny image, called Windows as long as these tests run."""

    def call_it(os_type: str, virtio: bool) -> None:
        with contextlib.closing(sqlite3.connect(agent.root / "data/ecs.db", timeout=30)) as database, database:
            change = "update images set os_type = ?, virtio = ? where id = 'tiny_x64'"
            database.execute(change, (os_type, virtio))

    call_it("windows", False)
    yield "tiny_x64"
    call_it("linux", True)


@pytest.fixture(scope="module")
def guest(agent: AgentProcess, windows_image: str) -> Iterator[str]:
    instance_id = agent.run_instance(InstanceName="win", Password=PASSWORD)
    agent.wait_status(instance_id, "Running")
    yield instance_id
    agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
    agent.wait_status(instance_id, None)


def config_drive(agent: AgentProcess, instance_id: str) -> dict[str, object]:
    """What cloudbase-init would find."""
    drive = agent.root / f"data/seeds/{instance_id}.config-drive"
    assert drive.stat().st_mode & 0o007 == 0
    command = ["isoinfo", "-J", "-i", str(drive), "-x", "/openstack/latest/meta_data.json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def boots(agent: AgentProcess, instance_id: str) -> int:
    output = agent.call("GetInstanceConsoleOutput", InstanceId=instance_id)["ConsoleOutput"]
    return base64.b64decode(output).decode(errors="replace").count(PROMPT)


def test_devices_seed_and_the_passwords_end(
    agent: AgentProcess, guest: str, libvirtd: PrivateLibvirt, tmp_path: Path
) -> None:
    first = config_drive(agent, guest)
    assert first["admin_pass"] == PASSWORD
    arguments = Path(f"/proc/{libvirtd.qemu_pid(f'{agent.prefix}-{guest}')}/cmdline").read_bytes()
    assert PASSWORD.encode() not in arguments
    for part in (b"-machine\0pc-q35", b"ide-hd", b"e1000e", b"usb-tablet", b"base=localtime"):
        assert part in arguments, part
    assert b"virtio" not in arguments

    wait_for("the shell of a kernel that finds no virtio disk", lambda: boots(agent, guest) > 0, 120)
    environ = os.environ | {
        "ECSCTL_HOME": str(tmp_path),
        "ECSCTL_ENDPOINT": f"unix://{agent.socket}",
        "PYTHONPATH": str(REPOSITORY),
    }
    with PtySession([sys.executable, "-m", "ecsctl", "instance", "console", "win"], environ) as session:
        session.expect("q leaves")
        session.send("busybox mkdir /sys; busybox mount -t sysfs s /sys; busybox cat /sys/bus/pci/devices/*/modalias\r")
        session.expect("cat /sys")
        found = session.expect(PROMPT)
        assert "pci:v00008086d000010D3" in found  # an Intel 82574: e1000e
        assert "bc01sc06i01" in found  # AHCI
        assert "pci:v00001AF4" not in found  # nothing of virtio
        session.send("busybox poweroff -f\r")
        assert session.end(60) == 0
    agent.wait_status(guest, "Stopped")

    agent.call("StartInstance", InstanceId=guest)
    agent.wait_status(guest, "Running")
    again = config_drive(agent, guest)
    assert "admin_pass" not in again  # it has been delivered
    assert again["uuid"] == first["uuid"]

    agent.call("ModifyInstanceAttribute", InstanceId=guest, Password="An0ther!pass")
    assert "admin_pass" not in config_drive(agent, guest)  # not before the next console restart
    agent.call("RebootInstance", InstanceId=guest, ForceStop="true")
    agent.wait_status(guest, "Running")
    reset = config_drive(agent, guest)
    assert reset["admin_pass"] == "An0ther!pass"
    assert reset["uuid"] != first["uuid"]
