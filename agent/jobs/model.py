"""What a job is made of: kinds, steps, and the context a step works in.

A step is a small piece of work that may be repeated at any time: after a crash the runner calls the first
unfinished step again, however far it got. A step may return a function; it is called in the very transaction
that journals the step as done, so that the store and the journal never disagree.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.config import Config
from agent.core.clock import Clock
from agent.core.image_protocols import Builder, Converter, Inspector
from agent.core.protocols import Hypervisor, Network, Objects, Seeds, Storage
from agent.jobs.layers.turns import Turns
from agent.jobs.open_files import OpenFiles
from agent.jobs.translate_filter import FilterSpecs
from agent.store.schema import Job
from agent.store.store import Store

Finish = Callable[[Session], None]


class NotYet(Exception):
    """Raised by a step that waits for something: call it again after `seconds`."""

    def __init__(self, seconds: float, message: str = "") -> None:
        super().__init__(message)
        self.seconds = seconds
        self.message = message


class Cancelled(Exception):
    """Raised by a step that noticed that its job is being cancelled; what was done is undone."""


@dataclass(frozen=True)
class Drivers:
    hypervisor: Hypervisor
    storage: Storage
    network: Network
    seeds: Seeds
    builder: Builder
    converter: Converter
    inspector: Inspector
    objects: Objects


class Locks:
    """Named in-process locks, for what several jobs may touch at once (a VPC's filter)."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, threading.RLock] = {}

    def __getitem__(self, name: str) -> threading.RLock:
        with self._guard:
            return self._locks.setdefault(name, threading.RLock())


@dataclass
class Context:
    """A step's world. `data` is the job's own memory: changes are journalled when the step is done."""

    config: Config
    store: Store
    drivers: Drivers
    locks: Locks
    turns: Turns  # on the files of disks
    filters: FilterSpecs  # of each VPC under its lock
    clock: Clock
    job_id: str
    resource_id: str
    data: dict[str, Any]
    step_started_at: dt.datetime
    report: Callable[[int, str], None]  # progress in percent and a line, shown to whoever waits
    unseal: Callable[[bytes], str]  # opens the store's sealed secrets
    open_files: OpenFiles = field(default_factory=OpenFiles)  # that callers handed over

    def cancelled(self) -> bool:
        """Whether somebody asked for this job to end. A step that takes long asks now and then; it raises Cancelled."""
        with self.store.read() as session:
            return bool(session.scalar(select(Job.cancelling).where(Job.id == self.job_id)))

    def waited(self) -> float:
        """Seconds since this step was begun first, restarts of the agent included."""
        return (self.clock.now() - self.step_started_at).total_seconds()


@dataclass(frozen=True)
class Step:
    name: str
    do: Callable[[Context], Finish | None]
    undo: Callable[[Context], None] | None = None


@dataclass(frozen=True)
class Kind:
    """`patience`: seconds a step may fail transiently before the job is given up; None: for ever.

    `failed` is called in the transaction that ends the job in failure, or cancelled, after everything was undone.
    Until the step number `cancellable_until` (-1: never) was done it may be cancelled: the runner looks before each
    step, long steps ask `context.cancelled()`. `task`: what the public API calls the job as a task; empty: it is none.
    """

    name: str
    steps: tuple[Step, ...]
    patience: float | None = 120
    failed: Callable[[Session, Job, dt.datetime], None] = field(default=lambda session, job, now: None)
    cancellable_until: int = -1
    task: str = ""


KINDS: dict[str, Kind] = {}


def register(kind: Kind) -> Kind:
    """Make `kind` known to journal and runner; the kill matrix of the tests walks this table too."""
    if kind.name in KINDS:
        raise ValueError(f"job kind {kind.name} is registered twice")
    KINDS[kind.name] = kind
    return kind
