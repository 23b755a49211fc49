"""SIGKILL of the agent before and after every step of every instance job: the next agent finishes or undoes it.

The cases are made of the code's own table of kinds, so that a new step is covered without anyone remembering.
"""

from __future__ import annotations

import contextlib
import http.client
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

SMALL = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small"}
# By kind: the state that the operation begins in and the one it leads to; None: there is no instance.
STATES = {
    "instance.run": (None, "Running"),
    "instance.create": (None, "Stopped"),
    "instance.start": ("Stopped", "Running"),
    "instance.stop": ("Running", "Stopped"),
    "instance.reboot": ("Running", "Running"),
    "instance.release": ("Running", None),
}
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "instance.run": ("RunInstances", SMALL),
    "instance.create": ("CreateInstance", SMALL),
    "instance.start": ("StartInstance", {}),
    "instance.stop": ("StopInstance", {"ForceStop": "true"}),
    "instance.reboot": ("RebootInstance", {"ForceStop": "true"}),
    "instance.release": ("DeleteInstance", {"Force": "true"}),
}
# Two are no calls of anybody; one needs a guest agent, which the tiny guest has not: tests/unit/jobs covers it; the
# last is in test_kill_addresses.
NOT_HERE = ("instance.settle", "instance.resume", "instance.password", "instance.network")


def _ordered(left: list[pytest.ParameterSet]) -> list[pytest.ParameterSet]:
    """Each begins with what the one before it leaves, as far as possible: that saves most preparations."""
    ordered: list[pytest.ParameterSet] = []
    state = None
    while left:
        case = next((one for one in left if STATES[_kind_of(one)][0] == state), left[0])
        left.remove(case)
        ordered.append(case)
        state = STATES[_kind_of(case)][1]
    return ordered


def _kind_of(case: pytest.ParameterSet) -> str:
    return str(case.values[0])


KILLS = [
    case
    for kind in KINDS.values()
    if kind.name.startswith("instance.") and kind.name not in NOT_HERE
    for case in cases(kind.steps, kind.name)
]
CASES = [*_ordered([case for case in KILLS if not case.marks]), *_ordered([case for case in KILLS if case.marks])]


@pytest.fixture(scope="module")
def victim(libvirtd: PrivateLibvirt) -> Iterator[AgentProcess]:
    with running_agent(libvirtd.uri) as process:
        process.ensure_tiny_image()
        process.stop()
        process.environment[CRASH_VARIABLE] = str(process.root / "crash-at")
        yield process


@pytest.fixture
def crash_at(victim: AgentProcess) -> Iterator[Path]:
    with crash_file(victim) as file:
        yield file


def _prepare(agent: AgentProcess, state: str | None) -> str | None:
    """The only instance there is, in this state. What an earlier test has left is taken, or taken away."""
    found = agent.call("DescribeInstances", PageSize=100)["Instances"]["Instance"]
    kept = found.pop() if found and state else None
    for other in found:
        agent.call("DeleteInstance", InstanceId=other["InstanceId"], Force="true")
    instance_id = _bring_to(agent, state, kept) if state else None
    agent.wait_jobs()
    return instance_id


def _bring_to(agent: AgentProcess, state: str, kept: dict[str, Any] | None) -> str:
    if kept is None:
        action, params = CALLS["instance.run" if state == "Running" else "instance.create"]
        instance_id = _id_in(agent.call(action, **params))
    else:
        instance_id = kept["InstanceId"]
        if kept["Status"] != state:
            action, params = CALLS["instance.start" if state == "Running" else "instance.stop"]
            agent.call(action, InstanceId=instance_id, **params)
    agent.wait_status(instance_id, state)
    return instance_id


def _id_in(answer: dict[str, Any]) -> str:
    return answer.get("InstanceId") or answer["InstanceIdSets"]["InstanceIdSet"][0]


@pytest.mark.parametrize(("kind", "step", "when"), CASES)
def test_the_next_agent_finishes_what_a_killed_one_began(
    victim: AgentProcess, libvirtd: PrivateLibvirt, crash_at: Path, kind: str, step: str, when: str
) -> None:
    before, wanted = STATES[kind]
    action, params = CALLS[kind]
    instance_id = _prepare(victim, before)
    creates = instance_id is None
    params = params | ({"ClientToken": str(uuid.uuid4())} if creates else {"InstanceId": instance_id})
    domain = f"{victim.prefix}-{instance_id}"
    rebooted = libvirtd.qemu_pid(domain) if kind == "instance.reboot" else None
    crash_at.write_text(f"{kind}:{step}:{when}")
    with contextlib.suppress(OSError, http.client.HTTPException):  # the agent may die before it has answered
        victim.call(action, **params)
    victim.died()
    crash_at.unlink()
    victim.start()
    if creates:
        # The same token: the instance of the first call.
        instance_id = _id_in(victim.call(action, **params))
        assert victim.call("DescribeInstances")["TotalCount"] == 1
    assert instance_id is not None
    victim.wait_status(instance_id, wanted)
    victim.wait_jobs()
    assert rebooted is None or libvirtd.qemu_pid(domain) != rebooted
    assert lasting_violations(victim) == []
