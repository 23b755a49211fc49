"""Disks: what there is (SPEC D12)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from agent.api.caller import caller
from agent.api.common import ecs_tags, tag_filters
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import Paged
from agent.api.edge.params import ErrorCode, JsonList, RegionParams, Tag
from agent.api.edge.registry import ECS, action
from agent.core import disk_categories, ids
from agent.core.clock import iso_seconds
from agent.services import disk as service
from agent.services import tag
from agent.store.schema import Disk

_IGNORED = ("AdditionalAttributes", "DryRun", "EnableShared", "Filter", "LockReason", "ResourceGroupId")


class DescribeDisksParams(RegionParams, Paged):
    disk_ids: JsonList = []
    instance_id: str = ""
    disk_name: str = ""
    disk_type: Annotated[Literal["all", "system", "data"], ErrorCode("InvalidDiskType.ValueNotSupported")] = "all"
    category: str = "all"
    status: str = "All"
    zone_id: str = ""
    portable: bool | None = None
    delete_with_instance: bool | None = None
    delete_auto_snapshot: bool | None = None
    enable_auto_snapshot: bool | None = None
    enable_automated_snapshot_policy: bool | None = None
    disk_charge_type: str = ""
    performance_level: str = ""
    encrypted: bool = False
    multi_attach: str = ""
    snapshot_id: str = ""
    auto_snapshot_policy_id: str = ""
    kms_key_id: str = ""
    tag: list[Tag] = []


@action(
    "DescribeDisks",
    version=ECS,
    params=DescribeDisksParams,
    resource="disk/{disk_ids}",
    access="read",
    ignored=_IGNORED,
)
def describe_disks(call: Call, p: DescribeDisksParams) -> dict[str, Any]:
    wanted = service.DiskFilter(
        ids=p.disk_ids,
        instance_id=p.instance_id,
        name=p.disk_name,
        kind=None if p.disk_type == "all" else p.disk_type,
        category=None if p.category.lower() == "all" else p.category,
        status=None if p.status.lower() == "all" else p.status,
        zone_id=p.zone_id,
        portable=p.portable,
        delete_with_instance=p.delete_with_instance,
        delete_auto_snapshot=p.delete_auto_snapshot,
        enable_auto_snapshot=p.enable_auto_snapshot,
        has_policy=p.enable_automated_snapshot_policy,
        snapshot_id=p.snapshot_id,
        policy_id=p.auto_snapshot_policy_id,
        tags=tag_filters(p.tag),
    )
    found = service.find_disks(caller(call), wanted)
    shared, prepaid = p.multi_attach.lower() == "enabled", p.disk_charge_type not in ("", "PostPaid")
    if p.encrypted or shared or prepaid or p.performance_level or p.kms_key_id:
        found = found.where(Disk.id.is_(None))  # no disk has any of these
    page = paging.page(call.session, found, p)
    tags = tag.tags_of(call.session, "disk", [disk.id for disk in page.items])
    return {"Disks": {"Disk": [_shown(call, disk, tags[disk.id]) for disk in page.items]}, **page.fields()}


def _shown(call: Call, disk: Disk, tags: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "DiskId": disk.id,
        "DiskName": disk.name,
        "Description": disk.description,
        "RegionId": call.region_id,
        "ZoneId": disk.zone_id,
        "Type": disk.kind,
        "Category": disk.category,
        "Size": disk.size_gib,
        "Status": disk.status,
        "SerialNumber": ids.body(disk.id),
        **_attachment(disk),
        **_performance(call, disk),
        "MultiAttach": "Disabled",
        "Portable": service.is_portable(disk),
        "DeleteWithInstance": disk.delete_with_instance,
        "DeleteAutoSnapshot": disk.delete_auto_snapshot,
        "EnableAutoSnapshot": disk.enable_auto_snapshot,
        "EnableAutomatedSnapshotPolicy": disk.auto_snapshot_policy_id is not None,
        "AutoSnapshotPolicyId": disk.auto_snapshot_policy_id or "",
        "ImageId": disk.image_id or "",
        "SourceSnapshotId": "" if disk.image_id else disk.source_snapshot_id or "",
        "SourceDiskId": "",
        "Encrypted": False,
        "KMSKeyId": "",
        "BurstingEnabled": False,
        "PerformanceLevel": "",
        "DiskChargeType": "PostPaid",
        "ExpiredTime": "2999-09-08T16:00Z",
        "ProductCode": "",
        "ResourceGroupId": "",
        "BdfId": "",
        "StorageSetId": "",
        "StorageClusterId": "",
        "OperationLocks": {"OperationLock": []},
        "CreationTime": iso_seconds(disk.created_at),
        "Tags": ecs_tags(tags),
    }


def _attachment(disk: Disk) -> dict[str, Any]:
    attached = iso_seconds(disk.attached_at) if disk.attached_at and disk.instance_id else ""
    attachment = {"InstanceId": disk.instance_id, "Device": disk.device or "", "AttachedTime": attached}
    attachments = [attachment] if disk.instance_id else []
    return {
        "InstanceId": disk.instance_id or "",
        "Device": disk.device or "",
        "AttachedTime": attached,
        "DetachedTime": iso_seconds(disk.detached_at) if disk.detached_at else "",
        "Attachments": {"Attachment": attachments},
        "MountInstances": {"MountInstance": attachments},
        "MountInstanceNum": len(attachments),
    }


def _performance(call: Call, disk: Disk) -> dict[str, Any]:
    """What a guest can get of it, reading and writing together; left out where there is no limit. MB/s as in public."""
    found = disk_categories.limits(disk.category, disk.size_gib, call.services.config.disk_limits)
    if found is None:
        return {}
    throughput = found.bytes_per_second // 2**20
    return {
        **dict.fromkeys(("IOPS", "IOPSRead", "IOPSWrite"), found.iops),
        **dict.fromkeys(("Throughput", "ThroughputRead", "ThroughputWrite"), throughput),
    }
