"""Snapshot actions (SPEC S1-S4)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from agent.api.caller import caller
from agent.api.common import creation_times, ecs_tags, given_tags, refuse, tag_filters
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import Paged
from agent.api.edge.params import ErrorCode, Filter, JsonList, RegionParams, Tag, one_of
from agent.api.edge.registry import ECS, action
from agent.core import ids
from agent.core.clock import iso_seconds
from agent.jobs import snapshots
from agent.services import snapshot as service
from agent.services import tag
from agent.store.schema import Snapshot

_INSTANT = (
    "InstantAccess",
    "InstantAccessRetentionDays",
    "DisableInstantAccess",
)  # a snapshot always can be used at once
_IGNORED = (*_INSTANT, "ResourceGroupId", "StorageLocationArn")
_TIMES = ("%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ")

Category = Annotated[
    str, AfterValidator(str.lower), one_of("standard", ""), ErrorCode("InvalidSnapshotCategory.Malformed")
]


class CreateSnapshotParams(RegionParams):
    disk_id: str
    snapshot_name: str = ""
    description: str = ""
    category: Category = ""
    retention_days: int | None = None
    tag: list[Tag] = []


class ModifySnapshotParams(RegionParams):
    snapshot_id: str
    snapshot_name: str | None = None
    description: str | None = None
    retention_days: int | None = None


class DeleteSnapshotParams(RegionParams):
    snapshot_id: str
    force: bool = False


class DescribeSnapshotsParams(RegionParams, Paged):
    snapshot_ids: JsonList = []
    disk_id: str = ""
    instance_id: str = ""
    snapshot_link_id: str = ""
    snapshot_name: str = ""
    snapshot_type: Annotated[Literal["all", "user", "auto"], ErrorCode("InvalidSnapshotType.NotSupported")] = "all"
    source_disk_type: Annotated[
        str, AfterValidator(str.lower), one_of("system", "data", ""), ErrorCode("InvalidSourceDiskType.NotSupported")
    ] = ""
    status: Annotated[str, one_of("all", *service.STATUSES), ErrorCode("InvalidStatus.NotSupported")] = "all"
    usage: Annotated[str, one_of(*service.USAGES, ""), ErrorCode("InvalidUsage")] = ""
    category: str = ""
    encrypted: bool = False
    kms_key_id: Annotated[str, Field(alias="KMSKeyId")] = ""
    filter: list[Filter] = []
    tag: list[Tag] = []


@action(
    "CreateSnapshot",
    version=ECS,
    params=CreateSnapshotParams,
    resource=("disk/{disk_id}", "snapshot/*"),
    access="write",
    idempotent=True,
    ignored=_IGNORED,
)
def create_snapshot(call: Call, p: CreateSnapshotParams) -> dict[str, Any]:
    _refuse_retention(call, p.retention_days)
    made = service.create_snapshot(
        caller(call), disk_id=p.disk_id, name=p.snapshot_name, description=p.description, tags=given_tags(p.tag)
    )
    call.after_commit(call.services.runner.wake)
    return {"SnapshotId": made.id}


def _refuse_retention(call: Call, days: int | None) -> None:
    """What a person took or named is deleted by a person only; better refused than not kept."""
    refuse(call.action, RetentionDays=days)


@action(
    "ModifySnapshotAttribute",
    version=ECS,
    params=ModifySnapshotParams,
    resource="snapshot/{snapshot_id}",
    access="write",
    ignored=_IGNORED,
)
def modify_snapshot_attribute(call: Call, p: ModifySnapshotParams) -> dict[str, Any]:
    _refuse_retention(call, p.retention_days)
    service.modify_snapshot(caller(call), p.snapshot_id, name=p.snapshot_name, description=p.description)
    return {}


@action("DeleteSnapshot", version=ECS, params=DeleteSnapshotParams, resource="snapshot/{snapshot_id}", access="write")
def delete_snapshot(call: Call, p: DeleteSnapshotParams) -> dict[str, Any]:
    service.delete_snapshot(caller(call), p.snapshot_id, force=p.force)
    call.after_commit(call.services.runner.wake)
    return {}


@action(
    "DescribeSnapshots",
    version=ECS,
    params=DescribeSnapshotsParams,
    resource="snapshot/{snapshot_ids}",
    access="read",
    dry_run=True,
    ignored=("ResourceGroupId",),
)
def describe_snapshots(call: Call, p: DescribeSnapshotsParams) -> dict[str, Any]:
    found = service.find_snapshots(caller(call), _filter(p))
    other_link = p.snapshot_link_id and p.disk_id and p.snapshot_link_id != service.link_id(p.disk_id)
    if p.encrypted or p.kms_key_id or p.category.lower() not in ("", "standard") or other_link:
        found = found.where(Snapshot.id.is_(None))  # no snapshot is any of these
    page = paging.page(call.session, found, p)
    shown_ids = [snapshot.id for snapshot in page.items]
    tags, usages = tag.tags_of(call.session, "snapshot", shown_ids), service.usages(caller(call), shown_ids)
    rows = [_shown(call, snapshot, usages[snapshot.id], tags[snapshot.id]) for snapshot in page.items]
    return {"Snapshots": {"Snapshot": rows}, **page.fields()}


def _filter(p: DescribeSnapshotsParams) -> service.SnapshotFilter:
    times = creation_times(p.filter)
    return service.SnapshotFilter(
        ids=p.snapshot_ids,
        disk_id=p.disk_id or service.disk_of_link(p.snapshot_link_id),
        instance_id=p.instance_id,
        name=p.snapshot_name,
        kind=None if p.snapshot_type == "all" else p.snapshot_type,
        status=None if p.status == "all" else p.status,
        disk_kind=p.source_disk_type or None,
        usage=p.usage or None,
        created_from=times.get("CreationStartTime"),
        created_until=times.get("CreationEndTime"),
        tags=tag_filters(p.tag),
    )


def _shown(call: Call, snapshot: Snapshot, usage: str, tags: list[tuple[str, str]]) -> dict[str, Any]:
    """Message, Consistency, AutoSnapshotPolicyId and ExpirationTime are ours."""
    done = snapshot.status == snapshots.ACCOMPLISHED
    kept_for = snapshot.retention_days if snapshot.expires_at else None
    return {
        "SnapshotId": snapshot.id,
        "SnapshotName": snapshot.name,
        "Description": snapshot.description,
        "RegionId": call.region_id,
        "Status": snapshot.status,
        "Progress": "100%" if done else f"{snapshot.progress}%",
        "RemainTime": _seconds_left(call, snapshot),
        "Available": done,
        "Message": snapshot.message,
        "Consistency": snapshot.consistency if done else "",
        "SnapshotType": snapshot.kind,
        "AutoSnapshotPolicyId": snapshot.policy_id or "",
        "SnapshotLinkId": service.link_id(snapshot.disk_id),
        "SnapshotSN": ids.body(snapshot.id),
        "SourceDiskId": snapshot.disk_id,
        "SourceDiskSize": str(snapshot.size_gib),
        "SourceDiskType": snapshot.disk_kind,
        "SourceStorageType": "disk",
        "SourceSnapshotId": "",
        "SourceRegionId": "",
        "Usage": usage,
        "Category": "standard",
        "InstantAccess": False,
        "Encrypted": False,
        "KMSKeyId": "",
        "ProductCode": "",
        "ResourceGroupId": "",
        "RetentionDays": kept_for,
        "ExpirationTime": iso_seconds(snapshot.expires_at) if snapshot.expires_at else "",
        "CreationTime": iso_seconds(snapshot.created_at),
        "LastModifiedTime": iso_seconds(snapshot.finished_at or snapshot.created_at),
        "Tags": ecs_tags(tags),
    }


def _seconds_left(call: Call, snapshot: Snapshot) -> int | None:
    """Nothing is left of what has ended; nothing is known of what has not begun."""
    if snapshot.status != snapshots.PROGRESSING:
        return 0
    if not snapshot.progress:
        return None
    gone = (call.clock.now() - snapshot.created_at).total_seconds()
    return round(gone * (100 - snapshot.progress) / snapshot.progress)
