"""SIGKILL of the agent after every step of plugging a card of the classic network into a running guest, and of taking
it away, when all is done and nothing is journalled: the next agent finishes it."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

import agent.jobs.kinds  # noqa: F401  (registers every kind)
from agent.app import CRASH_VARIABLE
from agent.jobs.kinds.internet_card import PLUG, UNPLUG
from agent.jobs.model import KINDS
from tests.support.agent import AgentProcess, running_agent
from tests.support.invariants import lasting_violations
from tests.support.killed import crash_file
from tests.support.libvirtd import PrivateLibvirt
from tests.support.ssh import login

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

PASSWORD = "Passw0rd!x"
# What one case leaves is what the next begins with.
CASES = [
    (kind, step.name)
    for pair in zip(KINDS[PLUG].steps, KINDS[UNPLUG].steps, strict=True)
    for kind, step in zip((PLUG, UNPLUG), pair, strict=True)
]


@pytest.fixture(scope="module")
def guest(libvirtd: PrivateLibvirt) -> Iterator[tuple[AgentProcess, str]]:
    with running_agent(libvirtd.uri) as process:
        process.ensure_tiny_image()
        instance_id = process.run_instance(InstanceNetworkType="classic", Password=PASSWORD)
        with login(process, instance_id, password=PASSWORD):  # from now on it answers when a card is taken away
            process.call("ModifyInstanceNetworkSpec", InstanceId=instance_id, InternetMaxBandwidthOut=1)
        process.stop()
        process.environment[CRASH_VARIABLE] = str(process.root / "crash-at")
        yield process, instance_id


@pytest.fixture
def crash_at(guest: tuple[AgentProcess, str]) -> Iterator[Path]:
    with crash_file(guest[0]) as file:
        yield file


def _public(process: AgentProcess, instance_id: str) -> list[str]:
    found = process.instance(instance_id)
    assert found
    return list(found["PublicIpAddress"]["IpAddress"])


@pytest.mark.parametrize(("kind", "step"), CASES)
def test_the_next_agent_finishes_what_a_killed_one_began(
    guest: tuple[AgentProcess, str], crash_at: Path, kind: str, step: str
) -> None:
    process, instance_id = guest
    present = _public(process, instance_id)
    if bool(present) != (kind == UNPLUG):
        pytest.fail(f"the case before left {present}: run all cases of this file")
    crash_at.write_text(f"{kind}:{step}:after")
    with contextlib.suppress(OSError, http.client.HTTPException):  # the agent may die before it has answered
        if kind == PLUG:
            process.call("AllocatePublicIpAddress", InstanceId=instance_id)
        else:
            process.call("ReleasePublicIpAddress", PublicIpAddress=present[0])
    process.died()
    crash_at.unlink()
    process.start()
    process.wait_jobs()
    assert bool(_public(process, instance_id)) == (kind == PLUG)
    assert lasting_violations(process) == []
