"""Samples at falling resolution: each period is summed up in the next longer one, and forgotten after its time."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, literal, select
from sqlalchemy.orm import Session

from agent.store.schema import DiskSample


@dataclass(frozen=True)
class Resolution:
    """Samples of `period` seconds, and for how long they are kept."""

    period: int
    kept: dt.timedelta


RESOLUTIONS = (
    Resolution(60, dt.timedelta(hours=25)),
    Resolution(600, dt.timedelta(days=31)),
    Resolution(3600, dt.timedelta(days=180)),
)
SUMS = ("seconds", "reads", "writes", "bytes_read", "bytes_written", "read_us", "write_us")


def floor(moment: dt.datetime, period: int) -> dt.datetime:
    """The beginning of the period that `moment` is in; periods begin at full minutes, ten minutes, hours (UTC)."""
    return dt.datetime.fromtimestamp(int(moment.timestamp()) // period * period, dt.UTC)


def roll_up(session: Session, now: dt.datetime, table: type[DiskSample] = DiskSample) -> None:
    """Sum up every period that is over and forget what is too old. May be called at any time and again."""
    for fine, coarse in itertools.pairwise(RESOLUTIONS):
        _sum_up(session, table, fine.period, coarse.period, floor(now, coarse.period))
    for one in RESOLUTIONS:
        session.execute(delete(table).where(table.period == one.period, table.start < now - one.kept))


def _sum_up(session: Session, table: type[DiskSample], fine: int, coarse: int, until: dt.datetime) -> None:
    """The periods of `coarse` seconds that ended by `until` and are not summed up yet."""
    done = session.scalar(select(func.max(table.start)).where(table.period == coarse))
    wanted = select(func.min(table.start)).where(table.period == fine, table.start < until)
    begin = done + dt.timedelta(seconds=coarse) if done else None
    while first := session.scalar(wanted.where(table.start >= begin) if begin else wanted):
        begin = floor(first, coarse)
        end = begin + dt.timedelta(seconds=coarse)
        sums = [func.sum(getattr(table, name)) for name in SUMS]
        source = select(table.disk_id, literal(coarse), literal(begin, table.start.type), *sums).where(
            table.period == fine, table.start >= begin, table.start < end
        )
        columns = ["disk_id", "period", "start", *SUMS]
        session.execute(insert(table).from_select(columns, source.group_by(table.disk_id)))
        begin = end
