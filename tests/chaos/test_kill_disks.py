"""SIGKILL of the agent after every step of every disk job, when all is done and nothing is journalled: the next agent
finishes it. That a step which was not begun is begun by the next agent, test_kill_agent shows for all kinds.

The cases are made of the code's own table of kinds, so that a new step is covered without anyone remembering.
"""

from __future__ import annotations

import contextlib
import http.client
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import agent.jobs.kinds  # noqa: F401  (registers every kind)
from agent.app import CRASH_VARIABLE
from agent.jobs.model import KINDS
from tests.support import disks
from tests.support.agent import AgentProcess, running_agent
from tests.support.invariants import lasting_violations
from tests.support.killed import crash_file
from tests.support.libvirtd import PrivateLibvirt
from tests.support.ssh import login

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

PASSWORD = "Passw0rd!x"
NEW = {"ZoneId": "local-a", "DiskCategory": "cloud_efficiency", "Size": 1}


@dataclass
class Guests:
    agent: AgentProcess
    running: str
    stopped: str

    def free(self) -> dict[str, Any]:
        return {"DiskId": disks.create(self.agent)}

    def plugged(self) -> dict[str, Any]:
        wanted = self.free()
        disks.attach(self.agent, wanted["DiskId"], self.running)
        return wanted

    def kept(self) -> dict[str, Any]:
        """A disk of the stopped instance."""
        wanted = self.free()
        disks.attach(self.agent, wanted["DiskId"], self.stopped)
        return wanted

    def taken(self) -> dict[str, Any]:
        wanted = self.free()
        snapshot_id = self.agent.call("CreateSnapshot", **wanted)["SnapshotId"]
        self.agent.wait_jobs()
        return wanted | {"SnapshotId": snapshot_id}


Prepare = Callable[[Guests], dict[str, Any]]
# By kind: what is there before and given to the call, the action, and the state that the disk is in at the end.
CALLS: dict[str, tuple[Prepare, str, str]] = {
    "disk.create": (lambda guests: NEW, "CreateDisk", "Available"),
    "disk.create_attached": (lambda guests: NEW | {"InstanceId": guests.running}, "CreateDisk", "In_use"),
    "disk.attach": (lambda guests: guests.free() | {"InstanceId": guests.running}, "AttachDisk", "In_use"),
    "disk.detach": (lambda guests: guests.plugged() | {"InstanceId": guests.running}, "DetachDisk", "Available"),
    "disk.resize": (lambda guests: guests.plugged() | {"NewSize": 2}, "ResizeDisk", "In_use"),
    "disk.reinit": (lambda guests: guests.kept(), "ReInitDisk", "In_use"),
    "disk.roll_back": (lambda guests: guests.taken(), "ResetDisk", "Available"),
}
# These are the reconciler's own; tests/vm/test_disks.py and tests/unit/jobs cover them.
NOT_HERE = ("disk.attach_again", "disk.expel")
CASES = [
    (kind.name, step.name)
    for kind in KINDS.values()
    if kind.name.startswith("disk.") and kind.name not in NOT_HERE
    for step in kind.steps
]


@pytest.fixture(scope="module")
def guests(libvirtd: PrivateLibvirt) -> Iterator[Guests]:
    small = dict.fromkeys(("system", "cloud_efficiency"), 1)
    with running_agent(libvirtd.uri, minimum_disk_gib=small) as agent:
        agent.ensure_tiny_image()
        running = agent.run_instance(Password=PASSWORD)
        stopped = agent.call("CreateInstance", ImageId="tiny_x64", InstanceType="ecs.t1.small")["InstanceId"]
        agent.wait_jobs()
        with login(agent, running, password=PASSWORD):  # it answers requests to let go of a disk from now on
            agent.stop()
        agent.environment[CRASH_VARIABLE] = str(agent.root / "crash-at")
        yield Guests(agent, running, stopped)


@pytest.fixture
def crash_at(guests: Guests) -> Iterator[Path]:
    with crash_file(guests.agent) as file:
        yield file


@pytest.mark.parametrize(("kind", "step"), CASES)
def test_the_next_agent_finishes_what_a_killed_one_began(guests: Guests, crash_at: Path, kind: str, step: str) -> None:
    agent = guests.agent
    prepare, action, wanted = CALLS[kind]
    params = prepare(guests)
    if "DiskId" not in params:
        params = params | {"ClientToken": str(uuid.uuid4())}
    crash_at.write_text(f"{kind}:{step}:after")
    with contextlib.suppress(OSError, http.client.HTTPException):  # the agent may die before it has answered
        agent.call(action, **params)
    agent.died()
    crash_at.unlink()
    agent.start()
    # The same token: the disk of the first call.
    disk_id = params.get("DiskId") or agent.call(action, **params)["DiskId"]
    found = disks.settled(agent, disk_id)
    assert (found["Status"], found["Size"]) == (wanted, params.get("NewSize", 1))
    agent.wait_jobs()
    assert lasting_violations(agent) == []
    if wanted == "In_use":
        disks.detach(agent, disk_id, found["InstanceId"])
    agent.call("DeleteDisk", DiskId=disk_id)
    agent.wait_jobs()
