"""The timetable of a test's cloud, and jobs that take what it begins: time goes on in leaps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, cast

from sqlalchemy.orm import Session

from agent.core import ids
from agent.jobs.layers import tree
from agent.jobs.runner import JobRunner
from agent.jobs.timetable import Timetable
from agent.services import quota
from agent.store.schema import Disk, Job, Snapshot
from tests.support.cloud import Cloud


def timetable_of(cloud: Cloud, lacking: Callable[[], str] = str) -> Timetable:
    config = cloud.services.config
    return Timetable(
        config,
        cloud.store,
        cast(JobRunner, cloud.runner),
        cloud.clock,
        lambda session, account_id: quota.limit_of(session, config, account_id, "snapshots_per_disk"),
        lacking,
    )


def set_clock(cloud: Cloud, moment: dt.datetime) -> None:
    cloud.clock.advance((moment - cloud.clock.now()).total_seconds())


def add_disk(cloud: Cloud, *, instance_id: str | None = None, category: str = "cloud_ssd", name: str = "") -> str:
    """A data disk, as far as the store knows."""
    with cloud.store.write() as session:
        disk_id, now = ids.new_id("disk"), cloud.clock.now()
        layer = tree.new_root(session, disk_id, 20, now)
        layer.state = "ready"
        session.add(
            Disk(
                id=disk_id,
                layer_id=layer.id,
                account_id=cloud.account_id,
                instance_id=instance_id,
                zone_id="local-a",
                name=name,
                kind="data",
                category=category,
                size_gib=20,
                device="/dev/xvdb" if instance_id else None,
                status="In_use" if instance_id else "Available",
                created_at=now,
            )
        )
    return disk_id


def running_instance(cloud: Cloud) -> tuple[str, str]:
    """(instance id, id of its system disk)."""
    instance_id = cloud.add_instance(cloud.default_vswitch()[1], [])
    [disk] = cloud.call("DescribeDisks", {"InstanceId": instance_id})["Disks"]["Disk"]
    return instance_id, str(disk["DiskId"])


def change(cloud: Cloud, table: type[Any], key: str, **values: object) -> None:
    """Let a row of the store say something else."""
    with cloud.store.write() as session:
        for name, value in values.items():
            setattr(session.get_one(table, key), name, value)


def take(cloud: Cloud, disk_id: str, **params: object) -> str:
    """A manual snapshot, accomplished; its id."""
    snapshot_id = cloud.call("CreateSnapshot", {"DiskId": disk_id, **params})["SnapshotId"]
    finish_taking(cloud)
    return str(snapshot_id)


def finish_taking(cloud: Cloud, *, failing: str = "") -> int:
    """Do what the jobs that take snapshots would, or let them fail; how many there were."""
    with cloud.store.write() as session:
        waiting = session.query(Job).filter(Job.kind == "snapshot.take", Job.state == "pending").all()
        for job in waiting:
            snapshot = session.get_one(Snapshot, job.resource_id)
            job.state, job.finished_at = "failed" if failing else "succeeded", cloud.clock.now()
            snapshot.finished_at = cloud.clock.now()
            if failing:
                snapshot.status, snapshot.message = "failed", failing
            else:
                _switch(session, session.get_one(Disk, snapshot.disk_id), snapshot, cloud.clock.now())
        return len(waiting)


def _switch(session: Session, disk: Disk, snapshot: Snapshot, now: dt.datetime) -> None:
    below = disk.layer
    above = tree.new_child(session, disk.id, disk.size_gib, now, below)
    above.state = "ready"
    disk.layer, snapshot.layer_id = above, below.id
    snapshot.status, snapshot.progress = "accomplished", 100
