"""How soon a running guest has a disk that is attached, and how fast it writes to one without limits, beside plain QEMU
with the same image, devices and file system in the same run.

`BENCH_ROUNDS` takes another number of rounds.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest

from agent.drivers.storage.local import LAYOUT
from tests.bench.measure import in_ms, median, seconds_of
from tests.bench.plain import Machine, PlainQemu, data_disk
from tests.support import disks
from tests.support.agent import HOST, AgentProcess, running_agent
from tests.support.libvirtd import PrivateLibvirt
from tests.support.ssh import login, run

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
PASSWORD = "Passw0rd!x"
MIB = 512  # written in each round

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300 + 60 * ROUNDS)]


@pytest.fixture(scope="module")
def agent(libvirtd: PrivateLibvirt) -> Iterator[AgentProcess]:
    """One whose category cloud_ssd has no limits."""
    small = dict.fromkeys(("system", "cloud_ssd"), 1)
    with running_agent(libvirtd.uri, minimum_disk_gib=small, disk_limits={"cloud_ssd": {"iops": 0}}) as process:
        process.ensure_tiny_image()
        yield process


@pytest.fixture(scope="module")
def guest(agent: AgentProcess) -> str:
    instance_id = agent.run_instance(Password=PASSWORD)
    agent.wait_status(instance_id, "Running")
    return instance_id


@pytest.fixture
def machine(agent: AgentProcess) -> Machine:
    """That of an instance which never runs."""
    instance_id = agent.call("CreateInstance", ImageId="tiny_x64", InstanceType="ecs.t1.small", Password=PASSWORD)
    agent.wait_jobs()
    card = agent.instance(instance_id["InstanceId"])["NetworkInterfaces"]["NetworkInterface"][0]  # type: ignore[index]
    (image,) = (agent.root / "data/images").glob("tiny_x64-*.qcow2")
    return Machine(
        image=image,
        seed=agent.root / f"data/seeds/{instance_id['InstanceId']}.iso",
        mac=card["MacAddress"],
        uuid="c0ffee00-0000-4000-8000-000000000002",
        memory_mib=1024,
        disk_gib=1,
        accelerator=agent.call("DescribeHost", HOST)["Host"]["Acceleration"]["Kind"],
    )


def test_attach_to_visible(agent: AgentProcess, guest: str, report: Callable[[str], None]) -> None:
    seen, answered = [], []
    with login(agent, guest, password=PASSWORD) as client:
        for _ in range(2 * ROUNDS):
            disk_id = disks.create(agent, DiskCategory="cloud_ssd")
            serial = disk_id.removeprefix("d-")
            look = f"echo; until grep -q {serial} /sys/block/vd*/serial 2>/dev/null; do usleep 5000; done; echo there"
            _, out, _ = client.exec_command(look)
            out.readline()  # it is looking

            def attach(one: str = disk_id, output: paramiko.ChannelFile = out) -> None:
                call = {"DiskId": one, "InstanceId": guest}
                answered.append(seconds_of(lambda: agent.call("AttachDisk", **call)))
                assert output.readline().strip() == "there"

            seen.append(seconds_of(attach))
            disks.settled(agent, disk_id)
            disks.detach(agent, disk_id, guest)
            agent.call("DeleteDisk", DiskId=disk_id)
    report(f"attach: call answered {in_ms(answered)}; disk in the guest {in_ms(seen)}")


def test_sequential_writes(agent: AgentProcess, guest: str, machine: Machine, report: Callable[[str], None]) -> None:
    disk_id = disks.create(agent, DiskCategory="cloud_ssd")
    disks.attach(agent, disk_id, guest)
    ours, theirs = [], []
    with _plain(agent, machine) as plain, login(agent, guest, password=PASSWORD) as product:
        for number in range(1, ROUNDS + 2):
            turns = [(ours, product, disks.device(product, disk_id)), (theirs, plain, "/dev/vdb")]
            for speeds, client, device in turns[:: 1 if number % 2 else -1]:  # who is second may find a warmer host
                speeds.append(_write(client, device))
            what = "first writes" if number == 1 else "overwriting"
            report(f"round {number}, {what}: product {ours[-1]:.0f} MiB/s, plain QEMU {theirs[-1]:.0f} MiB/s")
    (first, *ours), (plain_first, *theirs) = ours, theirs
    report(f"first writes of {MIB} MiB: {first / plain_first:.2f} x plain QEMU")
    report(f"overwriting: {median(ours):.0f} and {median(theirs):.0f} MiB/s, {median(ours) / median(theirs):.2f} x")


@contextmanager
def _plain(agent: AgentProcess, machine: Machine) -> Iterator[paramiko.SSHClient]:
    """A client logged in to plain QEMU's guest, which has an empty disk of the product's layout."""
    directory = Path(agent.root) / "plain"
    directory.mkdir()
    data = directory / "data.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", LAYOUT, str(data), "1G"], check=True)
    with PlainQemu(machine, directory, data_disk(data)) as guest, paramiko.SSHClient() as client:
        guest.start()
        guest.wait_banner()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        client.connect("127.0.0.1", guest.port, "root", PASSWORD, look_for_keys=False, allow_agent=False)
        yield client


def _write(client: paramiko.SSHClient, device: str) -> float:
    """MiB/s of one sequential write past the guest's cache."""
    write = f"dd if=/dev/zero of={device} bs=1M count={MIB} oflag=direct conv=fsync 2>/dev/null"
    began, ended = run(client, f"cat /proc/uptime && {write} && cat /proc/uptime").splitlines()
    return MIB / (float(ended.split()[0]) - float(began.split()[0]))
