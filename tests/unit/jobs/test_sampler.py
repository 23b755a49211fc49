"""Samples of what disks do: from counters to rows, to fewer and fewer rows (SPEC D11), on a clock of the test's."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import func, select

from agent.core.clock import ManualClock
from agent.core.errors import DriverError
from agent.core.protocols import Hypervisor
from agent.core.specs import DiskCounters, GuestCounters
from agent.drivers.hypervisor import statistics
from agent.jobs.sampler import Sampler
from agent.store.schema import DiskSample
from agent.store.store import Store
from tests.support.fresh_store import fresh_store

START = dt.datetime(2026, 11, 23, 7, 0, 0, tzinfo=dt.UTC)
SERIAL = "a" * 20


class Guests:
    """A hypervisor that tells what the test wants it to."""

    def __init__(self) -> None:
        self.found: dict[str, GuestCounters] = {}
        self.asked = 0

    def counters(self) -> dict[str, GuestCounters]:
        self.asked += 1
        return self.found

    def count(self, reads: int, *, run: str = "1", serial: str = SERIAL) -> None:
        """So many reads of 1000 bytes and 2 µs since the guest's start."""
        self.found = {"ecs-i-1": GuestCounters(run, {serial: DiskCounters(reads, 0, 1000 * reads, 0, 2000 * reads, 0)})}


class World:
    def __init__(self, store: Store) -> None:
        self.store, self.clock, self.guests = store, ManualClock(START), Guests()
        self.sampler = Sampler(store, cast(Hypervisor, self.guests), self.clock)

    def minute(self, reads: int | None = None, *, run: str = "1", seconds: float = 60) -> None:
        self.clock.advance(seconds)
        if reads is not None:
            self.guests.count(reads, run=run)
        self.sampler.sample()

    def rows(self, period: int = 60) -> list[tuple[int, int, int]]:
        """(minutes since the start, seconds, reads)"""
        with self.store.read() as session:
            found = session.scalars(select(DiskSample).where(DiskSample.period == period).order_by(DiskSample.start))
            return [(round((row.start - START).total_seconds() / 60), row.seconds, row.reads) for row in found]


@pytest.fixture
def world(tmp_path: Path, empty_database: Path) -> World:
    path = tmp_path / "ecs.db"
    path.write_bytes(empty_database.read_bytes())
    return World(fresh_store(path))


def test_the_first_look_tells_nothing_the_next_what_was_done(world: World) -> None:
    world.minute(1000)
    assert world.rows() == []
    world.minute(1060)
    assert world.rows() == [(1, 60, 60)]
    with world.store.read() as session:
        row = session.scalars(select(DiskSample)).one()
        assert (row.disk_id, row.bytes_read, row.read_us) == (f"d-{SERIAL}", 60_000, 120)


def test_a_guest_started_meanwhile_is_counted_from_its_start(world: World) -> None:
    world.minute()
    world.minute(70)
    assert world.rows() == [(1, 60, 70)]


def test_a_restarted_guest_counts_from_zero(world: World) -> None:
    world.minute(5000)
    world.minute(30, run="2")
    world.minute(6000, run="3")  # more than before, and yet another run
    assert [reads for *_, reads in world.rows()] == [30, 6000]


def test_counters_that_fell_begin_again(world: World) -> None:
    world.minute(5000)
    world.minute(20)
    assert world.rows() == [(1, 60, 20)]


def test_a_guest_that_could_not_be_asked_is_made_up_for(world: World) -> None:
    world.minute(100)
    world.guests.found = {"ecs-i-1": GuestCounters("1", None)}
    world.minute()
    world.minute(220)
    assert world.rows() == [(2, 120, 120)]


def test_a_busy_guest_at_the_first_look_is_not_counted_from_its_start(world: World) -> None:
    world.guests.found = {"ecs-i-1": GuestCounters("1", None)}
    world.minute()
    world.minute(1_000_000)
    assert world.rows() == []
    world.minute(1_000_001)
    assert world.rows() == [(2, 60, 1)]


def test_a_plugged_disk_is_counted_and_an_unplugged_one_ends(world: World) -> None:
    world.minute(100)
    other = "b" * 20
    world.guests.found["ecs-i-1"].disks[other] = DiskCounters(7, 0, 0, 0, 0, 0)  # type: ignore[index]
    world.minute()
    world.minute(100)
    with world.store.read() as session:
        found = session.execute(select(DiskSample.disk_id, DiskSample.reads).order_by(DiskSample.disk_id, "start"))
        assert [tuple(row) for row in found] == [(f"d-{SERIAL}", 0), (f"d-{SERIAL}", 0), (f"d-{other}", 7)]


def test_after_a_long_time_nobody_knows_which_minute_it_was(world: World) -> None:
    world.minute(100)
    world.minute(5000, seconds=3600)
    assert world.rows() == []
    world.minute(5010)
    assert world.rows() == [(61, 60, 10)]


def test_a_clock_set_back_breaks_nothing(world: World) -> None:
    for reads in (100, 200, 300):
        world.minute(reads)
    world.minute(400, seconds=-120)
    world.minute(500)
    assert world.rows() == [(1, 60, 100), (2, 60, 100)]


def test_woken_early_it_waits(world: World) -> None:
    world.minute(100)
    world.minute(160, seconds=59.5)
    assert world.rows() == []
    world.minute(160, seconds=0.5)
    assert world.rows() == [(1, 60, 60)]


def test_a_host_without_guests_writes_nothing(world: World) -> None:
    before = world.store.path.stat().st_mtime_ns
    for _ in range(100):
        world.minute()
    assert (world.guests.asked, world.store.path.stat().st_mtime_ns) == (100, before)
    assert not Path(f"{world.store.path}-wal").exists() or not Path(f"{world.store.path}-wal").stat().st_size


def test_ten_minutes_and_hours_are_sums_and_the_past_is_forgotten(world: World) -> None:
    for minute in range(1 + 26 * 60):
        world.minute(minute * 6)
    assert len(world.rows()) == 25 * 60
    tens = world.rows(600)
    assert tens[0] == (0, 540, 54)  # its first minute was the first look
    assert tens[1:3] == [(10, 600, 60), (20, 600, 60)]
    hours = world.rows(3600)
    assert [hour[0] for hour in hours] == [60 * n for n in range(26)]
    assert hours[1:] == [(60 * n, 3600, 360) for n in range(1, 26)]
    assert sum(reads for *_, reads in tens) + sum(reads for at, _, reads in world.rows() if at >= 26 * 60) == 26 * 360


def test_sums_are_made_up_for_after_the_agent_was_away(world: World) -> None:
    for minute in range(8):
        world.minute(minute)
    world.clock.advance(7 * 3600)
    world.sampler = Sampler(world.store, cast(Hypervisor, world.guests), world.clock)
    world.minute(100)
    world.minute(101)
    assert world.rows(600) == [(0, 420, 7), (420, 60, 1)]
    assert world.rows(3600) == [(0, 420, 7)]


def test_it_is_bounded(world: World) -> None:
    now = START - dt.timedelta(days=400)
    with world.store.write() as session:
        for period, kept in ((60, 2), (600, 40), (3600, 200)):
            for age in range(0, kept * 24):
                session.add(_sample(period, START - dt.timedelta(hours=age)))
        session.add(_sample(3600, now))
    world.minute(0)
    world.minute(1)
    with world.store.read() as session:
        oldest = {
            period: START - session.scalars(select(func.min(DiskSample.start)).where(DiskSample.period == period)).one()
            for period in (60, 600, 3600)
        }
    assert oldest[60] <= dt.timedelta(hours=25)
    assert oldest[600] <= dt.timedelta(days=31)
    assert oldest[3600] <= dt.timedelta(days=180)


def _sample(period: int, start: dt.datetime) -> DiskSample:
    zeros = dict.fromkeys(("reads", "writes", "bytes_read", "bytes_written", "read_us", "write_us"), 0)
    return DiskSample(disk_id="d-x", period=period, start=start, seconds=period, **zeros)


def test_a_hypervisor_that_is_away_is_told_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for why in ("libvirt is away", "libvirt is away", "another reason"):
        world.sampler._fail(str(DriverError(why)))
    assert [record.getMessage().rsplit(": ")[-1] for record in caplog.records] == ["libvirt is away", "another reason"]


# ------------------------------------------------------------------------------ libvirt's words


class Domain:
    def __init__(self) -> None:
        self.described = 0
        self.id = 7

    def name(self) -> str:
        return "ecs-i-1"

    def UUIDString(self) -> str:
        return "uuid"

    def ID(self) -> int:
        return self.id

    def XMLDesc(self) -> str:
        self.described += 1
        return (
            "<domain><devices><disk><target dev='vda'/><serial>one</serial></disk>"
            "<disk device='cdrom'><target dev='hda'/></disk></devices></domain>"
        )


class Connection:
    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self.values: dict[str, object] = {
            "block.count": 2,
            "block.0.name": "vda",
            "block.0.path": "/disks/a",
            "block.0.rd.reqs": 1,
            "block.0.rd.bytes": 2,
            "block.0.rd.times": 3,
            "block.0.wr.reqs": 4,
            "block.0.wr.bytes": 5,
            "block.0.wr.times": 6,
            "block.1.name": "hda",
            "block.1.rd.reqs": 99,
        }

    def getAllDomainStats(self, what: int, flags: int) -> list[tuple[Domain, dict[str, object]]]:
        return [(self.domain, self.values)]


def test_disks_are_told_by_their_serials_which_are_asked_for_only_when_something_changed() -> None:
    domain = Domain()
    connection, found = Connection(domain), statistics.Statistics()
    for _ in range(3):
        assert found.read(connection, "ecs-i-") == {
            "ecs-i-1": GuestCounters("uuid/7", {"one": DiskCounters(1, 4, 2, 5, 3, 6)})
        }
    assert domain.described == 1
    connection.values["block.0.path"] = "/disks/b"  # a snapshot was taken
    found.read(connection, "ecs-i-")
    assert domain.described == 2
    domain.id = 8  # started again
    found.read(connection, "ecs-i-")
    assert domain.described == 3
    assert found.read(connection, "other-i-") == {}


def test_a_domain_that_is_busy_has_no_counters() -> None:
    connection = Connection(Domain())
    connection.values = {"block.count": 1, "block.0.name": "vda"}
    assert statistics.Statistics().read(connection, "ecs-i-") == {"ecs-i-1": GuestCounters("uuid/7", None)}
    connection.values = {}
    assert statistics.Statistics().read(connection, "ecs-i-") == {"ecs-i-1": GuestCounters("uuid/7", None)}
