"""When hours of weekdays begin, in every kind of time zone (SPEC S5)."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core import schedule
from agent.core.schedule import Schedule

EVERY_DAY = range(1, 8)
MINUTE, HOUR = dt.timedelta(minutes=1), dt.timedelta(hours=1)


def plan(hours: list[int], zone: str = "Asia/Shanghai", weekdays: object = EVERY_DAY) -> Schedule:
    return Schedule(frozenset(hours), frozenset(weekdays), schedule.time_zone(zone))  # type: ignore[call-overload]


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def local(zone: str, text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=schedule.time_zone(zone)).astimezone(dt.UTC)


def shown(wanted: Schedule, after: dt.datetime, until: dt.datetime) -> list[str]:
    """What a clock on the wall shows at the beginnings in (after, until]."""
    moments = itertools.takewhile(lambda moment: moment <= until, schedule.beginnings(wanted, after))
    return [f"{moment.astimezone(wanted.zone):%a %d %H:%M %z}" for moment in moments]


def test_hours_are_those_of_the_time_zone() -> None:
    found = list(itertools.islice(schedule.beginnings(plan([1, 13]), utc("2026-11-23T05:00")), 3))
    assert found == [utc("2026-11-23T17:00"), utc("2026-11-24T05:00"), utc("2026-11-24T17:00")]
    assert next(schedule.beginnings(plan([1], "Asia/Kolkata"), utc("2026-11-23T00:00"))) == utc("2026-11-23T19:30")
    assert next(schedule.beginnings(plan([0], "UTC"), utc("2026-12-31T23:59"))) == utc("2027-01-01T00:00")


def test_a_moment_itself_is_not_after_it() -> None:
    first = next(schedule.beginnings(plan([13]), utc("2026-11-23T04:59:59")))
    assert first == utc("2026-11-23T05:00")
    assert next(schedule.beginnings(plan([13]), first)) == utc("2026-11-24T05:00")


def test_weekdays_are_those_of_the_time_zone() -> None:
    # Monday, an hour after midnight in Tokyo, is Sunday in UTC.
    found = next(schedule.beginnings(plan([1], "Asia/Tokyo", [1]), utc("2026-11-20T00:00")))
    assert found == utc("2026-11-22T16:00")
    assert found.isoweekday() == 7


@pytest.mark.parametrize("hour", range(1, 24))
def test_the_guides_first_table(hour: int) -> None:
    """UTC+9, not at 0:00: an hour less in UTC+8, the weekday as it is."""
    after = utc("2026-11-20T00:00")
    for weekday in EVERY_DAY:
        wanted, configured = plan([hour], "Asia/Tokyo", [weekday]), plan([hour - 1], "Asia/Shanghai", [weekday])
        assert next(schedule.beginnings(wanted, after)) == next(schedule.beginnings(configured, after))


@pytest.mark.parametrize(("wanted_day", "configured_day"), [(1, 7), (2, 1), (3, 2), (4, 3), (5, 4), (6, 5), (7, 6)])
def test_the_guides_second_table(wanted_day: int, configured_day: int) -> None:
    """UTC+9, at 0:00: 23:00 in UTC+8 of the day before."""
    wanted = schedule.beginnings(plan([0], "Asia/Tokyo", [wanted_day]), utc("2026-11-20T00:00"))
    configured = schedule.beginnings(plan([23], "Asia/Shanghai", [configured_day]), utc("2026-11-20T00:00"))
    assert list(itertools.islice(wanted, 4)) == list(itertools.islice(configured, 4))


@pytest.mark.parametrize(
    ("zone", "day", "beginnings"),
    [
        # Clocks go from 2:00 to 3:00: 2:00 does not exist.
        ("Europe/Berlin", "2026-03-29", ["01:00 +0100", "03:00 +0200", "04:00 +0200"]),
        ("America/New_York", "2026-03-08", ["01:00 -0500", "03:00 -0400", "04:00 -0400"]),
        # They go back from 3:00 (2:00): what is there twice counts once, the first time.
        ("Europe/Berlin", "2026-10-25", ["01:00 +0200", "02:00 +0200", "03:00 +0100", "04:00 +0100"]),
        ("America/New_York", "2026-11-01", ["01:00 -0400", "02:00 -0500", "03:00 -0500", "04:00 -0500"]),
        # Half an hour: from 2:00 to 2:30, and from 2:00 back to 1:30.
        ("Australia/Lord_Howe", "2026-10-04", ["01:00 +1030", "03:00 +1100", "04:00 +1100"]),
        ("Australia/Lord_Howe", "2026-04-05", ["01:00 +1100", "02:00 +1030", "03:00 +1030", "04:00 +1030"]),
        # There is no such thing in Japan.
        ("Asia/Tokyo", "2026-03-29", ["01:00 +0900", "02:00 +0900", "03:00 +0900", "04:00 +0900"]),
        # A whole day that did not exist.
        ("Pacific/Apia", "2011-12-30", []),
    ],
)
def test_summer_time(zone: str, day: str, beginnings: list[str]) -> None:
    midnight = local(zone, f"{day}T00:30")
    found = shown(plan([1, 2, 3, 4], zone), midnight, midnight + 6 * HOUR)
    if beginnings:
        assert [text.split(" ", 2)[2] for text in found] == beginnings
    else:
        assert all(not text.startswith(f"Fri {day[-2:]}") for text in found)


def test_a_year_has_each_hour_of_each_day_but_those_leapt_over() -> None:
    for zone, missing in (("Europe/Berlin", 1), ("Australia/Lord_Howe", 1), ("Asia/Tokyo", 0)):
        begin = local(zone, "2026-01-01T00:00") - MINUTE
        found = shown(plan(list(range(24)), zone), begin, local(zone, "2026-12-31T23:30"))
        assert len(found) == 365 * 24 - missing
        assert len({text[:12] for text in found}) <= len(found)


@pytest.mark.parametrize(
    ("considered", "now", "honoured"),
    [
        ("2026-11-22T05:00", "2026-11-23T04:59:59", None),
        ("2026-11-22T05:00", "2026-11-23T05:00", "2026-11-23T05:00"),
        ("2026-11-22T05:00", "2026-11-23T05:09:59", "2026-11-23T05:00"),  # the agent was away for some minutes
        ("2026-11-22T05:00", "2026-11-23T05:10:01", None),  # the host was off: not made up for
        ("2026-11-01T05:00", "2026-11-23T05:01", "2026-11-23T05:00"),  # after three weeks: only what is now
        ("2026-11-23T05:00", "2026-11-23T05:01", None),  # was honoured
        ("2026-11-23T05:00:30", "2026-11-23T05:01", None),  # made, or changed, after the hour began
        ("2026-11-23T05:00", "2026-11-23T03:00", None),  # the clock was put back: once is enough
        ("2026-11-23T05:00", "2026-11-23T05:00", None),
        ("2026-11-23T05:00", "2026-11-24T05:00", "2026-11-24T05:00"),
        ("2027-11-23T05:00", "2026-11-23T05:01", "2026-11-23T05:00"),  # it was a year ahead: begin anew
    ],
)
def test_what_is_due(considered: str, now: str, honoured: str | None) -> None:
    found = schedule.due(plan([13]), utc(considered), utc(now))
    assert found == (utc(honoured) if honoured else None)


ZONES = ("Europe/Berlin", "America/New_York", "America/St_Johns", "Australia/Lord_Howe", "Asia/Tokyo", "Asia/Kathmandu")


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    hours=st.sets(st.integers(0, 23), min_size=1, max_size=6),
    weekdays=st.sets(st.integers(1, 7), min_size=1),
    begin=st.datetimes(dt.datetime(2026, 1, 1), dt.datetime(2027, 1, 1)),
    steps=st.lists(st.integers(1, 590), min_size=200, max_size=400),
)
def test_however_often_the_clock_is_looked_at_each_hour_is_honoured_once(
    zone: str, hours: set[int], weekdays: set[int], begin: dt.datetime, steps: list[int]
) -> None:
    wanted = Schedule(frozenset(hours), frozenset(weekdays), schedule.time_zone(zone))
    start = now = considered = begin.replace(tzinfo=dt.UTC)
    honoured = []
    for seconds in steps:
        now += dt.timedelta(seconds=seconds)
        if found := schedule.due(wanted, considered, now):
            honoured.append(found)
            considered = found
    expected = list(itertools.takewhile(lambda moment: moment <= now, schedule.beginnings(wanted, start)))
    assert honoured == expected
    for moment in honoured:
        wall = moment.astimezone(wanted.zone)
        assert (wall.minute, wall.hour in hours, wall.isoweekday() in weekdays) == (0, True, True)


def test_two_beginnings_are_never_as_near_as_the_grace() -> None:
    zone = "Australia/Lord_Howe"
    moments = itertools.islice(schedule.beginnings(plan(list(range(24)), zone), utc("2026-01-01T00:00")), 9000)
    assert min(b - a for a, b in itertools.pairwise(moments)) > schedule.GRACE


@pytest.mark.parametrize(
    "name", ["Asia/Nowhere", "", "../etc/passwd", "/etc/passwd", "right/Asia/Tokyo", "Asia", "+08:00"]
)
def test_names_that_are_no_time_zones(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a time zone"):
        schedule.time_zone(name)
