"""SIGKILL of the agent around every step that makes addresses, routes and rules of a running guest effective: the
next agent finishes it."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

import agent.jobs.kinds  # noqa: F401  (registers every kind)
from agent.api.edge.registry import HOST
from agent.app import CRASH_VARIABLE
from agent.jobs.model import KINDS
from tests.support.agent import AgentProcess, running_agent
from tests.support.invariants import lasting_violations
from tests.support.killed import crash_file
from tests.support.libvirtd import PrivateLibvirt

pytestmark = [pytest.mark.vm, pytest.mark.timeout(180)]

TELNET = {"IpProtocol": "tcp", "PortRange": "23/23", "SourceCidrIp": "0.0.0.0/0"}
CASES = [
    (f"{kind}:{step.name}:{when}", kind)
    for kind in ("interface.sync", "vpc.sync", "vpc.filter")
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
    """Each time the other way round than before: a further address, a route or a rule comes, or goes."""
    if kind == "interface.sync":
        found = process.call("DescribeNetworkInterfaces", InstanceId=instance_id)
        [interface] = found["NetworkInterfaceSets"]["NetworkInterfaceSet"]
        further = [one["PrivateIpAddress"] for one in interface["PrivateIpSets"]["PrivateIpSet"] if not one["Primary"]]
        given = {"PrivateIpAddress": further} if further else {"SecondaryPrivateIpAddressCount": 2}
        action = "UnassignPrivateIpAddresses" if further else "AssignPrivateIpAddresses"
        process.call(action, NetworkInterfaceId=interface["NetworkInterfaceId"], **given)
        return
    if kind == "vpc.filter":
        action = "RevokeSecurityGroup" if _has_rule(process, instance_id) else "AuthorizeSecurityGroup"
        process.call(action, SecurityGroupId=_group(process, instance_id), **TELNET)
        return
    [table] = process.call("DescribeRouteTables")["RouteTables"]["RouteTable"]
    there = any(entry["Type"] == "Custom" for entry in table["RouteEntrys"]["RouteEntry"])
    entry = {"RouteTableId": table["RouteTableId"], "DestinationCidrBlock": "10.9.0.0/16", "NextHopId": instance_id}
    process.call("DeleteRouteEntry" if there else "CreateRouteEntry", **entry)


def _group(process: AgentProcess, instance_id: str) -> str:
    [instance] = process.call("DescribeInstances")["Instances"]["Instance"]
    assert instance["InstanceId"] == instance_id
    [group] = instance["SecurityGroupIds"]["SecurityGroupId"]
    return str(group)


def _has_rule(process: AgentProcess, instance_id: str) -> bool:
    found = process.call("DescribeSecurityGroupAttribute", SecurityGroupId=_group(process, instance_id))
    return any(rule["PortRange"] == TELNET["PortRange"] for rule in found["Permissions"]["Permission"])


def _lets_in(process: AgentProcess, instance_id: str) -> bool:
    """What the router's filter says."""
    [found] = process.call("ExplainSecurityGroups", HOST, DestInstanceId=instance_id, SourceIp="192.0.2.1", Port=23)[
        "Explanations"
    ]["Explanation"]
    return bool(found["Verdict"] == "Accept")


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
    assert _lets_in(process, instance_id) == _has_rule(process, instance_id)
