"""SIGKILL of the agent before and after every step of making public images: the next agent finishes it."""

from __future__ import annotations

import contextlib
import http.client
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import agent.jobs.kinds  # noqa: F401  (registers every kind)
from agent.app import CRASH_VARIABLE
from agent.jobs.kinds.image_catalogue import BUILD, PULL
from agent.jobs.model import KINDS
from tests.support.agent import HOST, AgentProcess, CallFailed, running_agent
from tests.support.distribution import NAME, Distribution
from tests.support.invariants import lasting_violations
from tests.support.killed import cases
from tests.support.libvirtd import PrivateLibvirt
from tests.support.small_catalogue import BUILT, PULLED, SmallCatalogue
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(120)]

ACTIONS = {BUILD: ("BuildImage", BUILT), PULL: ("PullImage", PULLED)}
# All but the second step of a build are those of a download.
STEPS = {BUILD: KINDS[BUILD].steps[1:2], PULL: KINDS[PULL].steps}
CASES = [case for kind in (BUILD, PULL) for case in cases(STEPS[kind], kind)]


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Distribution]:
    with Distribution(tmp_path_factory.mktemp("distribution")) as server:
        yield server


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory, distribution: Distribution) -> SmallCatalogue:
    return SmallCatalogue(tmp_path_factory.mktemp("catalogue"), distribution)


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
    victim.died(30)
    crash_at.unlink()
    victim.start()
    victim.wait_jobs()
    [image] = victim.call("DescribeImages", ImageId=image_id)["Images"]["Image"]
    assert image["Status"] == "Available"
    with contextlib.closing(sqlite3.connect(f"file:{victim.root}/data/ecs.db?mode=ro", uri=True)) as database:
        [[file]] = database.execute("SELECT file FROM image_disks WHERE image_id = ?", (image_id,))
    assert files(victim, image_id) == [f"{file}.qcow2"]
    assert lasting_violations(victim) == []


def test_cancelling_leaves_nothing_but_the_image_that_was_there(
    victim: AgentProcess, catalogue: SmallCatalogue, distribution: Distribution
) -> None:
    if victim.process is None:
        victim.start()
    before = files(victim, BUILT), files(victim, PULLED)
    assert all(before)
    _cancel(victim, "BuildImage", BUILT, catalogue.slow.touch, "half of it")
    catalogue.slow.unlink()
    catalogue.change(2)
    _cancel(victim, "PullImage", PULLED, distribution.hold.clear, "downloading")
    distribution.hold.set()
    assert (files(victim, BUILT), files(victim, PULLED)) == before
    images = victim.call("DescribeImages", ImageId=f"{BUILT},{PULLED}")["Images"]["Image"]
    assert [image["Status"] for image in images] == ["Available"] * 2
    assert lasting_violations(victim) == []


def _cancel(process: AgentProcess, action: str, image_id: str, hold: Callable[[], None], until: str) -> None:
    """Cancel a job in the middle of what `hold` makes last."""
    hold()
    job_id = process.call(action, HOST, ImageId=image_id, Force="true")["JobId"]

    def job() -> dict[str, Any]:
        [found] = process.call("DescribeJobs", HOST, JobId=[job_id])["Jobs"]["Job"]
        return found  # type: ignore[no-any-return]

    wait_for(until, lambda: until in job()["Message"])
    process.call("CancelTask", TaskId=job_id)
    wait_for("the end", lambda: job()["Status"] == "Cancelled")
    [task] = process.call("DescribeTasks", TaskIds=job_id)["TaskSet"]["Task"]
    assert (task["TaskAction"], task["TaskStatus"]) == (action, "Deleted")


def test_only_what_is_newer_is_made_anew(victim: AgentProcess, catalogue: SmallCatalogue) -> None:
    if victim.process is None:
        victim.start()
    source = catalogue.change(3)
    first = _refreshed(victim)
    assert first[PULLED]["Source"] == source
    assert _refreshed(victim) == first
    catalogue.change(4)
    second = _refreshed(victim)
    assert all(second[image_id]["Source"] != first[image_id]["Source"] for image_id in first)
    assert [len(files(victim, image_id)) for image_id in first] == [1, 1]


def _refreshed(process: AgentProcess) -> dict[str, Any]:
    """The catalogue, after a refresh of both images."""
    for image_id in (BUILT, PULLED):
        process.call("RefreshImage", HOST, ImageId=image_id)
    process.wait_jobs()
    return {one["ImageId"]: one for one in process.call("DescribeCatalogue", HOST)["Recipes"]["Recipe"]}


def test_what_cannot_be_had_is_said_in_one_line(
    victim: AgentProcess, catalogue: SmallCatalogue, distribution: Distribution
) -> None:
    if victim.process is None:
        victim.start()
    catalogue.change(5)
    distribution.files[f"/{NAME}"] = b"something else"
    _fails(victim, "does not have the checksum sha256:")
    # The right file by its checksum, but no image of the format that it should have.
    distribution.publish(b"QFI\xfb" + b"x" * 100000)
    distribution.sign()
    _fails(victim, "")
    distribution.files["/SUMS"] += b"\n"
    _fails(victim, "its signature by the key")
    del distribution.files["/SUMS"]
    _fails(victim, "/SUMS: the server says 404 Not Found")
    [image] = victim.call("DescribeImages", ImageId=PULLED)["Images"]["Image"]
    assert image["Status"] == "Available"
    with pytest.raises(CallFailed, match=r"OperationDenied\.WrongRecipe.*use PullImage"):
        victim.call("BuildImage", HOST, ImageId=PULLED)


def _fails(process: AgentProcess, why: str) -> None:
    job_id = process.call("PullImage", HOST, ImageId=PULLED, Force="true")["JobId"]
    process.wait_jobs()
    [job] = process.call("DescribeJobs", HOST, JobId=[job_id])["Jobs"]["Job"]
    assert job["Status"] == "Failed"
    assert why in job["Message"]
    assert "\n" not in job["Message"]
    assert "internal error" not in job["Message"]
