"""What guests do, sampled at each full minute (SPEC D11): a thread that asks the hypervisor once and writes once.

One answer of the hypervisor is all that is looked at; whoever measures more of a guest finds it there and adds rows to
the same transaction.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading

from sqlalchemy import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from agent.core.clock import Clock
from agent.core.errors import DriverError
from agent.core.ids import PREFIXES
from agent.core.protocols import Hypervisor
from agent.jobs.meter import DiskMeter, Done
from agent.jobs.rollup import RESOLUTIONS, floor, roll_up
from agent.store.schema import DiskSample
from agent.store.store import Store

log = logging.getLogger(__name__)

PERIOD = RESOLUTIONS[0].period  # seconds


class Sampler:
    """Works between start() and stop(); `sample` is one round."""

    def __init__(self, store: Store, hypervisor: Hypervisor, clock: Clock) -> None:
        self._store, self._hypervisor, self._clock = store, hypervisor, clock
        self._disks = DiskMeter()
        self._last: dt.datetime | None = None
        self._failure = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _loop(self) -> None:
        """The first round is at once: what is done from then on is known."""
        while True:
            self._round()
            if self._stopping.wait(PERIOD - self._clock.now().timestamp() % PERIOD):
                return

    def _round(self) -> None:
        try:
            self.sample()
            self._failure = ""
        except (DriverError, OperationalError) as error:
            self._fail(str(error.orig) if isinstance(error, OperationalError) else str(error))
        except Exception:
            log.exception("cannot sample what guests do")

    def _fail(self, why: str) -> None:
        """Once for each reason: it may last."""
        if why != self._failure:
            log.warning("no samples of what guests do: %s", why)
        self._failure = why

    def sample(self) -> None:
        """What was done since the last round counts for the minute that has just ended. A host without guests is left
        alone: nothing is written."""
        now = self._clock.now()
        minute = floor(now, PERIOD) - dt.timedelta(seconds=PERIOD)
        if minute == self._last:  # woken a little early
            return
        done = self._disks.look(now, self._hypervisor.counters())
        self._last = minute
        if done:
            with self._store.write() as session:
                _write_disks(session, minute, done)
                roll_up(session, now)


def _write_disks(session: Session, minute: dt.datetime, done: list[Done]) -> None:
    rows = [_row(minute, one) for one in done]
    # A clock that was set back has seen this minute before.
    session.execute(insert(DiskSample).prefix_with("OR REPLACE"), rows)


def _row(minute: dt.datetime, done: Done) -> dict[str, object]:
    counted = done.counters
    return {
        "disk_id": PREFIXES["disk"] + done.serial,
        "period": PERIOD,
        "start": minute,
        "seconds": max(1, round(done.seconds)),
        "reads": counted.reads,
        "writes": counted.writes,
        "bytes_read": counted.bytes_read,
        "bytes_written": counted.bytes_written,
        "read_us": counted.read_ns // 1000,
        "write_us": counted.write_ns // 1000,
    }
