"""SIGKILL of the agent before and after every step of imports, exports and conversions, and of undoing them when they
are cancelled: the next agent finishes what was begun.

The cases are made of the code's own table of kinds, so that a new step is covered without anyone remembering.
"""

from __future__ import annotations

import contextlib
import http.client
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agent.jobs.kinds  # noqa: F401  (registers every kind)
from agent.app import CRASH_VARIABLE
from agent.jobs.model import KINDS
from tests.support.agent import HOST, AgentProcess, CallFailed, running_agent
from tests.support.invariants import lasting_violations
from tests.support.killed import cases, crash_file
from tests.support.libvirtd import PrivateLibvirt
from tests.support.transfers import download, ended, objects, upload

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

TASKS = ("ImportImage", "ExportImage", "ConvertImage")
KINDS_HERE = [kind for kind in KINDS.values() if kind.task in TASKS]
CASES = [case for kind in KINDS_HERE for case in cases(kind.steps, kind.name)]
UNDONE = [
    (kind.name, step.name, when)
    for kind in KINDS_HERE
    for step in kind.steps[: kind.cancellable_until + 1]
    for when in ("before undo", "after undo")
]
CONTENT = os.urandom(3 << 20)


@pytest.fixture(scope="module")
def victim(libvirtd: PrivateLibvirt) -> Iterator[AgentProcess]:
    with running_agent(libvirtd.uri) as process:
        process.call("CreateBucket", HOST, Bucket="files")
        process.stop()
        process.environment[CRASH_VARIABLE] = str(process.root / "crash-at")
        yield process


@pytest.fixture
def crash_at(victim: AgentProcess) -> Iterator[Path]:
    with crash_file(victim) as file:
        yield file


def _import(agent: AgentProcess) -> dict[str, Any]:
    """Of a file that was sent only for it."""
    sent = agent.call("CreateUpload", HOST, Object="x.raw", Size=1)
    agent.call("AbortUpload", HOST, UploadId=sent["UploadId"])
    upload(agent, sent["Bucket"], "x.raw", CONTENT)
    disks = [{"OSSBucket": sent["Bucket"], "OSSObject": "x.raw"}]
    return {"DiskDeviceMapping": disks, "ImageName": "killed", "ClientToken": os.urandom(8).hex()}


def _export(agent: AgentProcess) -> dict[str, Any]:
    made = agent.call("ImportImage", **_import(agent))
    assert ended(agent, made["TaskId"])["TaskStatus"] == "Finished"
    return {"ImageId": made["ImageId"], "OSSBucket": "files"}


def _convert(agent: AgentProcess) -> dict[str, Any]:
    [source] = _import(agent)["DiskDeviceMapping"]
    return {**source, "TargetFormat": "vhd"}


def _begin(agent: AgentProcess, kind: str) -> None:
    """The call that begins the job; the agent may die before it has answered."""
    action, params = {
        "ImportImage": lambda: (("ImportImage",), _import(agent)),
        "ExportImage": lambda: (("ExportImage",), _export(agent)),
        "ConvertImage": lambda: (("ConvertImageObject", HOST), _convert(agent)),
    }[KINDS[kind].task]()
    (agent.root / "crash-at").write_text(agent.environment["case"])
    with contextlib.suppress(OSError, http.client.HTTPException):
        agent.call(*action, **params)


def _newest(agent: AgentProcess) -> dict[str, Any]:
    found: dict[str, Any] = agent.call("DescribeTasks", PageSize=1)["TaskSet"]["Task"][0]
    return found


def _left(agent: AgentProcess) -> list[str]:
    """What is in the hidden bucket, in staging and among the uploads."""
    data = agent.root / "data"
    hidden = [path.name for bucket in (data / "buckets").glob("ecs-import-*") for path in bucket.iterdir()]
    return hidden + os.listdir(data / "staging") + os.listdir(data / "uploads")


def _clear(agent: AgentProcess) -> None:
    for image in agent.call("DescribeImages", ImageOwnerAlias="self", PageSize=100)["Images"]["Image"]:
        agent.call("DeleteImage", ImageId=image["ImageId"])
    for key in objects(agent, "files"):
        agent.call("DeleteObject", HOST, Bucket="files", Object=key)


@pytest.mark.parametrize(("kind", "step", "when"), CASES)
def test_the_next_agent_finishes_what_a_killed_one_began(
    victim: AgentProcess, crash_at: Path, kind: str, step: str, when: str
) -> None:
    victim.environment["case"] = f"{kind}:{step}:{when}"
    _begin(victim, kind)
    victim.died()
    crash_at.unlink()
    victim.start()
    task = ended(victim, _newest(victim)["TaskId"])
    assert task["TaskStatus"] == "Finished", task
    if kind == "image.export":
        [key] = objects(victim, "files")
        assert download(victim, "files", key) == CONTENT
    if kind == "image.convert_object":
        [made] = _left(victim)
        assert (made.startswith("converted-"), made.endswith(".vhd")) == (True, True)
        [bucket] = (victim.root / "data/buckets").glob("ecs-import-*")
        victim.call("DeleteObject", HOST, Bucket=bucket.name, Object=made)
    else:
        [image] = victim.call("DescribeImages", ImageOwnerAlias="self")["Images"]["Image"]
        assert image["Status"] == "Available"
    assert _left(victim) == []
    assert lasting_violations(victim) == []
    _clear(victim)


@pytest.mark.parametrize(("kind", "step", "when"), UNDONE)
def test_what_is_cancelled_stays_so(victim: AgentProcess, crash_at: Path, kind: str, step: str, when: str) -> None:
    """The agent is killed first before the step, so that there is time to cancel it, and then while it is undone."""
    victim.environment["case"] = f"{kind}:{step}:before"
    _begin(victim, kind)
    victim.died()
    crash_at.write_text(f"{kind}:{step}:{when}")
    victim.environment["case"] = ""
    _cancel_at_start(victim)
    victim.died()
    crash_at.unlink()
    victim.start()
    task = ended(victim, _newest(victim)["TaskId"])
    assert task["TaskStatus"] == "Deleted", task
    assert objects(victim, "files") == []
    images = victim.call("DescribeImages", ImageOwnerAlias="self", Status="Creating,Available,CreateFailed")
    assert images["TotalCount"] == (1 if kind == "image.export" else 0)
    assert _left(victim) == []
    assert lasting_violations(victim) == []
    _clear(victim)


def _cancel_at_start(agent: AgentProcess) -> None:
    """As if somebody had asked for it just before the agent died."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(agent.root / "data/ecs.db")) as database:
        database.execute("UPDATE jobs SET cancelling = 1 WHERE state IN ('pending', 'running')")
        database.commit()
    with contextlib.suppress(AssertionError, CallFailed):  # it dies before or after its first answer
        agent.start()
