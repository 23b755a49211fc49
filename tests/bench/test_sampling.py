"""What sampling costs the agent at 100 guests with three disks each, and how large its past grows."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from agent.core.clock import ManualClock
from agent.core.protocols import Hypervisor
from agent.core.specs import GuestCounters
from agent.drivers.hypervisor.statistics import Statistics
from agent.jobs.sampler import Sampler
from agent.store.store import Store

GUESTS, DISKS, MINUTES = 100, 3, 180
START = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)


class Domain:
    """One of libvirt's, as far as statistics go."""

    def __init__(self, number: int) -> None:
        self._name, self._number = f"ecs-i-{number}", number

    def name(self) -> str:
        return self._name

    def UUIDString(self) -> str:
        return self._name

    def ID(self) -> int:
        return 1

    def XMLDesc(self) -> str:
        disks = (
            f"<disk><target dev='vd{letter}'/><serial>{self._number:04}{letter * 16}</serial></disk>"
            for letter in "abc"[:DISKS]
        )
        return f"<domain><devices>{''.join(disks)}</devices></domain>"


class Libvirt:
    """Answers as libvirt's binding does: flat dictionaries with all that it tells of a disk."""

    def __init__(self) -> None:
        self._domains = [Domain(number) for number in range(GUESTS)]
        self._rounds = 0

    def getAllDomainStats(self, what: int, flags: int) -> list[tuple[Domain, dict[str, object]]]:
        self._rounds += 1
        return [(domain, self._values()) for domain in self._domains]

    def _values(self) -> dict[str, object]:
        values: dict[str, object] = {"block.count": DISKS}
        for number in range(DISKS):
            head = f"block.{number}"
            values |= {f"{head}.name": f"vd{'abc'[number]}", f"{head}.path": f"/var/lib/ecs/disks/{number}.qcow2"}
            for kind in ("rd", "wr", "fl"):
                values |= {f"{head}.{kind}.{what}": 1000 * self._rounds for what in ("reqs", "bytes", "times")}
            values |= {f"{head}.{size}": 2**35 for size in ("allocation", "capacity", "physical")}
        return values


class Host:
    """A hypervisor with the driver's own translation."""

    def __init__(self) -> None:
        self._libvirt, self._statistics = Libvirt(), Statistics()

    def counters(self) -> dict[str, GuestCounters]:
        return self._statistics.read(self._libvirt, "ecs-i-")


def test_sampling_100_guests(tmp_path: Path, report: Callable[[str], None]) -> None:
    store, clock = Store(tmp_path / "ecs.db"), ManualClock(START)
    sampler = Sampler(store, cast(Hypervisor, Host()), clock)
    rounds = []
    for _ in range(MINUTES):
        clock.advance(60)
        cpu, wall = time.process_time(), time.perf_counter()
        sampler.sample()
        rounds.append((time.process_time() - cpu, time.perf_counter() - wall))
    store.close()
    cpu_each = sum(cpu for cpu, _ in rounds) / MINUTES
    rows = GUESTS * DISKS * (MINUTES - 1) * (1 + 1 / 10 + 1 / 60)
    size = (tmp_path / "ecs.db").stat().st_size / rows
    report(
        f"sampling {GUESTS} guests with {DISKS} disks: {1000 * cpu_each:.1f} ms CPU and "
        f"{1000 * max(wall for _, wall in rounds):.0f} ms at most a minute = {100 * cpu_each / 60:.3f} % CPU "
        f"(wanted: under 1 %); {size:.0f} bytes a row"
    )
    assert cpu_each / 60 < 0.01
