"""Guests that wait for room on the host's disk: told of, and resumed when there is some."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from agent.core.protocols import Storage
from agent.core.specs import DomainInfo, DomainState
from agent.jobs import stalled
from agent.jobs.stalled import REASON, Stalled
from agent.store.schema import Instance
from tests.support.cloud import START, Cloud, StorageStandIn

PAUSED = DomainInfo("ecs-i-1", DomainState.PAUSED, "io error")


@pytest.fixture
def storage() -> StorageStandIn:
    return StorageStandIn()


@pytest.fixture
def instance_id(cloud: Cloud) -> str:
    _, vswitch_id = cloud.default_vswitch()
    return cloud.add_instance(vswitch_id, [])


def compare(cloud: Cloud, watched: Stalled, instance_id: str, info: DomainInfo) -> str:
    """The instance's reason afterwards."""
    with cloud.store.write() as session:
        instance = session.get_one(Instance, instance_id)
        watched.compare(session, instance, info, START)
        assert instance.status == "Running"
        return watched.reason(instance_id)


def test_it_waits_for_room(cloud: Cloud, storage: StorageStandIn, instance_id: str) -> None:
    watched = Stalled(cast(Storage, storage))
    storage.available = stalled.ENOUGH_BYTES - 1
    assert compare(cloud, watched, instance_id, PAUSED) == REASON
    assert watched.guests == {instance_id}
    assert watched.problems() == [f"{instance_id} is {REASON}"]
    assert cloud.jobs(stalled.RESUME) == []
    storage.available = stalled.ENOUGH_BYTES
    compare(cloud, watched, instance_id, PAUSED)
    assert [job.resource_id for job in cloud.jobs(stalled.RESUME)] == [instance_id]
    assert compare(cloud, watched, instance_id, DomainInfo("ecs-i-1", DomainState.RUNNING, "running")) == ""
    assert watched.problems() == []


def test_on_a_small_disk_less_is_enough(cloud: Cloud, storage: StorageStandIn, instance_id: str) -> None:
    storage.total, storage.available = 100 * 2**20, 2 * 2**20
    compare(cloud, Stalled(cast(Storage, storage)), instance_id, PAUSED)
    assert len(cloud.jobs(stalled.RESUME)) == 1


@pytest.mark.parametrize("reason", ["user", "snapshot", "starting up"])
def test_who_is_paused_for_another_reason_is_left_alone(
    cloud: Cloud, storage: StorageStandIn, instance_id: str, reason: str
) -> None:
    watched = Stalled(cast(Storage, storage))
    assert compare(cloud, watched, instance_id, DomainInfo("ecs-i-1", DomainState.PAUSED, reason)) == ""
    assert (watched.guests, cloud.jobs(stalled.RESUME)) == (set(), [])


def test_those_that_are_off_are_forgotten(cloud: Cloud, storage: StorageStandIn, instance_id: str) -> None:
    watched = Stalled(cast(Storage, storage))
    compare(cloud, watched, instance_id, PAUSED)
    watched.keep({"i-other"})
    assert watched.reason(instance_id) == ""


def test_who_waits_is_told_without_the_database(cloud: Cloud, storage: StorageStandIn, instance_id: str) -> None:
    watched = Stalled(cast(Storage, storage))
    storage.available = 0
    compare(cloud, watched, instance_id, PAUSED)
    with cloud.store.read() as session:
        assert session.get_one(Instance, instance_id).status_reason == ""
    cloud.services = replace(cloud.services, stalled=watched.reason)
    assert cloud.call("DescribeInstanceAttribute", {"InstanceId": instance_id})["StatusReason"] == REASON
