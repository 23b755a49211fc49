"""The runner: order, retries, undo, waiting, and taking up what a killed predecessor left."""

import datetime as dt
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from agent.config import Config
from agent.core.clock import SystemClock
from agent.core.errors import DriverError
from agent.jobs import journal
from agent.jobs.model import KINDS, Cancelled, Context, Kind, NotYet, Step
from agent.jobs.runner import JobRunner
from agent.store.schema import Account, Job
from agent.store.store import Store
from tests.support.fresh_store import fresh_store
from tests.support.waiting import wait_for

LIMIT = 30.0


class World:
    """What steps did, and how they shall misbehave."""

    def __init__(self, store: Store, config: Config) -> None:
        self.store, self.config = store, config
        self.done: list[str] = []
        self.guard = threading.Lock()
        self.faults: dict[str, list[Exception]] = {}
        self.runner: JobRunner | None = None

    def step(self, name: str, *, undo: bool = True) -> Step:
        def do(context: Context) -> None:
            with self.guard:
                self.done.append(f"{context.resource_id}:{name}")
                faults = self.faults.get(name)
                if faults:
                    raise faults.pop(0)
            context.data[name] = True

        def revert(context: Context) -> None:
            self.done.append(f"{context.resource_id}:undo {name}")

        return Step(name, do, revert if undo else None)

    def kind(self, *steps: Step, **values: Any) -> str:
        name = f"test.{len(KINDS)}"
        KINDS[name] = Kind(name, steps, **values)
        return name

    def start(self) -> None:
        self.runner = JobRunner(self.config, self.store, None, SystemClock(), unseal=bytes.decode)  # type: ignore[arg-type]
        self.runner.start()

    def enqueue(self, kind: str, resource: str = "r", **values: Any) -> str:
        with self.store.write() as session:
            job = journal.enqueue(session, kind, resource, dt.datetime.now(dt.UTC), **values)
        if self.runner:
            self.runner.wake()
        return job.id

    def finished(self, job_id: str) -> Job:
        assert self.runner
        assert self.runner.wait(job_id, LIMIT)
        with self.store.read() as session:
            return session.scalars(select(Job).where(Job.id == job_id)).one()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    before = set(KINDS)
    config = replace(Config(), data_dir=tmp_path)
    store = fresh_store(tmp_path / "ecs.db")
    world = World(store, config)
    yield world
    if world.runner:
        world.runner.stop()
    store.close()
    for name in set(KINDS) - before:
        del KINDS[name]


def test_steps_run_in_order_and_share_their_data(world: World) -> None:
    kind = world.kind(world.step("a"), world.step("b"))
    world.start()
    job = world.finished(world.enqueue(kind))
    assert world.done == ["r:a", "r:b"]
    assert (job.state, job.progress, job.data) == ("succeeded", 100, {"a": True, "b": True})


def test_jobs_of_one_lock_run_one_after_the_other_in_order(world: World) -> None:
    kind = world.kind(world.step("a"), world.step("b"))
    ids = [world.enqueue(kind, f"r{n}", lock="shared") for n in range(5)]
    world.start()
    for job_id in ids:
        world.finished(job_id)
    assert world.done == [f"r{n}:{step}" for n in range(5) for step in "ab"]


def test_a_transient_failure_is_tried_again(world: World) -> None:
    kind = world.kind(world.step("a"))
    world.faults["a"] = [DriverError("libvirt is away", transient=True)] * 2
    world.start()
    assert world.finished(world.enqueue(kind)).state == "succeeded"
    assert world.done == ["r:a"] * 3


def test_a_lasting_failure_undoes_the_steps_backwards_and_says_why(world: World) -> None:
    ended: list[str] = []
    kind = world.kind(
        world.step("a"),
        world.step("b", undo=False),
        world.step("c"),
        failed=lambda session, job, now: ended.append(job.message),
    )
    world.faults["c"] = [DriverError("the disk is full")]
    world.start()
    job = world.finished(world.enqueue(kind))
    assert world.done == ["r:a", "r:b", "r:c", "r:undo c", "r:undo a"]
    assert (job.state, job.message, ended) == ("failed", "the disk is full", ["the disk is full"])


def test_patience_ends_for_transient_failures_too(world: World) -> None:
    kind = world.kind(world.step("a"), patience=0)
    world.faults["a"] = [DriverError("libvirt is away", transient=True)] * 9
    world.start()
    assert world.finished(world.enqueue(kind)).state == "failed"
    assert world.done == ["r:a", "r:undo a"]


def test_an_unforeseen_error_is_an_internal_one_and_undone(world: World) -> None:
    kind = world.kind(world.step("a"))
    world.faults["a"] = [ZeroDivisionError("oops")]
    world.start()
    job = world.finished(world.enqueue(kind))
    assert job.state == "failed"
    assert "internal error in step a" in job.message


def test_a_waiting_step_keeps_its_notes_and_is_called_again(world: World) -> None:
    seen: list[dict[str, Any]] = []

    def wait(context: Context) -> None:
        seen.append(dict(context.data))
        if len(seen) < 3:
            context.data["asked"] = len(seen)
            raise NotYet(0.01, "waiting")

    kind = world.kind(Step("wait", wait))
    world.start()
    assert world.finished(world.enqueue(kind)).state == "succeeded"
    assert seen == [{}, {"asked": 1}, {"asked": 2}]


def test_what_a_step_returns_is_written_with_the_journal(world: World) -> None:
    now = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)

    def do(context: Context) -> Any:
        return lambda session: session.add(Account(id="1", name="made by a job", created_at=now))

    world.start()
    world.finished(world.enqueue(world.kind(Step("write", do))))
    with world.store.read() as session:
        assert session.get_one(Account, "1").name == "made by a job"


def test_a_killed_agents_job_goes_on_at_its_first_unfinished_step(world: World) -> None:
    kind = world.kind(world.step("a"), world.step("b"))
    job_id = world.enqueue(kind)
    with world.store.write() as session:
        job = session.scalars(select(Job).where(Job.id == job_id)).one()
        job.state, job.step, job.data = "running", 1, {"a": "from before"}
    world.start()
    assert world.finished(job_id).data == {"a": "from before", "b": True}
    assert world.done == ["r:b"]


def test_a_killed_agents_undo_goes_on(world: World) -> None:
    kind = world.kind(world.step("a"), world.step("b"))
    job_id = world.enqueue(kind)
    with world.store.write() as session:
        job = session.scalars(select(Job).where(Job.id == job_id)).one()
        job.state, job.step, job.message = "undoing", 0, "why"
    world.start()
    job = world.finished(job_id)
    assert (job.state, job.message, world.done) == ("failed", "why", ["r:undo a"])


def test_hurry_ends_the_pause_of_a_waiting_job(world: World) -> None:
    calls = threading.Semaphore(0)

    def wait(context: Context) -> None:
        calls.release()
        if not context.data.get("again"):
            context.data["again"] = True
            raise NotYet(3600)

    world.start()
    assert world.runner
    job_id = world.enqueue(world.kind(Step("wait", wait)))
    assert calls.acquire(timeout=LIMIT)
    while not world.runner.wait(job_id, 0.05):
        world.runner.hurry("r")
    assert calls.acquire(timeout=LIMIT)


def cancel(world: World, job_id: str) -> bool:
    with world.store.write() as session:
        possible = journal.cancel(session, session.scalars(select(Job).where(Job.id == job_id)).one())
    if world.runner:
        world.runner.wake()
    return possible


def test_a_cancelled_job_undoes_what_it_did(world: World) -> None:
    def wait(context: Context) -> None:
        raise Cancelled if context.cancelled() else NotYet(0.01)

    kind = world.kind(world.step("a"), Step("wait", wait), world.step("c"), cancellable_until=1)
    world.start()
    job_id = world.enqueue(kind)
    wait_for("the first step", lambda: world.done == ["r:a"], every=0.01)
    assert cancel(world, job_id)
    assert world.finished(job_id).state == "cancelled"
    assert world.done == ["r:a", "r:undo a"]


def test_a_job_is_cancelled_before_it_begins_and_not_beyond_its_point_of_no_return(world: World) -> None:
    early = world.enqueue(world.kind(world.step("a"), cancellable_until=0))
    late = world.enqueue(world.kind(world.step("b")), "s")
    assert (cancel(world, early), cancel(world, late)) == (True, False)
    world.start()
    assert (world.finished(early).state, world.finished(late).state) == ("cancelled", "succeeded")
    assert sorted(world.done) == ["r:undo a", "s:b"]
    assert not cancel(world, late)


def test_a_job_that_fails_while_it_is_cancelled_has_failed(world: World) -> None:
    def fail(context: Context) -> None:
        with world.store.write() as session:
            assert journal.cancel(session, session.scalars(select(Job).where(Job.id == context.job_id)).one())
        raise DriverError("no")

    world.start()
    job = world.finished(world.enqueue(world.kind(Step("fail", fail), cancellable_until=0)))
    assert (job.state, job.message) == ("failed", "no")
