"""Snapshots of a running guest's 40 GiB disk with 1 GiB of data: time, pause, space, and what a long chain costs.

The pause is what a writer in the guest sees, which puts one block after the other on the disk.
"""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import paramiko
import pytest

from agent.drivers.storage.local import LAYOUT
from tests.bench.measure import in_ms, seconds_of
from tests.support import disks, sequence
from tests.support.agent import AgentProcess
from tests.support.ssh import login, run
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

PASSWORD = "Passw0rd!x"
GIB, MIB = 1 << 30, 1 << 20
CHANGED_MIB = 10  # about a hundredth of 1 GiB
ROUNDS = 5
CHAIN = 30
READS = 20_000
STRIDE = 53 * 4096  # so that reads that follow each other are of different clusters

Report = Callable[[str], None]


@dataclass
class Guest:
    agent: AgentProcess
    client: paramiko.SSHClient
    disk: str
    device: str

    def take(self) -> str:
        """A snapshot, from the call to `accomplished`."""
        snapshot = str(self.agent.call("CreateSnapshot", DiskId=self.disk)["SnapshotId"])

        def ended() -> bool:
            found = self.agent.call("DescribeSnapshots", SnapshotIds=json.dumps([snapshot]))["Snapshots"]["Snapshot"]
            return bool(found[0]["Status"] == "accomplished")

        wait_for(f"{snapshot} taken", ended, every=0.005)
        return snapshot

    def change(self, mib: int, first_mib: int) -> None:
        """Write somewhere behind the writer's blocks; not zeros, which copies leave out."""
        there = f"of={self.device} bs=1M count={mib} seek={first_mib} iflag=fullblock oflag=direct"
        run(self.client, f"yes | dd {there} 2>/dev/null")

    def allocated(self) -> int:
        """What the disk and its snapshots take of the host's disk."""
        return sum(path.stat().st_blocks * 512 for path in (self.agent.root / "data/disks").glob(f"{self.disk}.*"))

    def top(self) -> Path:
        with closing(sqlite3.connect(f"file:{self.agent.root}/data/ecs.db?mode=ro", uri=True)) as database:
            [[layer]] = database.execute("SELECT layer_id FROM disks WHERE id = ?", [self.disk])
        return self.agent.root / "data/disks" / f"{layer}.qcow2"


@pytest.fixture(scope="module")
def guest(fresh_agent: AgentProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    data = [{"Category": "cloud_ssd", "Size": 40}]
    instance = fresh_agent.run_instance(Password=PASSWORD, DataDisk=data)
    with login(fresh_agent, instance, password=PASSWORD) as client:
        [found] = fresh_agent.call("DescribeDisks", InstanceId=instance, DiskType="data")["Disks"]["Disk"]
        sequence.install(client, tmp_path_factory.mktemp("writer"))
        made = Guest(fresh_agent, client, found["DiskId"], disks.device(client, found["DiskId"]))
        made.change(1024, 4)
        yield made
    fresh_agent.call("DeleteInstance", InstanceId=instance, Force="true")
    for snapshot in fresh_agent.call("DescribeSnapshots", PageSize=100)["Snapshots"]["Snapshot"]:
        fresh_agent.call("DeleteSnapshot", SnapshotId=snapshot["SnapshotId"])
    fresh_agent.wait_jobs()


def test_time_pause_and_space(guest: Guest, report: Report) -> None:
    alone = sequence.Writer(guest.client, guest.device, 5)
    alone.join()
    writer = sequence.Writer(guest.client, guest.device, 15)
    before = guest.allocated()
    full = seconds_of(guest.take)
    spaces, times = [guest.allocated() - before], []
    for number in range(ROUNDS):
        guest.change(CHANGED_MIB, 4 + 50 * number)
        before = guest.allocated()
        times.append(seconds_of(guest.take))
        spaces.append(guest.allocated() - before)
    writer.join()
    report(f"full, 1 GiB of data     {full * 1000:.0f} ms; a new layer takes {max(spaces) / MIB:.1f} MiB")
    report(f"incremental, 1 % new    {in_ms(times)}")
    with_takes, without = (one.gap_seconds or 0.0 for one in (writer, alone))
    report(f"longest gap of a writer {with_takes * 1000:.0f} ms, {without * 1000:.0f} ms without (wanted: 100 ms)")


def test_space_returns(guest: Guest, report: Report) -> None:
    guest.change(100, 2000)
    first = guest.take()
    guest.change(100, 2000)
    second = guest.take()
    before = guest.allocated()
    seconds = seconds_of(lambda: _delete(guest, first))
    report(
        f"deleting 100 MiB that were overwritten: {(before - guest.allocated()) / MIB:.0f} MiB back in {seconds:.1f} s"
    )
    guest.agent.call("DeleteSnapshot", SnapshotId=second)


def _delete(guest: Guest, snapshot: str) -> None:
    guest.agent.call("DeleteSnapshot", SnapshotId=snapshot)
    guest.agent.wait_collected()


def test_what_a_long_chain_costs(guest: Guest, report: Report, tmp_path: Path) -> None:
    """Reads through 30 layers, beside the same content in one file, with QEMU's own benchmark."""
    for number in range(CHAIN):
        guest.change(CHANGED_MIB, 4 + number * 30)
        guest.take()
    flat, top = tmp_path / "flat.qcow2", guest.top()
    subprocess.run(["qemu-img", "convert", "-U", "-O", "qcow2", "-o", LAYOUT, str(top), str(flat)], check=True)
    for what, size, stride, count in (("random 4 KiB", 4096, STRIDE, READS), ("sequential 1 MiB", MIB, MIB, 1000)):
        chain, one = _bench(top, size, stride, count), _bench(flat, size, stride, count)
        through, alone = (count * size / MIB / seconds for seconds in (chain, one))
        report(f"{what:17} {through:6.0f} MiB/s through {CHAIN} snapshots, {alone:6.0f} in one file")


def _bench(path: Path, size: int, stride: int, count: int) -> float:
    """Seconds that `count` reads take, eight at a time."""
    words = ["-U", "-f", "qcow2", "-t", "none", "-d", "8", "-s", str(size), "-S", str(stride), "-o", str(4 * MIB)]
    answer = subprocess.check_output(["qemu-img", "bench", *words, "-c", str(count), str(path)], text=True)
    found = re.search(r"Run completed in ([0-9.]+) seconds", answer)
    assert found, answer
    return float(found.group(1))
