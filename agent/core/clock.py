"""Time, injectable: everything that asks for the time takes a Clock, so tests can move it."""

from __future__ import annotations

import datetime as dt
from typing import Protocol


class Clock(Protocol):
    def now(self) -> dt.datetime:
        """The current time, aware, in UTC."""
        ...


class SystemClock:
    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)


class ManualClock:
    """A clock that stands still until it is told otherwise; for tests."""

    def __init__(self, start: dt.datetime) -> None:
        self._now = start

    def now(self) -> dt.datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += dt.timedelta(seconds=seconds)


def iso_seconds(moment: dt.datetime) -> str:
    """`2026-11-23T07:35:12Z`: disks, snapshots and most nouns."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_minutes(moment: dt.datetime) -> str:
    """`2026-11-23T07:35Z`: an instance's CreationTime, as the public API prints it."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%MZ")
