"""What the clock brings about: automatic snapshots at their hours (SPEC S5, S6), and their end; the end of what nobody
goes on with.

An hour is honoured in the transaction that notes it as honoured, for the policy and for each disk: whatever stops the
agent in between, no hour is honoured twice or half.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.config import Config
from agent.core import schedule
from agent.core.clock import Clock
from agent.jobs import snapshots
from agent.jobs.layers import tree
from agent.jobs.runner import JobRunner
from agent.store.schema import AutoSnapshotPolicy, Disk, Instance, Snapshot
from agent.store.store import Store

log = logging.getLogger(__name__)

EVERY_SECONDS = 20.0
# A disk on its way between two states is waited for this long after the hour began; less than schedule.GRACE.
PATIENCE = dt.timedelta(minutes=5)
# Nothing expires for a while after a start or a leap of the clock: a clock that is far ahead shall cost no snapshot
# before somebody, or NTP, has put it right.
STEADY_SECONDS = 900.0
LEAP_SECONDS = 60.0

Allowed = Callable[[Session, str], int]  # how many snapshots of one disk an account may have


@dataclass(frozen=True)
class Hindrance:
    """Why no snapshot can be taken now; `passes`: it may be worth waiting a little."""

    why: str
    passes: bool = False


def hindrance(disk: Disk, *, releasing: bool, still_taking: bool) -> Hindrance | None:
    """What keeps a policy from taking a snapshot of `disk` (SPEC S6); None: nothing."""
    if releasing:
        return Hindrance("its instance is being released")
    if not disk.enable_auto_snapshot:
        return Hindrance("automatic snapshots are switched off for this disk")
    if disk.category == "cloud" and disk.instance_id is None:
        return Hindrance("nothing is taken of a basic cloud disk that is attached to no instance")
    if still_taking:
        return Hindrance("the automatic snapshot before was still being taken")
    if disk.status not in ("Available", "In_use"):
        return Hindrance(f"the disk was {disk.status}", passes=True)
    return None


def schedule_of(policy: AutoSnapshotPolicy, config: Config) -> schedule.Schedule:
    """When the policy's hours are; raises ValueError when the host has lost its time zone."""
    zone = schedule.time_zone(policy.time_zone or config.time_zone)
    return schedule.Schedule(frozenset(policy.hours), frozenset(policy.weekdays), zone)


def snapshot_name(policy_id: str, local: dt.datetime) -> str:
    """As the provider names automatic snapshots: by the day in the policy's time zone."""
    return f"auto2.0_{local:%Y%m%d}_{policy_id}"


def pause(now: dt.datetime) -> float:
    """Seconds until the next look at the clock: a moment after the full minute, at which hours begin, at the latest."""
    return min(EVERY_SECONDS, 60.01 - now.second - now.microsecond / 1e6)


class Steadiness:
    """Whether the clock can be trusted to say that time is over: it went on evenly for a while."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._last = (0.0, 0.0)

    def check(self, monotonic: float, wall: float) -> bool:
        """To be called every few seconds with both times, in seconds."""
        uneven = abs((wall - self._last[1]) - (monotonic - self._last[0])) > LEAP_SECONDS
        self._last = (monotonic, wall)
        if self._since is None or uneven:
            self._since = monotonic
        return monotonic - self._since >= STEADY_SECONDS


class Timetable:
    """Looks at the clock every few seconds, in a thread of its own between start() and stop()."""

    def __init__(
        self,
        config: Config,
        store: Store,
        runner: JobRunner,
        clock: Clock,
        allowed: Allowed,
        lacking: Callable[[], str] = str,
        sweeps: Sequence[Callable[[], object]] = (),
    ) -> None:
        """`lacking`: why the host's disk has no room for one more snapshot; empty: it has. `sweeps`: what else removes
        what is over, each time it is called."""
        self._config, self._store, self._runner, self._clock = config, store, runner, clock
        self._allowed, self._lacking, self._sweeps = allowed, lacking, sweeps
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="timetable", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _loop(self) -> None:
        steadiness = Steadiness()
        while not self._stopping.is_set():
            steady = steadiness.check(time.monotonic(), self._clock.now().timestamp())
            try:
                self.take()
                if steady:
                    self.expire()
                    for sweep in self._sweeps:
                        sweep()
            except Exception:
                log.exception("cannot do what the timetable says; trying again")
            self._stopping.wait(pause(self._clock.now()))

    # -------------------------------------------------------------------------- taking

    def take(self) -> None:
        """Begin the snapshots of every policy whose hour has come."""
        now = self._clock.now()
        with self._store.read() as session:
            found = [(policy.id, self._due(policy, now)) for policy in session.scalars(select(AutoSnapshotPolicy))]
        for policy_id, hour in found:
            if hour is not None:
                with self._store.write() as session:
                    self._honour(session, policy_id, hour, now)
                self._runner.wake()

    def _due(self, policy: AutoSnapshotPolicy, now: dt.datetime) -> dt.datetime | None:
        try:
            when = schedule_of(policy, self._config)
        except ValueError as error:
            log.error("policy %s takes no snapshots: %s", policy.id, error)
            return None
        return schedule.due(when, policy.last_hour or policy.created_at, now)

    def _honour(self, session: Session, policy_id: str, hour: dt.datetime, now: dt.datetime) -> None:
        """Take a snapshot of each of the policy's disks, or note why not; done when no disk is waited for."""
        policy = session.get(AutoSnapshotPolicy, policy_id)
        if policy is None or self._due(policy, now) != hour:
            return  # deleted or changed meanwhile
        waiting = False
        disks = select(Disk).where(Disk.auto_snapshot_policy_id == policy.id).order_by(Disk.id)
        for disk in session.scalars(disks).all():
            if disk.auto_snapshot_hour == hour:
                continue
            found = self._hindrance(session, disk)
            if found and found.passes and now - hour < PATIENCE:
                waiting = True
                continue
            found = found or self._take(session, policy, disk, hour, now)
            disk.auto_snapshot_hour, disk.auto_snapshot_skipped = hour, found.why if found else None
            if found:
                log.warning("policy %s takes no snapshot of %s at %s: %s", policy.id, disk.id, hour, found.why)
        if not waiting:
            policy.last_hour = hour

    def _hindrance(self, session: Session, disk: Disk) -> Hindrance | None:
        instance = session.get(Instance, disk.instance_id) if disk.instance_id else None
        still_taking = snapshots.in_progress(session, disk.id, snapshots.AUTOMATIC) is not None
        return hindrance(disk, releasing=instance is not None and instance.releasing, still_taking=still_taking)

    def _take(
        self, session: Session, policy: AutoSnapshotPolicy, disk: Disk, hour: dt.datetime, now: dt.datetime
    ) -> Hindrance | None:
        if why := self._lacking():
            return Hindrance(why)
        allowed = self._allowed(session, disk.account_id)
        if not snapshots.make_room(session, disk.id, allowed, now):
            return Hindrance(f"the disk has {allowed} snapshots, and none of them may be deleted for another")
        self._forget_failed(session, disk, now)
        local = hour.astimezone(schedule_of(policy, self._config).zone)
        snapshots.begin(session, disk, now, name=snapshot_name(policy.id, local), policy=policy)
        return None

    def _forget_failed(self, session: Session, disk: Disk, now: dt.datetime) -> None:
        """What failed is shown until the next is tried, so that failures do not pile up."""
        failed = select(Snapshot).where(Snapshot.disk_id == disk.id, Snapshot.status == snapshots.FAILED)
        for snapshot in session.scalars(failed.where(Snapshot.kind == snapshots.AUTOMATIC)).all():
            tree.forget_snapshot(session, snapshot, now)

    # -------------------------------------------------------------------------- expiring

    def expire(self) -> None:
        """Delete the automatic snapshots whose days are over and that nothing is made of."""
        now = self._clock.now()
        over = select(Snapshot).where(snapshots.expired(now))
        with self._store.read() as session:
            if session.scalar(over.limit(1)) is None:
                return
        with self._store.write() as session:
            for snapshot in session.scalars(over).all():
                log.info("deleting %s of %s: its days are over", snapshot.id, snapshot.disk_id)
                tree.forget_snapshot(session, snapshot, now)
        self._runner.wake()
