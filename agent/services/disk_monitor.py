"""What a disk did over time (SPEC D11), from the samples taken each minute."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import select

from agent.core.errors import InvalidParameter
from agent.jobs.rollup import RESOLUTIONS, SUMS, floor
from agent.services import disk as disks
from agent.services.context import Caller
from agent.store.schema import DiskSample

PERIODS = tuple(one.period for one in RESOLUTIONS)  # seconds
MAX_POINTS = 400


@dataclass(frozen=True)
class Point:
    """Averages of the period from `start` on: requests and bytes per second, and microseconds per request."""

    start: dt.datetime
    reads: float
    writes: float
    bytes_read: float
    bytes_written: float
    read_us: float
    write_us: float


def monitor(caller: Caller, disk_id: str, start: dt.datetime, end: dt.datetime, period: int) -> list[Point]:
    """The points there are from `start` to before `end`, both counted from the next full minute on; times in which the
    disk was not watched have none. The last one may be of a period that is not over yet."""
    disk = disks.get(caller, disk_id)
    start, end = _next_minute(start), _next_minute(end)
    if end <= start:
        raise InvalidParameter("EndTime", end, "it must be after StartTime.", code="InvalidEndTime.ValueNotSupported")
    if (end - start).total_seconds() / period > MAX_POINTS:
        raise InvalidParameter(
            "Period",
            period,
            f"StartTime to EndTime would be more than {MAX_POINTS} points; ask for less time or a longer period.",
            code="InvalidParameter.TooManyDataQueried",
        )
    return [_point(begin, sums) for begin, sums in sorted(_sums(caller, disk.id, start, end, period).items())]


def _sums(
    caller: Caller, disk_id: str, start: dt.datetime, end: dt.datetime, period: int
) -> dict[dt.datetime, list[int]]:
    """By the beginnings of periods. What is not summed up yet is, from samples of the shorter periods."""
    sums: dict[dt.datetime, list[int]] = {}
    mine = select(DiskSample).where(DiskSample.disk_id == disk_id, DiskSample.start < end).order_by(DiskSample.start)
    begin = start
    for finer in (one for one in reversed(PERIODS) if one <= period):
        for row in caller.session.scalars(mine.where(DiskSample.period == finer, DiskSample.start >= begin)):
            window = floor(row.start, period)
            so_far = sums.get(window, [0] * len(SUMS))
            sums[window] = [old + getattr(row, name) for old, name in zip(so_far, SUMS, strict=True)]
            begin = row.start + dt.timedelta(seconds=finer)
    return {window: found for window, found in sums.items() if window >= start}


def _next_minute(moment: dt.datetime) -> dt.datetime:
    return floor(moment + dt.timedelta(seconds=59), 60)


def _point(start: dt.datetime, sums: list[int]) -> Point:
    seconds, reads, writes, bytes_read, bytes_written, read_us, write_us = sums
    return Point(
        start=start,
        reads=reads / seconds,
        writes=writes / seconds,
        bytes_read=bytes_read / seconds,
        bytes_written=bytes_written / seconds,
        read_us=read_us / reads if reads else 0.0,
        write_us=write_us / writes if writes else 0.0,
    )
