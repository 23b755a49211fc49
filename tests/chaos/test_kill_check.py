"""SIGKILL of the agent before and after every step of a check: the next agent finishes it and leaves nothing.

What is checked is no image, so that no appliance needs to start for the report: the steps are the same.
"""

from __future__ import annotations

import contextlib
import http.client
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import agent.jobs.kinds  # noqa: F401  (registers every kind)
from agent.app import CRASH_VARIABLE
from agent.jobs.model import KINDS
from tests.support.agent import HOST, AgentProcess, running_agent
from tests.support.invariants import lasting_violations
from tests.support.killed import cases, crash_file
from tests.support.libvirtd import PrivateLibvirt
from tests.support.transfers import put_by_hand

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

KIND = "image.check"


@pytest.fixture(scope="module")
def victim(libvirtd: PrivateLibvirt) -> Iterator[AgentProcess]:
    with running_agent(libvirtd.uri) as process:
        process.call("CreateBucket", HOST, Bucket="files")
        put_by_hand(process, "files", "broken.qcow2", b"QFI\xfb" + b"\xff" * 4096)
        process.stop()
        process.environment[CRASH_VARIABLE] = str(process.root / "crash-at")
        yield process


@pytest.fixture
def crash_at(victim: AgentProcess) -> Iterator[Path]:
    with crash_file(victim) as file:
        yield file


@pytest.mark.parametrize(("step", "when"), cases(KINDS[KIND].steps))
def test_the_next_agent_finishes_what_a_killed_one_began(
    victim: AgentProcess, crash_at: Path, step: str, when: str
) -> None:
    crash_at.write_text(f"{KIND}:{step}:{when}")
    with contextlib.suppress(OSError, http.client.HTTPException):  # the agent may die before it has answered
        victim.call("CheckImage", HOST, OSSObject="oss://files/broken.qcow2")
    victim.died()
    crash_at.unlink()
    victim.start()
    victim.wait_jobs()
    job = victim.call("DescribeJobs", HOST)["Jobs"]["Job"][0]
    assert (job["Kind"], job["Status"]) == (KIND, "Succeeded")
    report = victim.call("DescribeImageCheck", HOST, JobId=job["JobId"])
    assert [item["Name"] for item in report["Items"]["Item"]] == ["Format"]
    assert os.listdir(victim.root / "data/staging") == []
    assert lasting_violations(victim) == []
