"""How long the agent takes to answer when it has nothing else to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.bench.measure import in_ms, seconds_of
from tests.support.agent import AgentProcess

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

SMALL = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small"}
ROUNDS = 20
READS = 60


@pytest.mark.parametrize("action", ["CreateInstance", "RunInstances"])
def test_creating_is_answered_at_once(fresh_agent: AgentProcess, action: str, report: Callable[[str], None]) -> None:
    times = []
    for _ in range(ROUNDS):
        answers: list[dict[str, Any]] = []
        times.append(seconds_of(lambda: answers.append(fresh_agent.call(action, **SMALL))))  # noqa: B023
        instance_id = answers[0].get("InstanceId") or answers[0]["InstanceIdSets"]["InstanceIdSet"][0]
        fresh_agent.wait_jobs()
        assert fresh_agent.status(instance_id) == ("Stopped" if action == "CreateInstance" else "Running")
        fresh_agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
        fresh_agent.wait_jobs()
    report(f"{action:20} {in_ms(times)}  (wanted: under 100 ms)")


def test_describing_ten_instances(
    fresh_agent: AgentProcess, ten_stored: list[str], report: Callable[[str], None]
) -> None:
    assert fresh_agent.call("DescribeInstances")["TotalCount"] == len(ten_stored)
    for action in ("DescribeInstances", "DescribeRegions"):
        times = [seconds_of(lambda: fresh_agent.call(action)) for _ in range(READS)]  # noqa: B023
        report(f"{action:20} {in_ms(times)}")
