"""SIGKILL of the agent before and after every step of every instance job: the next agent finishes or undoes it.

The cases are made of the code's own table of kinds, so that a new step is covered without anyone remembering.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import agent.jobs.kinds  # noqa: F401  (registers every kind)
from agent.jobs.model import KINDS
from tests.support.agent import AgentProcess, running_agent
from tests.support.invariants import violations
from tests.support.libvirtd import PrivateLibvirt
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

CASES = [
    (kind.name, step.name, when)
    for kind in KINDS.values()
    if kind.name.startswith("instance.") and kind.name != "instance.settle"
    for step in kind.steps
    for when in ("before", "after")
]


@pytest.fixture(scope="module")
def victim(libvirtd: PrivateLibvirt) -> Iterator[AgentProcess]:
    with running_agent(libvirtd.uri) as process:
        process.ensure_tiny_image()
        yield process


def _prepare(agent: AgentProcess, kind: str) -> str | None:
    """An instance in the state from which the operation starts; None for the creating ones."""
    if kind in ("instance.run", "instance.create"):
        return None
    instance_id = agent.call("CreateInstance", ImageId="tiny_x64", InstanceType="ecs.t1.small")["InstanceId"]
    agent.wait_status(instance_id, "Stopped")
    if kind != "instance.start":
        agent.call("StartInstance", InstanceId=instance_id)
        agent.wait_status(instance_id, "Running")
    return instance_id


def _ask(agent: AgentProcess, kind: str, instance_id: str | None) -> str:
    """Make the call; the id of the instance it concerns."""
    image = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small"}
    if instance_id is None:
        if kind == "instance.run":
            return agent.run_instance()
        return agent.call("CreateInstance", **image)["InstanceId"]
    calls = {
        "instance.start": ("StartInstance", {}),
        "instance.stop": ("StopInstance", {"ForceStop": "true"}),
        "instance.reboot": ("RebootInstance", {"ForceStop": "true"}),
        "instance.release": ("DeleteInstance", {"Force": "true"}),
    }
    action, params = calls[kind]
    agent.call(action, InstanceId=instance_id, **params)
    return instance_id


WANTED = {
    "instance.run": "Running",
    "instance.create": "Stopped",
    "instance.start": "Running",
    "instance.stop": "Stopped",
    "instance.reboot": "Running",
    "instance.release": None,
}


@pytest.mark.parametrize(("kind", "step", "when"), CASES)
def test_the_next_agent_finishes_what_a_killed_one_began(victim: AgentProcess, kind: str, step: str, when: str) -> None:
    prepared = _prepare(victim, kind)
    victim.wait_jobs()
    victim.stop()
    victim.start(ECS_CRASH_AT=f"{kind}:{step}:{when}")
    instance_id = _ask(victim, kind, prepared)
    victim.died()
    victim.start()
    victim.wait_status(instance_id, WANTED[kind])
    victim.wait_jobs()
    wait_for("nothing to be wrong", lambda: not violations(victim), 60)
    assert violations(victim) == []
    if WANTED[kind] is not None:
        victim.call("DeleteInstance", InstanceId=instance_id, Force="true")
        victim.wait_status(instance_id, None)
        victim.wait_jobs()
