"""Other ways to an instance: installed from an ISO, and taken over from another host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.agent import HOST, AgentProcess, running_agent
from tests.support.invariants import lasting_violations
from tests.support.iso import make_installer
from tests.support.libvirtd import PrivateLibvirt
from tests.support.ssh import login, run
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(240)]

PASSWORD = "Passw0rd!x"
TINY = "ecs.t1.small"


@pytest.fixture(scope="module")
def other(libvirtd: PrivateLibvirt) -> Iterator[AgentProcess]:
    """An agent to which the guests of the session's are foreign."""
    with running_agent(libvirtd.uri) as process:
        yield process


def test_an_instance_is_installed_from_an_iso(other: AgentProcess) -> None:
    other.call("CreateBucket", HOST, Bucket="isos")
    make_installer(other.root / "data/buckets/isos/installer.iso")
    disk = {"Format": "ISO", "OSSBucket": "isos", "OSSObject": "installer.iso"}
    image_id = other.call("ImportImage", DiskDeviceMapping=[disk])["ImageId"]
    other.wait_jobs()
    instance_id = other.run_instance(ImageId=image_id)
    console = other.root / f"data/console/{instance_id}.log"
    wait_for("the installed system", lambda: console.exists() and b"disk: booted" in console.read_bytes(), 60)
    assert console.read_bytes().count(b"installer: done") == 1
    other.wait_status(instance_id, "Running")
    [file] = (other.root / "data/images").glob("*.qcow2")
    other.call("StopInstance", InstanceId=instance_id, ForceStop="true")
    other.wait_status(instance_id, "Stopped")
    other.call("DeleteImage", ImageId=image_id, Force="true")
    other.wait_jobs()
    assert file.exists()  # it is in the drive
    other.call("EjectIso", HOST, InstanceId=instance_id)
    wait_for("the file's end", lambda: not file.exists(), 30)
    console.write_bytes(b"")
    other.call("StartInstance", InstanceId=instance_id)
    wait_for("the system without the ISO", lambda: b"disk: booted" in console.read_bytes(), 60)
    other.wait_status(instance_id, "Running")
    other.call("DeleteInstance", InstanceId=instance_id, Force="true")
    other.wait_status(instance_id, None)
    other.wait_jobs()
    assert lasting_violations(other) == []


def test_a_guest_of_this_host_is_taken_over(agent: AgentProcess, other: AgentProcess) -> None:
    first = agent.run_instance(Password=PASSWORD)
    domain = f"{agent.prefix}-{first}"
    with login(agent, first, password=PASSWORD) as session:
        run(session, "echo kept >/root/mark; sync")
    guests = {one["Name"]: one for one in other.call("DescribeForeignGuests", HOST)["Guests"]["Guest"]}
    assert "not shut off" in guests[domain]["Problem"]
    agent.call("StopInstance", InstanceId=first, ForceStop="true")
    agent.wait_status(first, "Stopped")
    image_id = other.call("AdoptGuest", HOST, Guest=domain, Setup="seed", ImageName="taken")["ImageId"]
    other.wait_jobs()
    agent.call("DeleteInstance", InstanceId=first)
    second = other.run_instance(ImageId=image_id, InstanceType=TINY, Password=PASSWORD)
    other.wait_status(second, "Running")
    with login(other, second, password=PASSWORD) as session:
        assert run(session, "cat /root/mark").strip() == "kept"
    other.call("DeleteInstance", InstanceId=second, Force="true")
    other.wait_status(second, None)
    other.call("DeleteImage", ImageId=image_id)
    other.wait_jobs()
    assert lasting_violations(other) == []
