"""Jobs of a VPC's router and filter."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from agent.config import Config
from agent.core.clock import SystemClock
from agent.core.errors import DriverError
from agent.core.specs import FilterSpec, VpcSpec
from agent.jobs import journal
from agent.jobs.model import Drivers
from agent.jobs.reconciler import Reconciler
from agent.jobs.runner import JobRunner
from agent.store.schema import Account, Job, Vpc
from agent.store.store import Store
from tests.support.fresh_store import fresh_store
from tests.support.waiting import wait_for

VPC, OTHER = "vpc-1", "vpc-2"
NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)


class WithoutUplink:
    """A network whose routers cannot be completed."""

    def __init__(self) -> None:
        self.routers: set[str] = set()
        self.filters: list[str] = []
        self.adopted: list[str] = []

    def list_vpcs(self) -> set[str]:
        return self.routers

    def list_taps(self) -> dict[str, str]:
        return {}

    def ensure_vpc(self, spec: VpcSpec) -> None:
        self.routers.add(spec.vpc_id)
        raise DriverError("there is no uplink", transient=True)

    def adopt_ports(self, vpc_id: str, ports: list[Any]) -> None:
        self.adopted.append(vpc_id)

    def apply_filter(self, spec: FilterSpec) -> None:
        self.filters.append(spec.vpc_id)

    def on_stranger(self, callback: object) -> None:
        pass


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = fresh_store(tmp_path / "ecs.db")
    with store.write() as session:
        session.add(Account(id="1000000000000001", name="owner", created_at=NOW))
        session.flush()
        for link, vpc_id in enumerate((VPC, OTHER), 1):
            ids = {"id": vpc_id, "router_id": f"vrt-{link}", "route_table_id": f"vtb-{link}"}
            owner = {"account_id": "1000000000000001", "created_at": NOW}
            session.add(Vpc(**ids, **owner, cidr="10.0.0.0/16", link=link))
    yield store
    store.close()


@pytest.fixture
def network() -> WithoutUplink:
    return WithoutUplink()


@pytest.fixture
def runner(store: Store, network: WithoutUplink) -> Iterator[JobRunner]:
    drivers = Drivers(*[None] * 2, network, *[None] * 5)  # type: ignore[arg-type]
    runner = JobRunner(Config(), store, drivers, SystemClock(), unseal=bytes.decode)
    runner.start()
    yield runner
    runner.stop()


def test_a_filter_does_not_wait_for_a_router_that_cannot_be_completed(
    store: Store, network: WithoutUplink, runner: JobRunner
) -> None:
    with store.write() as session:
        journal.enqueue_sync(session, VPC, NOW)
    runner.wake()
    wait_for("the router's first try", lambda: VPC in network.routers, every=0.01)
    with store.write() as session:
        jobs = [journal.enqueue_filter(session, vpc_id, NOW).id for vpc_id in (VPC, OTHER)]
    runner.wake()
    assert all(runner.wait(job, 30) for job in jobs)
    assert network.filters == [VPC]  # the other one has no router yet


def test_what_a_former_agent_left_is_taken_over_without_an_uplink(
    store: Store, network: WithoutUplink, runner: JobRunner
) -> None:
    reconciler = Reconciler(Config(), store, runner._drivers, runner, SystemClock())
    reconciler._take_over_networks()
    assert network.filters == network.adopted == [VPC, OTHER]
    with store.read() as session:
        assert set(session.scalars(select(Job.resource_id).where(Job.kind == journal.SYNC))) == {VPC, OTHER}
