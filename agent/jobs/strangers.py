"""What others did to our nftables tables, for the host's owner: the driver has undone it before anybody reads of it."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections import deque

from sqlalchemy import select

from agent.core.clock import Clock
from agent.jobs import journal
from agent.jobs.runner import JobRunner
from agent.store.schema import Vpc
from agent.store.store import Store

log = logging.getLogger(__name__)

_TOLD_FOR = dt.timedelta(days=1)
_KEPT = 20  # lines


class Strangers:
    def __init__(self, store: Store, runner: JobRunner, clock: Clock) -> None:
        self._store, self._runner, self._clock = store, runner, clock
        self._lock = threading.Lock()
        self._lines: deque[tuple[dt.datetime, str]] = deque(maxlen=_KEPT)

    def note(self, vpc_id: str, what: str, repaired: bool) -> None:
        """Somebody did `what` to the tables of a VPC, or of the host (without an id). If that could not be undone, jobs
        try again until it is: each makes the host's right, too."""
        now, place = self._clock.now(), vpc_id or "the host"
        end = "it was repaired" if repaired else "it will be tried again"
        log.warning("nftables of %s was changed by something else: %s; %s", place, what, end)
        with self._lock:
            self._lines.append((now, f"{now:%Y-%m-%dT%H:%MZ}: {what} in nftables of {place}; {end}"))
        if not repaired:
            with self._store.write() as session:
                known = select(Vpc.id).where(Vpc.id == vpc_id) if vpc_id else select(Vpc.id)
                for one in session.scalars(known).all():
                    journal.enqueue_sync(session, one, now)
            self._runner.wake()

    def problems(self) -> list[str]:
        """One line each, of the last day."""
        oldest = self._clock.now() - _TOLD_FOR
        with self._lock:
            return [line for at, line in self._lines if at >= oldest]
