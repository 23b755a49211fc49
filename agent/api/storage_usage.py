"""Our own action for what the public API lacks: what disks and snapshots really take of the host's disk."""

from __future__ import annotations

from typing import Any

from agent.api.caller import caller
from agent.api.edge.call import Call
from agent.api.edge.params import RegionParams
from agent.api.edge.registry import HOST, action
from agent.core.errors import MissingParameter
from agent.services import space as service


class StorageUsageParams(RegionParams):
    disk_id: list[str] = []
    snapshot_id: list[str] = []


@action(
    "DescribeStorageUsage",
    version=HOST,
    params=StorageUsageParams,
    resource=lambda call, p: [f"disk/{i}" for i in p.disk_id] + [f"snapshot/{i}" for i in p.snapshot_id],
    access="read",
)
def describe_storage_usage(call: Call, p: StorageUsageParams) -> dict[str, Any]:
    if not p.disk_id and not p.snapshot_id:
        raise MissingParameter("DiskId.1 or SnapshotId.1")
    return {
        "Disks": {"Disk": [_disk(usage) for usage in service.of_disks(caller(call), p.disk_id)]},
        "Snapshots": {"Snapshot": [_snapshot(usage) for usage in service.of_snapshots(caller(call), p.snapshot_id)]},
    }


def _disk(usage: service.DiskUsage) -> dict[str, Any]:
    return {
        "DiskId": usage.disk.id,
        "VirtualBytes": usage.disk.size_gib * service.GIB,
        "AllocatedBytes": usage.allocated,
        "TotalBytes": usage.total,
        "SharedBytes": usage.shared,
        "ChainLength": usage.files,
    }


def _snapshot(usage: service.SnapshotUsage) -> dict[str, Any]:
    return {
        "SnapshotId": usage.snapshot.id,
        "VirtualBytes": usage.snapshot.size_gib * service.GIB,
        "AllocatedBytes": usage.allocated,
        "Consistency": usage.snapshot.consistency,
    }
