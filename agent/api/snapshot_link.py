"""Chains of snapshots, one for each disk of which there are any, and what they use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.api.caller import caller
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import Paged
from agent.api.edge.params import JsonList, RegionParams
from agent.api.edge.registry import ECS, action
from agent.services import snapshot as service
from agent.services import snapshot_usage


class DescribeSnapshotLinksParams(RegionParams, Paged):
    disk_ids: JsonList = []
    snapshot_link_ids: JsonList = []
    instance_id: str = ""


class DescribeSnapshotsUsageParams(RegionParams):
    """Of all snapshots of the account."""


@action(
    "DescribeSnapshotLinks",
    version=ECS,
    params=DescribeSnapshotLinksParams,
    resource="snapshot/*",
    access="read",
)
def describe_snapshot_links(call: Call, p: DescribeSnapshotLinksParams) -> dict[str, Any]:
    found = service.find_linked_disks(
        caller(call), disk_ids=p.disk_ids, link_ids=p.snapshot_link_ids, instance_id=p.instance_id
    )
    page = paging.page(call.session, found, p)
    return {"SnapshotLinks": {"SnapshotLink": _shown(call, page.items)}, **page.fields()}


def _shown(call: Call, disk_ids: Sequence[str]) -> list[dict[str, Any]]:
    chains = snapshot_usage.chains(caller(call), disk_ids)
    return [
        {
            "SnapshotLinkId": service.link_id(chain.disk_id),
            "RegionId": call.region_id,
            "SourceDiskId": chain.disk_id,
            "SourceDiskName": chain.disk_name,
            "SourceDiskSize": chain.size_gib,
            "SourceDiskType": chain.disk_kind,
            "InstanceId": chain.instance_id,
            "InstanceName": chain.instance_name,
            "Category": "standard",
            "InstantAccess": False,
            "TotalCount": chain.count,
            "TotalSize": chain.total_bytes,
        }
        for chain in chains
    ]


@action(
    "DescribeSnapshotsUsage",
    version=ECS,
    params=DescribeSnapshotsUsageParams,
    resource="snapshot/*",
    access="read",
)
def describe_snapshots_usage(call: Call, p: DescribeSnapshotsUsageParams) -> dict[str, Any]:
    count, total_bytes = snapshot_usage.usage(caller(call))
    return {"SnapshotCount": count, "SnapshotSize": total_bytes}
