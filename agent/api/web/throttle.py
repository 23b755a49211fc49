"""Slowing down whoever guesses passwords: after a few wrong ones each further try has to wait, longer and longer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

FREE_TRIES = 3
LONGEST_SECONDS = 300.0
FORGOTTEN_SECONDS = 3600.0  # after the last wrong password


@dataclass
class _Record:
    failures: int = 0
    locked_until: float = 0.0
    forgotten_at: float = 0.0


class Throttle:
    """Wrong passwords by what they were for, over all connections. For one thread; `now` in seconds, for tests."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._records: dict[str, _Record] = {}

    def wait(self, what: str) -> int:
        """Seconds until the next password may be tried; 0: now."""
        record = self._records.get(what)
        return math.ceil(max(0.0, record.locked_until - self._now())) if record else 0

    def fail(self, what: str) -> int:
        """A wrong password was given; how many in a row."""
        now = self._now()
        self._records = {name: kept for name, kept in self._records.items() if kept.forgotten_at > now}
        record = self._records.setdefault(what, _Record())
        record.failures += 1
        if record.failures >= FREE_TRIES:
            record.locked_until = now + min(2.0 ** min(record.failures - FREE_TRIES, 16), LONGEST_SECONDS)
        record.forgotten_at = now + FORGOTTEN_SECONDS
        return record.failures

    def succeed(self, what: str) -> None:
        self._records.pop(what, None)
