"""SIGKILL of the agent around every step that makes addresses and routes of a running guest effective: the
next agent finishes it."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

import agent.jobs.kinds  # noqa: F401  (registers every kind)
from agent.app import CRASH_VARIABLE
from agent.jobs.model import KINDS
from tests.support.agent import AgentProcess, running_agent
from tests.support.invariants import lasting_violations
from tests.support.killed import crash_file
from tests.support.libvirtd import PrivateLibvirt

pytestmark = [pytest.mark.vm, pytest.mark.timeout(180)]

CASES = [
    (f"{kind}:{step.name}:{when}", kind)
    for kind in ("interface.sync", "vpc.sync")
    for number, step in enumerate(KINDS[kind].steps)
    for when in (("after",) if number else ("before", "after"))  # before a later one is after the one before
]


@pytest.fixture(scope="module")
def victim(libvirtd: PrivateLibvirt) -> Iterator[tuple[AgentProcess, str]]:
    """An agent with one running guest."""
    with running_agent(libvirtd.uri) as process:
        process.ensure_tiny_image()
        process.stop()
        process.environment[CRASH_VARIABLE] = str(process.root / "crash-at")
        process.start()
        answer = process.call("RunInstances", ImageId="tiny_x64", InstanceType="ecs.t1.small")
        [instance_id] = answer["InstanceIdSets"]["InstanceIdSet"]
        process.wait_status(instance_id, "Running")
        process.wait_jobs()
        yield process, instance_id


@pytest.fixture
def crash_at(victim: tuple[AgentProcess, str]) -> Iterator[Path]:
    with crash_file(victim[0]) as file:
        yield file


def _change(process: AgentProcess, kind: str, instance_id: str) -> None:
    """Each time the other way round than before: a further address or a route comes, or goes."""
    if kind == "interface.sync":
        found = process.call("DescribeNetworkInterfaces", InstanceId=instance_id)
        [interface] = found["NetworkInterfaceSets"]["NetworkInterfaceSet"]
        further = [one["PrivateIpAddress"] for one in interface["PrivateIpSets"]["PrivateIpSet"] if not one["Primary"]]
        given = {"PrivateIpAddress": further} if further else {"SecondaryPrivateIpAddressCount": 2}
        action = "UnassignPrivateIpAddresses" if further else "AssignPrivateIpAddresses"
        process.call(action, NetworkInterfaceId=interface["NetworkInterfaceId"], **given)
        return
    [table] = process.call("DescribeRouteTables")["RouteTables"]["RouteTable"]
    there = any(entry["Type"] == "Custom" for entry in table["RouteEntrys"]["RouteEntry"])
    entry = {"RouteTableId": table["RouteTableId"], "DestinationCidrBlock": "10.9.0.0/16", "NextHopId": instance_id}
    process.call("DeleteRouteEntry" if there else "CreateRouteEntry", **entry)


@pytest.mark.parametrize(("where", "kind"), CASES)
def test_the_next_agent_makes_it_effective(
    victim: tuple[AgentProcess, str], crash_at: Path, where: str, kind: str
) -> None:
    process, instance_id = victim
    crash_at.write_text(where)
    with contextlib.suppress(OSError, http.client.HTTPException):  # the agent may die before it has answered
        _change(process, kind, instance_id)
    process.died()
    crash_at.unlink()
    process.start()
    process.wait_jobs()
    assert lasting_violations(process) == []
