"""Hours of weekdays as a clock on the wall of a time zone shows them (SPEC S5), and when they begin. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# An hour that began at most this long ago is still honoured: an agent that restarts at the hour loses none.
GRACE = dt.timedelta(minutes=10)
# A clock put back by more than this was wrong before: what was honoured then says nothing about now.
PUT_BACK = dt.timedelta(days=1)


@dataclass(frozen=True)
class Schedule:
    """`hours` 0-23 of `weekdays` 1 (Monday) - 7, neither empty, in `zone`."""

    hours: frozenset[int]
    weekdays: frozenset[int]
    zone: ZoneInfo


def time_zone(name: str) -> ZoneInfo:
    """The zone of an IANA name such as `Asia/Tokyo`; raises ValueError when the host knows none of that name."""
    if not name.startswith(("posix", "right/")):  # the database's own files, and zones that count leap seconds
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    raise ValueError(f"{name!r} is not the name of a time zone, such as Asia/Tokyo, Europe/Berlin or UTC")


def beginnings(schedule: Schedule, after: dt.datetime) -> Iterator[dt.datetime]:
    """The moments after `after`, in UTC and in order, without end, at which one of the hours begins.

    An hour's beginning that the wall clock leaps over does not exist that day; of two, the first counts.
    """
    day = after.astimezone(schedule.zone).date() - dt.timedelta(days=1)
    while True:
        if day.isoweekday() in schedule.weekdays:
            for hour in sorted(schedule.hours):
                moment = _moment(day, hour, schedule.zone)
                if moment is not None and moment > after:
                    yield moment
        day += dt.timedelta(days=1)


def _moment(day: dt.date, hour: int, zone: ZoneInfo) -> dt.datetime | None:
    """When the wall clock shows that hour first; None: it leaps over it."""
    wall = dt.datetime.combine(day, dt.time(hour))
    moment = wall.replace(tzinfo=zone).astimezone(dt.UTC)
    return moment if moment.astimezone(zone).replace(tzinfo=None) == wall else None


def due(schedule: Schedule, considered: dt.datetime, now: dt.datetime) -> dt.datetime | None:
    """The beginning of the hour that is to be honoured now, if any.

    `considered`: hours that began until then were honoured, or are not to be. What began more than GRACE ago is not
    made up for; of two such hours only the later counts.
    """
    if considered - now > PUT_BACK:
        considered = now - GRACE
    found = None
    for moment in beginnings(schedule, max(considered, now - GRACE)):
        if moment > now:
            return found
        found = moment
    raise AssertionError("beginnings() has no end")
