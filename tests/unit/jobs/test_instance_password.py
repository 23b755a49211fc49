"""The job of a password set at once: the guest before the store, and no hash left in the journal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agent.core.clock import SystemClock
from agent.core.errors import DriverError
from agent.jobs import journal
from agent.jobs.model import Drivers
from agent.jobs.runner import JobRunner
from agent.store.schema import Instance, Job
from tests.support.cloud import Cloud

HASH = "$6$ecs.saltsaltsalt$hash"
LIMIT = 30.0


class GuestAgents:
    """A hypervisor whose guests' agents take passwords, or fail as told."""

    def __init__(self) -> None:
        self.faults: list[Exception] = []
        self.passwords: list[tuple[str, str, str]] = []

    def set_password(self, name: str, user: str, password_hash: str) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.passwords.append((name, user, password_hash))


@pytest.fixture
def agents() -> GuestAgents:
    return GuestAgents()


@pytest.fixture
def runner(cloud: Cloud, agents: GuestAgents) -> Iterator[JobRunner]:
    absent: Any = None
    drivers = Drivers(
        hypervisor=agents,
        storage=absent,
        network=absent,
        seeds=absent,
        builder=absent,
        converter=absent,
        objects=absent,
    )  # type: ignore[arg-type]
    made = JobRunner(cloud.services.config, cloud.store, drivers, SystemClock(), unseal=bytes.decode)
    made.start()
    yield made
    made.stop()


def run(cloud: Cloud, runner: JobRunner) -> tuple[str, Job, str | None]:
    """The instance, its ended job, and the hash it has afterwards."""
    _, vswitch_id = cloud.default_vswitch()
    instance_id = cloud.add_instance(vswitch_id, [])
    with cloud.store.write() as session:
        data = {"password_hash": HASH}
        job_id = journal.enqueue(session, "instance.password", instance_id, SystemClock().now(), data=data).id
    runner.wake()
    assert runner.wait(job_id, LIMIT)
    with cloud.store.read() as session:
        job = session.query(Job).where(Job.id == job_id).one()
        return instance_id, job, session.get_one(Instance, instance_id).password_hash


def test_the_guest_takes_it_and_it_stays_wanted(cloud: Cloud, runner: JobRunner, agents: GuestAgents) -> None:
    agents.faults = [DriverError("libvirt is away", transient=True)]
    instance_id, job, wanted = run(cloud, runner)
    assert agents.passwords == [(f"ecs-{instance_id}", "root", HASH)]
    assert (job.state, job.data, wanted) == ("succeeded", {}, HASH)


def test_a_guest_that_cannot_keeps_the_password_it_has(cloud: Cloud, runner: JobRunner, agents: GuestAgents) -> None:
    agents.faults = [DriverError("cannot set the password: the guest agent does not answer")]
    _, job, wanted = run(cloud, runner)
    assert agents.passwords == []
    assert (job.state, job.data, wanted) == ("failed", {}, None)
    assert "does not answer" in job.message
