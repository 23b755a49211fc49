"""What others did to the filters of VPCs, for the host's owner: the driver has undone it before anybody reads of it."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections import deque

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
        """Somebody did `what` to the VPC's filter. If that could not be undone, a job tries again until it is."""
        now = self._clock.now()
        end = "it was repaired" if repaired else "it will be tried again"
        log.warning("the filter of %s was changed by something else: %s; %s", vpc_id, what, end)
        with self._lock:
            self._lines.append((now, f"{now:%Y-%m-%dT%H:%MZ}: {what} in the filter of {vpc_id}; {end}"))
        if not repaired:
            with self._store.write() as session:
                if session.get(Vpc, vpc_id) is not None:
                    journal.enqueue_sync(session, vpc_id, now)
            self._runner.wake()

    def problems(self) -> list[str]:
        """One line each, of the last day."""
        oldest = self._clock.now() - _TOLD_FOR
        with self._lock:
            return [line for at, line in self._lines if at >= oldest]
