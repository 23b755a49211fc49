"""Disks and snapshots as the store knows them, for tests without a host."""

from __future__ import annotations

import datetime as dt
from typing import Any

from agent.core import ids
from agent.jobs.layers import tree
from agent.store.schema import Disk, Instance, Layer, Snapshot
from tests.support.cloud import START, Cloud


def add_disk(cloud: Cloud, **columns: Any) -> str:
    """An available data disk of 20 GiB unless `columns` say otherwise; its id."""
    disk_id = ids.new_id("disk")
    wanted: dict[str, Any] = {
        "account_id": cloud.account_id,
        "zone_id": "local-a",
        "kind": "data",
        "category": "cloud_efficiency",
        "size_gib": 20,
        "status": "Available",
        "created_at": START,
    } | columns
    with cloud.store.write() as session:
        layer = tree.new_root(session, disk_id, wanted["size_gib"], START)
        layer.state = "ready"
        session.add(Disk(id=disk_id, layer_id=layer.id, **wanted))
    return disk_id


def add_snapshot(cloud: Cloud, disk_id: str, **columns: Any) -> str:
    """An accomplished snapshot of a disk, which goes on in a new layer; its id."""
    snapshot_id = ids.new_id("snapshot")
    with cloud.store.write() as session:
        disk = session.get_one(Disk, disk_id)
        taken = session.get_one(Layer, disk.layer_id)
        disk.layer = tree.new_child(session, disk.id, disk.size_gib, START, taken)
        disk.layer.state = "ready"
        session.flush()
        wanted: dict[str, Any] = {
            "account_id": disk.account_id,
            "kind": "user",
            "status": "accomplished",
            "progress": 100,
            "size_gib": disk.size_gib,
            "disk_kind": disk.kind,
            "category": disk.category,
            "created_at": START + dt.timedelta(minutes=1),
            "layer_id": taken.id,
        } | columns
        session.add(Snapshot(id=snapshot_id, disk_id=disk_id, **wanted))
    return snapshot_id


def change(cloud: Cloud, table: type[Any], key: str, **columns: Any) -> None:
    with cloud.store.write() as session:
        row = session.get_one(table, key)
        for name, value in columns.items():
            setattr(row, name, value)


def system_disk(cloud: Cloud, instance_id: str) -> str:
    with cloud.store.read() as session:
        instance = session.get_one(Instance, instance_id)
        return next(disk.id for disk in instance.disks if disk.kind == "system")


def row(cloud: Cloud, disk_id: str) -> Disk:
    with cloud.store.read() as session:
        return session.get_one(Disk, disk_id)
