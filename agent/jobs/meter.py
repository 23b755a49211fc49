"""From counters that only grow, or begin again at zero, to what was done between two looks: pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import astuple, dataclass

from agent.core.specs import DiskCounters, GuestCounters

LONGEST_SECONDS = 600.0  # what was done in a longer time belongs to no minute of it


@dataclass(frozen=True)
class Done:
    """What one disk did in `seconds`."""

    serial: str
    seconds: float
    counters: DiskCounters


@dataclass(frozen=True)
class _Seen:
    at: dt.datetime
    run: str
    counters: DiskCounters


class DiskMeter:
    """Remembers the last look. The first one tells nothing, as one after a long time does."""

    def __init__(self) -> None:
        self._disks: dict[str, _Seen] = {}
        self._at: dt.datetime | None = None
        self._unasked: set[str] = set()  # runs that the last look did not see into

    def look(self, now: dt.datetime, guests: dict[str, GuestCounters]) -> list[Done]:
        """What the disks of running guests did since they were seen last; of those that appeared since the last look,
        all that they did."""
        done = []
        for guest in guests.values():
            for serial, counters in (guest.disks or {}).items():
                before = self._disks.get(serial)
                made = self._since(now, guest.run, serial, counters, before)
                if made is not None and 0 < made.seconds <= LONGEST_SECONDS:
                    done.append(made)
                self._disks[serial] = _Seen(now, guest.run, counters)
        oldest = now - dt.timedelta(seconds=LONGEST_SECONDS)
        self._disks = {serial: seen for serial, seen in self._disks.items() if seen.at > oldest}
        self._at, self._unasked = now, {guest.run for guest in guests.values() if guest.disks is None}
        return done

    def _since(
        self, now: dt.datetime, run: str, serial: str, counters: DiskCounters, before: _Seen | None
    ) -> Done | None:
        if before is not None and before.run == run and _grown(before.counters, counters):
            return Done(serial, (now - before.at).total_seconds(), _difference(before.counters, counters))
        if self._at is None or run in self._unasked:
            return None  # nobody knows when it began to count
        return Done(serial, (now - self._at).total_seconds(), counters)


def _grown(before: DiskCounters, after: DiskCounters) -> bool:
    return all(new >= old for old, new in zip(astuple(before), astuple(after), strict=True))


def _difference(before: DiskCounters, after: DiskCounters) -> DiskCounters:
    return DiskCounters(*(new - old for old, new in zip(astuple(before), astuple(after), strict=True)))
