"""The job runner: takes up every unfinished job of the journal, one at a time per lock, until it has ended.

It keeps no state of its own that matters: killed at any moment, its successor finds in the journal which
step was to be done next and does it (again). A failed step is repeated while it fails transiently and the
kind's patience lasts; then the steps done so far are undone, last first.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.config import Config
from agent.core.clock import Clock
from agent.core.errors import DriverError
from agent.jobs.journal import UNFINISHED
from agent.jobs.layers.turns import Turns
from agent.jobs.model import KINDS, Cancelled, Context, Drivers, Finish, Locks, NotYet
from agent.jobs.open_files import OpenFiles
from agent.jobs.translate_filter import FilterSpecs
from agent.store.schema import Job
from agent.store.store import Store

log = logging.getLogger(__name__)

WORKERS = 8
STOP_SECONDS = 15.0
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 15.0
CANCELLED = "cancelled on request"

StepHook = Callable[[str, str, str], None]  # kind, step, and `before`, `after`, `before undo` or `after undo`


def no_hook(kind: str, step: str, when: str) -> None:
    """What a runner calls around each step, unless a test wants to break something right there."""


class JobRunner:
    """Runs jobs in threads of its own between start() and stop()."""

    def __init__(
        self,
        config: Config,
        store: Store,
        drivers: Drivers,
        clock: Clock,
        step_hook: StepHook = no_hook,
        *,
        unseal: Callable[[bytes], str],
    ) -> None:
        self._config, self._store, self._drivers, self._clock = config, store, drivers, clock
        self.unseal = unseal
        self._step_hook = step_hook
        self.locks, self.turns, self.open_files = Locks(), Turns(), OpenFiles()
        self.filters = FilterSpecs()
        self._changed = threading.Condition()
        self._woken = True
        self._stopping = False
        self._at_work = 0
        self._held: set[str] = set()  # locks of the jobs being run or waiting for their next try
        self._later: list[tuple[float, int, str]] = []  # (monotonic time, tie breaker, job id)
        self._ticket = itertools.count()
        self._waiters: dict[str, threading.Event] = {}
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="job")
        self._scheduler = threading.Thread(target=self._schedule, name="job-scheduler", daemon=True)

    def start(self) -> None:
        self._scheduler.start()

    def stop(self, timeout: float = STOP_SECONDS) -> bool:
        """Begin no new steps and let the running ones end. Unfinished jobs stay in the journal.

        False when a step goes on longer than `timeout`; whoever ends the process then loses nothing but its work.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self.turns.close()
        self._scheduler.join()
        with self._changed:
            return self._changed.wait_for(lambda: self._at_work == 0, timeout)

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def hurry(self, lock: str) -> None:
        """Something happened that the job holding `lock` may wait for: try it again now."""
        with self._changed:
            if lock in self._held and self._later:
                self._later = [(0.0, ticket, job_id) for _, ticket, job_id in self._later]
                heapq.heapify(self._later)
                self._changed.notify_all()

    def wait(self, job_id: str, timeout: float) -> bool:
        """Wait until the job has ended; False on time-out."""
        with self._changed:
            event = self._waiters.setdefault(job_id, threading.Event())
        with self._store.read() as session:
            state = session.scalar(select(Job.state).where(Job.id == job_id))
        try:
            return state not in UNFINISHED or event.wait(timeout)
        finally:
            with self._changed:
                self._waiters.pop(job_id, None)

    # -------------------------------------------------------------------------- scheduling

    def _schedule(self) -> None:
        while True:
            with self._changed:
                while not (self._woken or self._stopping or self._is_due()):
                    self._changed.wait(self._until_due())
                if self._stopping:
                    return
                woken, self._woken = self._woken, False
                due = self._pop_due()
            for job_id in due:
                self._pool.submit(self._work, job_id)
            if woken:
                try:
                    self._take_up_new()
                except Exception:
                    log.exception("cannot read the journal; trying again")
                    self._changed_later()

    def _is_due(self) -> bool:
        return bool(self._later) and self._later[0][0] <= time.monotonic()

    def _until_due(self) -> float | None:
        return max(0.0, self._later[0][0] - time.monotonic()) if self._later else None

    def _pop_due(self) -> list[str]:
        due = []
        while self._is_due():
            due.append(heapq.heappop(self._later)[2])
        return due

    def _changed_later(self) -> None:
        timer = threading.Timer(LONGEST_RETRY_SECONDS, self.wake)
        timer.daemon = True
        timer.start()

    def _take_up_new(self) -> None:
        """Give every unfinished job that is first in line for its lock to a worker."""
        with self._store.read() as session:
            rows = session.execute(
                select(Job.id, Job.lock).where(Job.state.in_(UNFINISHED)).order_by(Job.sequence)
            ).all()
        for job_id, lock in rows:
            with self._changed:
                if lock in self._held:
                    continue
                self._held.add(lock)
            self._pool.submit(self._work, job_id)

    def _again(self, job_id: str, seconds: float) -> None:
        with self._changed:
            heapq.heappush(self._later, (time.monotonic() + seconds, next(self._ticket), job_id))
            self._changed.notify_all()

    def _release(self, job_id: str, lock: str) -> None:
        with self._changed:
            self._held.discard(lock)
            self._woken = True
            event = self._waiters.get(job_id)
            if event:
                event.set()
            self._changed.notify_all()

    # -------------------------------------------------------------------------- one job

    def _work(self, job_id: str) -> None:
        with self._changed:
            self._at_work += 1
        try:
            self._work_on(job_id)
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify_all()

    def _work_on(self, job_id: str) -> None:
        """Do the job's steps until it ends or has to wait."""
        try:
            while True:
                with self._changed:
                    if self._stopping:
                        return
                with self._store.read() as session:
                    job = session.scalars(select(Job).where(Job.id == job_id)).one()
                if job.state not in UNFINISHED:
                    self._release(job_id, job.lock)
                    return
                delay = self._undo_step(job) if job.state == "undoing" else self._do_step(job)
                if delay is not None:
                    self._again(job_id, delay)
                    return
        except Exception:
            # Only the store itself can get us here (disk full, database locked): nothing is lost, try again.
            log.exception("job %s: the journal could not be written; trying again", job_id)
            self._again(job_id, LONGEST_RETRY_SECONDS)

    def _do_step(self, job: Job) -> float | None:
        """One step forward. Seconds to wait before the next try, or None to go on at once."""
        kind = KINDS[job.kind]
        if job.step >= len(kind.steps):
            self._update(job, state="succeeded", progress=100, finished_at=self._clock.now())
            return None
        step = kind.steps[job.step]
        if job.cancelling and job.step <= kind.cancellable_until:
            self._cancel(job)
            return None
        if job.step_started_at is None or job.state == "pending":
            job.step_started_at = self._clock.now()
            self._update(job, state="running", step_started_at=job.step_started_at)
        context = self._context(job)
        try:
            self._step_hook(job.kind, step.name, "before")
            finish = step.do(context)
            self._step_hook(job.kind, step.name, "after")
        except NotYet as wait:
            if wait.message != job.message or context.data != job.data:
                self._update(job, message=wait.message, data=context.data)
            return wait.seconds
        except Cancelled:
            self._cancel(job)
            return None
        except Exception as error:
            return self._step_failed(job, step.name, context, error)
        self._step_done(job, context, finish)
        return None

    def _cancel(self, job: Job) -> None:
        log.info("job %s (%s %s) is being cancelled", job.id, job.kind, job.resource_id)
        self._update(job, state="undoing", cancelling=True, message=CANCELLED, failures=0)

    def _step_done(self, job: Job, context: Context, finish: Finish | None) -> None:
        def also(session: Session) -> None:
            if finish:
                finish(session)

        last = job.step + 1 == job.step_count
        values: dict[str, object] = {"step": job.step + 1, "data": context.data, "failures": 0, "step_started_at": None}
        if last:
            values |= {"state": "succeeded", "progress": 100, "message": "", "finished_at": self._clock.now()}
        self._update(job, also=also, **values)

    def _step_failed(self, job: Job, step: str, context: Context, error: Exception) -> float | None:
        kind = KINDS[job.kind]
        expected = isinstance(error, DriverError)
        message = str(error) if expected else f"internal error in step {step}: {error!r}"
        log.log(
            logging.WARNING if expected else logging.ERROR,
            "job %s (%s %s) step %s failed: %s",
            job.id,
            job.kind,
            job.resource_id,
            step,
            message,
            exc_info=None if expected else error,
        )
        transient = isinstance(error, DriverError) and error.transient
        patient = kind.patience is None or (transient and context.waited() < kind.patience)
        failures = job.failures + 1
        if patient:
            self._update(job, message=message, failures=failures)
            return min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 10))
        self._update(job, state="undoing", message=message, failures=0)
        return None

    def _undo_step(self, job: Job) -> float | None:
        """Undo the current step and go one back; the job has failed when the first one is undone."""
        kind = KINDS[job.kind]
        if job.step < len(kind.steps) and (undo := kind.steps[job.step].undo):
            try:
                self._step_hook(job.kind, kind.steps[job.step].name, "before undo")
                undo(self._context(job))
                self._step_hook(job.kind, kind.steps[job.step].name, "after undo")
            except Exception as error:
                log.warning("job %s: cannot undo step %s yet: %s", job.id, kind.steps[job.step].name, error)
                self._update(job, failures=job.failures + 1)
                return min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(job.failures, 10))
        if job.step > 0:
            self._update(job, step=job.step - 1, failures=0)
            return None
        now = self._clock.now()
        state = "cancelled" if job.cancelling and job.message == CANCELLED else "failed"
        self._update(job, also=lambda session: kind.failed(session, job, now), state=state, finished_at=now)
        level = logging.INFO if state == "cancelled" else logging.ERROR
        log.log(level, "job %s (%s %s) %s: %s", job.id, job.kind, job.resource_id, state, job.message)
        return None

    def _context(self, job: Job) -> Context:
        def report(percent: int, text: str) -> None:
            self._update(job, progress=percent, message=text)

        return Context(
            config=self._config,
            store=self._store,
            drivers=self._drivers,
            locks=self.locks,
            turns=self.turns,
            filters=self.filters,
            clock=self._clock,
            job_id=job.id,
            resource_id=job.resource_id,
            data=dict(job.data),
            step_started_at=job.step_started_at or self._clock.now(),
            report=report,
            unseal=self.unseal,
            open_files=self.open_files,
        )

    def _update(self, job: Job, also: Finish | None = None, **values: object) -> None:
        """Journal `values` of the job, together with what `also` writes."""
        with self._store.write() as session:
            row = session.scalars(select(Job).where(Job.id == job.id)).one()
            for name, value in values.items():
                setattr(row, name, value)
                setattr(job, name, value)
            if also:
                also(session)
