"""What an agent costs that has nothing to do but to look after two running guests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.reach import wait_banner
from tests.support.agent import AgentProcess
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

SECONDS = 30.0


class Usage:
    """What a process has used since the object was made."""

    def __init__(self, pid: int) -> None:
        self._directory = Path(f"/proc/{pid}")
        self._ticks, self._switches, self._uptime = self._cpu_ticks(), self._voluntary_switches(), _uptime()

    def seconds(self) -> float:
        return _uptime() - self._uptime

    def cpu_percent(self) -> float:
        """Of one processor."""
        used = (self._cpu_ticks() - self._ticks) / os.sysconf("SC_CLK_TCK")
        return 100 * used / self.seconds()

    def wakeups_per_second(self) -> float:
        return (self._voluntary_switches() - self._switches) / self.seconds()

    def memory_mib(self, what: str) -> float:
        """`Rss`, or `Pss`, which counts a page shared by n processes as 1/n."""
        for line in (self._directory / "smaps_rollup").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) / 1024
        raise LookupError(what)

    def _cpu_ticks(self) -> int:
        fields = (self._directory / "stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def _voluntary_switches(self) -> int:
        total = 0
        for status in self._directory.glob("task/*/status"):
            lines = status.read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("voluntary"))
        return total


def _uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def test_an_idle_agent(fresh_agent: AgentProcess, report: Callable[[str], None]) -> None:
    guests = [fresh_agent.run_instance() for _ in range(2)]
    for instance_id in guests:
        fresh_agent.wait_status(instance_id, "Running")
        wait_banner(fresh_agent, instance_id)
    fresh_agent.wait_jobs()
    assert fresh_agent.process
    usage = Usage(fresh_agent.process.pid)
    wait_for("the end of the measurement", lambda: usage.seconds() >= SECONDS)
    report(
        f"idle agent: {usage.cpu_percent():.2f} % CPU, {usage.wakeups_per_second():.1f} wake-ups/s over {SECONDS:.0f} s"
        f" (wanted: under 1 %); {usage.memory_mib('Pss'):.0f} MiB PSS, {usage.memory_mib('Rss'):.0f} MiB RSS"
        " (wanted: under 150)"
    )
    assert [fresh_agent.status(instance_id) for instance_id in guests] == ["Running", "Running"]
    for instance_id in guests:
        fresh_agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
    fresh_agent.wait_jobs()
