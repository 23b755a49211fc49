"""Kills while a guest writes: of the agent at every step of taking snapshots and collecting what is left of them, and
of the guest's QEMU. No acknowledged write is lost, and every snapshot is the disk of one moment.

The cases are made of the code's own table of kinds, so that a new step is covered without anyone remembering.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

import agent.jobs.kinds  # noqa: F401  (registers every kind)
from agent.app import CRASH_VARIABLE
from agent.jobs.layers.take import TAKE
from agent.jobs.layers.tree import COLLECT
from agent.jobs.model import KINDS
from tests.support import disks, sequence
from tests.support.agent import AgentProcess, running_agent
from tests.support.invariants import lasting_violations
from tests.support.killed import cases
from tests.support.libvirtd import PrivateLibvirt
from tests.support.ssh import login, run
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

PASSWORD = "Passw0rd!x"
CASES = [case for kind in (TAKE, COLLECT) for case in cases(KINDS[kind].steps, kind)]


@dataclass
class Guest:
    agent: AgentProcess
    instance: str
    disk: str
    device: str

    def take(self) -> str:
        """Asked for; the agent may die before it has answered."""
        snapshot = str(self.agent.call("CreateSnapshot", DiskId=self.disk)["SnapshotId"])
        return snapshot

    def taken(self, snapshot: str) -> int:
        """The number that was written last when the snapshot was taken."""
        [found] = wait_for(f"{snapshot} taken", lambda: self._ended(snapshot))
        assert found["Status"] == "accomplished", found
        return self.last_in(f"SELECT layer_id FROM snapshots WHERE id = '{snapshot}'")

    def _ended(self, snapshot: str) -> list[dict[str, str]]:
        found = self.agent.call("DescribeSnapshots", SnapshotIds=json.dumps([snapshot]))["Snapshots"]["Snapshot"]
        return [one for one in found if one["Status"] != "progressing"]

    def last_in(self, query: str) -> int:
        """The number written last in the layer that is asked for."""
        content = wait_for("the end of merges", lambda: sequence.read(self._file(query)))
        assert content
        return sequence.last_in(content)

    def _file(self, query: str) -> Path:
        with closing(sqlite3.connect(f"file:{self.agent.root}/data/ecs.db?mode=ro", uri=True)) as database:
            [[layer]] = database.execute(query)
        return self.agent.root / "data/disks" / f"{layer}.qcow2"

    def delete(self, *snapshots: str) -> None:
        for snapshot in snapshots:
            self.agent.call("DeleteSnapshot", SnapshotId=snapshot)
        self.agent.wait_collected()


@pytest.fixture(scope="module")
def guest(libvirtd: PrivateLibvirt, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    small = dict.fromkeys(("system", "cloud_ssd"), 1)
    with running_agent(libvirtd.uri, minimum_disk_gib=small) as agent:
        agent.ensure_tiny_image()
        agent.stop()
        agent.environment[CRASH_VARIABLE] = str(agent.root / "crash-at")
        agent.start()
        instance = agent.run_instance(Password=PASSWORD, DataDisk=[{"Category": "cloud_ssd", "Size": 1}])
        agent.wait_status(instance, "Running")
        [data] = agent.call("DescribeDisks", InstanceId=instance, DiskType="data")["Disks"]["Disk"]
        with login(agent, instance, password=PASSWORD) as client:
            sequence.install(client, tmp_path_factory.mktemp("writer"))
            yield Guest(agent, instance, data["DiskId"], disks.device(client, data["DiskId"]))


@pytest.mark.parametrize(("kind", "step", "when"), CASES)
def test_the_next_agent_finishes_what_a_killed_one_began(guest: Guest, kind: str, step: str, when: str) -> None:
    victim, crash_at = guest.agent, guest.agent.root / "crash-at"
    with login(victim, guest.instance, password=PASSWORD) as client:
        fresh = f"dd if=/dev/zero of={guest.device} bs={sequence.BLOCK} count={sequence.BLOCKS} conv=fsync 2>/dev/null"
        run(client, f"{fresh}; (setsid /tmp/writer {guest.device} {sequence.BLOCKS} 1000 >/tmp/written 2>&1 &)")
        wait_for("the first write", lambda: run(client, "tail -n 1 /tmp/written"))
        snapshots = []
        for _ in range(2 if kind == COLLECT else 0):
            snapshots.append(guest.take())
            victim.wait_jobs()
        crash_at.write_text(f"{kind}:{step}:{when}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            if snapshots:
                victim.call("DeleteSnapshot", SnapshotId=snapshots[0])
            else:
                guest.take()
        victim.died()
    crash_at.unlink()
    victim.start()
    victim.wait_collected()
    kept = victim.call("DescribeSnapshots", DiskId=guest.disk)["Snapshots"]["Snapshot"][0]["SnapshotId"]
    between = guest.taken(kept)
    with login(victim, guest.instance, password=PASSWORD) as client:
        run(client, "killall writer")
        written = int(run(client, "grep -c . /tmp/written"))
    last = guest.take()
    assert 0 < between <= written <= guest.taken(last)
    if len(victim.call("DescribeSnapshots", DiskId=guest.disk)["Snapshots"]["Snapshot"]) > 2:
        guest.delete(snapshots[0])  # the agent died before the call had done anything
    guest.delete(kept, last)
    assert lasting_violations(victim) == []


def test_qemu_dies_while_snapshots_are_taken_and_deleted(guest: Guest, libvirtd: PrivateLibvirt) -> None:
    agent = guest.agent
    with login(agent, guest.instance, password=PASSWORD) as client:
        writer = sequence.Writer(client, guest.device, 1000)
        taken: list[tuple[str, int]] = []
        for _ in range(4):
            before = writer.acknowledged
            snapshot = guest.take()
            taken.append((snapshot, guest.taken(snapshot)))
            assert before <= taken[-1][1] <= writer.acknowledged + 1
        agent.call("DeleteSnapshot", SnapshotId=taken[1][0])
        guest.take()
        os.kill(libvirtd.qemu_pid(f"{agent.prefix}-{guest.instance}"), signal.SIGKILL)
        client.close()  # its guest cannot tell it any more
        writer.join()
    agent.wait_status(guest.instance, "Stopped")
    agent.wait_jobs()
    assert guest.last_in(f"SELECT layer_id FROM disks WHERE id = '{guest.disk}'") >= writer.acknowledged
    assert [guest.taken(snapshot) for snapshot, _ in (taken[0], *taken[2:])] == [n for _, n in (taken[0], *taken[2:])]
    assert lasting_violations(agent) == []
