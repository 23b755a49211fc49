"""SIGKILL of the agent after every step of every job of public addresses, when all is done and nothing is journalled:
the next agent finishes it. That a step which was not begun is begun by the next agent, test_kill_agent shows.
"""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import agent.jobs.kinds  # noqa: F401  (registers every kind)
from agent.app import CRASH_VARIABLE
from agent.jobs.kinds.public_address import APPLY, ASSOCIATE, UNASSOCIATE
from agent.jobs.model import KINDS
from tests.support.agent import AgentProcess, running_agent
from tests.support.invariants import lasting_violations
from tests.support.killed import crash_file
from tests.support.libvirtd import PrivateLibvirt
from tests.support.public_addresses import routed

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

# By kind, in an order in which each begins with what the one before it leaves: the call, and the states an EIP is in.
CALLS: dict[str, tuple[str, str, str]] = {
    ASSOCIATE: ("AssociateEipAddress", "Available", "InUse"),
    APPLY: ("ModifyEipAddressAttribute", "InUse", "InUse"),
    UNASSOCIATE: ("UnassociateEipAddress", "InUse", "Available"),
}
CASES = [
    (kind, step.name)
    for kind in [*CALLS, *(name for name in KINDS if name.startswith("eip.") and name not in CALLS)]
    for step in KINDS[kind].steps
]


@dataclass
class Bound:
    """An elastic address and a stopped instance; the VPC's router is there whether that runs or not."""

    agent: AgentProcess
    both: dict[str, Any]

    def eip(self) -> dict[str, Any]:
        found = self.agent.call("DescribeEipAddresses", AllocationId=self.both["AllocationId"])
        return found["EipAddresses"]["EipAddress"][0]

    def bring_to(self, status: str) -> None:
        if self.eip()["Status"] != status:
            self.agent.call("AssociateEipAddress" if status == "InUse" else "UnassociateEipAddress", **self.both)
            self.agent.wait_jobs()


@pytest.fixture(scope="module")
def bound(libvirtd: PrivateLibvirt) -> Iterator[Bound]:
    with running_agent(libvirtd.uri) as agent:
        agent.ensure_tiny_image()
        made = agent.call("CreateInstance", ImageId="tiny_x64", InstanceType="ecs.t1.small")
        address = agent.call("AllocateEipAddress")
        agent.wait_jobs()
        agent.stop()
        agent.environment[CRASH_VARIABLE] = str(agent.root / "crash-at")
        yield Bound(agent, {"InstanceId": made["InstanceId"], "AllocationId": address["AllocationId"]})


@pytest.fixture
def crash_at(bound: Bound) -> Iterator[Path]:
    with crash_file(bound.agent) as file:
        yield file


@pytest.mark.parametrize(("kind", "step"), CASES)
def test_the_next_agent_finishes_what_a_killed_one_began(bound: Bound, crash_at: Path, kind: str, step: str) -> None:
    agent, (action, before, wanted) = bound.agent, CALLS[kind]
    bound.bring_to(before)
    crash_at.write_text(f"{kind}:{step}:after")
    with contextlib.suppress(OSError, http.client.HTTPException):  # the agent may die before it has answered
        agent.call(action, **bound.both, **({"Bandwidth": 9} if kind == APPLY else {}))
    agent.died()
    crash_at.unlink()
    agent.start()
    agent.wait_jobs()
    found = bound.eip()
    assert found["Status"] == wanted
    assert routed(agent.prefix) == ({found["IpAddress"]} if wanted == "InUse" else set())
    assert lasting_violations(agent) == []
