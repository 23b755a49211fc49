"""SIGKILL of the agent before and after every step of making public images: the next agent finishes it."""

from __future__ import annotations

import contextlib
import http.client
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import agent.jobs.kinds  # noqa: F401  (registers every kind)
from agent.app import CRASH_VARIABLE
from agent.jobs.kinds.image_catalogue import BUILD, PULL
from agent.jobs.model import KINDS
from tests.support.agent import HOST, AgentProcess, CallFailed, running_agent
from tests.support.distribution import Distribution
from tests.support.invariants import lasting_violations
from tests.support.libvirtd import PrivateLibvirt
from tests.support.small_catalogue import BUILT, PULLED, SmallCatalogue
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(120)]

ACTIONS = {BUILD: ("BuildImage", BUILT), PULL: ("PullImage", PULLED)}
CASES = [
    (kind, step.name, when) for kind in (BUILD, PULL) for step in KINDS[kind].steps for when in ("before", "after")
]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallCatalogue]:
    with Distribution(tmp_path_factory.mktemp("distribution")) as distribution:
        yield SmallCatalogue(tmp_path_factory.mktemp("catalogue"), distribution)


@pytest.fixture(scope="module")
def victim(libvirtd: PrivateLibvirt, catalogue: SmallCatalogue) -> Iterator[AgentProcess]:
    with running_agent(libvirtd.uri, catalogue_dir=str(catalogue.directory)) as process:
        process.stop()
        process.environment[CRASH_VARIABLE] = str(process.root / "crash-at")
        yield process


def files(process: AgentProcess, image_id: str) -> list[str]:
    """Of the image, wherever the agent puts files of images."""
    found = [path for name in ("images", "build", "staging") for path in (process.root / "data" / name).glob("**/*")]
    return sorted(path.name for path in found if path.is_file() and image_id in path.name)


@pytest.mark.parametrize(("kind", "step", "when"), CASES)
def test_the_next_agent_finishes_what_a_killed_one_began(
    victim: AgentProcess, catalogue: SmallCatalogue, kind: str, step: str, when: str
) -> None:
    action, image_id = ACTIONS[kind]
    crash_at = victim.root / "crash-at"
    if victim.process is None:
        victim.start()
    crash_at.write_text(f"{kind}:{step}:{when}")
    with contextlib.suppress(OSError, http.client.HTTPException):  # the agent may die before it has answered
        victim.call(action, HOST, ImageId=image_id, Force="true")
    victim.died()
    crash_at.unlink()
    victim.start()
    victim.wait_jobs()
    [image] = victim.call("DescribeImages", ImageId=image_id)["Images"]["Image"]
    assert image["Status"] == "Available"
    with contextlib.closing(sqlite3.connect(f"file:{victim.root}/data/ecs.db?mode=ro", uri=True)) as database:
        [[file]] = database.execute("SELECT file FROM image_disks WHERE image_id = ?", (image_id,))
    assert files(victim, image_id) == [f"{file}.qcow2"]
    assert lasting_violations(victim) == []


def test_cancelling_leaves_nothing_and_the_image_that_was_there(
    victim: AgentProcess, catalogue: SmallCatalogue, tmp_path: Path
) -> None:
    """Of an image that is new nothing at all is left; one that was there before is as it was."""
    if victim.process is None:
        victim.start()
    before = files(victim, BUILT)
    catalogue.slow.touch()
    job_id = victim.call("BuildImage", HOST, ImageId=BUILT, Force="true")["JobId"]
    wait_for("the build", lambda: job(victim, job_id)["Message"] == "half of it")
    cancel(victim, job_id)
    wait_for("the end", lambda: job(victim, job_id)["Status"] == "Cancelled")
    catalogue.slow.unlink()
    assert files(victim, BUILT) == before
    [image] = victim.call("DescribeImages", ImageId=BUILT)["Images"]["Image"]
    assert image["Status"] == "Available"
