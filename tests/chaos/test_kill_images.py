"""SIGKILL of the agent before and after every step of making an image of an instance, and of removing a deleted one's
files: the next agent finishes it."""

from __future__ import annotations

import contextlib
import http.client
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agent.jobs.kinds  # noqa: F401  (registers every kind)
from agent.app import CRASH_VARIABLE
from agent.jobs.model import KINDS
from tests.support.agent import AgentProcess, running_agent
from tests.support.invariants import lasting_violations
from tests.support.killed import cases, crash_file
from tests.support.libvirtd import PrivateLibvirt

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

CREATE, DROP = "image.create", "image.drop_files"
DATA = [{"Category": "cloud", "Size": 5}]


@pytest.fixture(scope="module")
def victim(libvirtd: PrivateLibvirt) -> Iterator[tuple[AgentProcess, str]]:
    """An agent, and its stopped instance with a data disk."""
    with running_agent(libvirtd.uri) as process:
        process.ensure_tiny_image()
        wanted = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small", "DataDisk": DATA}
        instance_id = process.call("CreateInstance", **wanted)["InstanceId"]
        process.wait_jobs()
        process.stop()
        process.environment[CRASH_VARIABLE] = str(process.root / "crash-at")
        yield process, instance_id


@pytest.fixture
def crash_at(victim: tuple[AgentProcess, str]) -> Iterator[Path]:
    with crash_file(victim[0]) as file:
        yield file


def _killed_in(process: AgentProcess, crash_at: Path, at: str, action: str, **params: Any) -> None:
    crash_at.write_text(at)
    with contextlib.suppress(OSError, http.client.HTTPException):  # the agent may die before it has answered
        process.call(action, **params)
    process.died()
    crash_at.unlink()
    process.start()


def _made(process: AgentProcess, params: dict[str, str]) -> str:
    """The image, when all is done; the same token: that of the first call."""
    image_id = str(process.call("CreateImage", **params)["ImageId"])
    process.wait_jobs()
    [image] = process.call("DescribeImages", ImageId=image_id)["Images"]["Image"]
    disks = image["DiskDeviceMappings"]["DiskDeviceMapping"]
    assert [(disk["Type"], disk["Progress"]) for disk in disks] == [("system", "100%"), ("data", "100%")]
    return image_id


def _is_clean(process: AgentProcess) -> None:
    for snapshot in process.call("DescribeSnapshots")["Snapshots"]["Snapshot"]:
        process.call("DeleteSnapshot", SnapshotId=snapshot["SnapshotId"])
    process.wait_jobs()
    assert lasting_violations(process) == []


@pytest.mark.parametrize(("step", "when"), cases(KINDS[CREATE].steps))
def test_an_image_is_made_all_the_same(victim: tuple[AgentProcess, str], crash_at: Path, step: str, when: str) -> None:
    process, instance_id = victim
    params = {"InstanceId": instance_id, "ClientToken": str(uuid.uuid4())}
    _killed_in(process, crash_at, f"{CREATE}:{step}:{when}", "CreateImage", **params)
    process.call("DeleteImage", ImageId=_made(process, params))
    _is_clean(process)


@pytest.mark.parametrize(("step", "when"), cases(KINDS[DROP].steps))
def test_the_files_of_a_deleted_image_are_removed_all_the_same(
    victim: tuple[AgentProcess, str], crash_at: Path, step: str, when: str
) -> None:
    process, instance_id = victim
    image_id = _made(process, {"InstanceId": instance_id, "ClientToken": str(uuid.uuid4())})
    process.stop()
    # As an import leaves it: one disk of the image is a file of its own.
    file = process.root / "data/images" / f"{image_id}.qcow2"
    file.write_bytes(b"")
    with contextlib.closing(sqlite3.connect(process.root / "data/ecs.db")) as database, database:
        database.execute(
            "UPDATE image_disks SET file = ?, snapshot_id = NULL WHERE image_id = ? AND kind = 'data'",
            (image_id, image_id),
        )
    process.start()
    _killed_in(process, crash_at, f"{DROP}:{step}:{when}", "DeleteImage", ImageId=image_id)
    process.wait_jobs()
    assert not file.exists()
    _is_clean(process)
