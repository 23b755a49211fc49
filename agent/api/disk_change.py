"""Disk actions that change something (SPEC D1-D7, D9)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agent.api.caller import caller
from agent.api.common import given_tags, refuse
from agent.api.edge.call import Call
from agent.api.edge.params import ErrorCode, Params, RegionParams, Tag
from agent.api.edge.registry import ECS, HOST, action
from agent.core.errors import InvalidParameter
from agent.services import disk_attach, disk_change, disk_content, disk_create, disk_plan
from agent.store.schema import Disk

ONE = "disk/{disk_id}"
# Public parameters that have no meaning on a host of one's own: accepted, without effect.
_IGNORED = (
    "AdvancedFeatures", "Arn", "EncryptAlgorithm", "PerformanceLevel", "ResourceGroupId", "StorageClusterId",
    "StorageSetId", "StorageSetPartitionNumber",
)  # fmt: skip
RESIZE_TYPES = ("offline", "online")


class DiskParams(RegionParams):
    disk_id: str


# ------------------------------------------------------------------------------ creating


class CreateDiskParams(RegionParams):
    zone_id: str = ""
    instance_id: str = ""
    disk_category: str = disk_plan.CLOUD
    size: int | None = None
    snapshot_id: str = ""
    disk_name: str = ""
    description: str = ""
    tag: list[Tag] = []
    encrypted: bool = False
    multi_attach: str = ""
    bursting_enabled: bool = False
    provisioned_iops: int = 0
    kms_key_id: str = ""


class CreateDisksParams(CreateDiskParams):
    amount: Annotated[int, Field(ge=1, le=50), ErrorCode("InvalidAmount.NotSupported")] = 1


def _named(call: Call, p: CreateDiskParams) -> list[str]:
    snapshot = [f"snapshot/{p.snapshot_id}"] if p.snapshot_id else []
    instance = [f"instance/{p.instance_id}"] if p.instance_id else []
    return ["disk/*", *snapshot, *instance]


@action(
    "CreateDisk",
    version=ECS,
    params=CreateDiskParams,
    resource=_named,
    access="write",
    idempotent=True,
    ignored=_IGNORED,
)
def create_disk(call: Call, p: CreateDiskParams) -> dict[str, Any]:
    [made] = _create(call, p, 1)
    return {"DiskId": made.id, "OrderId": ""}


@action(
    "CreateDisks",
    version=HOST,
    params=CreateDisksParams,
    resource=_named,
    access="write",
    ram="ecs:CreateDisk",
    idempotent=True,
    ignored=_IGNORED,
)
def create_disks(call: Call, p: CreateDisksParams) -> dict[str, Any]:
    """What the public API lacks: several at once, all or none (SPEC D1)."""
    return {"DiskIds": {"DiskId": [made.id for made in _create(call, p, p.amount)]}}


def _create(call: Call, p: CreateDiskParams, amount: int) -> list[Disk]:
    shared = p.multi_attach if p.multi_attach.lower() == "enabled" else ""
    refuse("CreateDisk", Encrypted=p.encrypted, KMSKeyId=p.kms_key_id, MultiAttach=shared)
    refuse("CreateDisk", BurstingEnabled=p.bursting_enabled, ProvisionedIops=p.provisioned_iops)
    wanted = disk_plan.Wanted(
        category=p.disk_category,
        size_gib=p.size,
        snapshot_id=p.snapshot_id,
        name=p.disk_name,
        description=p.description,
    )
    request = disk_create.Request(wanted, p.zone_id, p.instance_id, tuple(given_tags(p.tag)), amount)
    made = disk_create.create(caller(call), request)
    call.after_commit(call.services.runner.wake)
    return made


# ------------------------------------------------------------------------------ attaching and detaching


class AttachDiskParams(DiskParams):
    instance_id: str
    device: str = ""
    delete_with_instance: bool | None = None
    bootable: bool = False
    password: str = ""
    key_pair_name: str = ""


class DetachDiskParams(DiskParams):
    instance_id: str


@action(
    "AttachDisk",
    version=ECS,
    params=AttachDiskParams,
    resource=(ONE, "instance/{instance_id}"),
    access="write",
    ignored=("Force",),
)
def attach_disk(call: Call, p: AttachDiskParams) -> dict[str, Any]:
    """As system disk, which the public API knows, none can be attached (SPEC D2)."""
    refuse("AttachDisk", Bootable=p.bootable, KeyPairName=p.key_pair_name, Password=p.password and "***")
    disk_attach.attach(
        caller(call), p.disk_id, p.instance_id, device=p.device, delete_with_instance=p.delete_with_instance
    )
    call.after_commit(call.services.runner.wake)
    return {}


@action(
    "DetachDisk",
    version=ECS,
    params=DetachDiskParams,
    resource=(ONE, "instance/{instance_id}"),
    access="write",
    ignored=("DeleteWithInstance",),
)
def detach_disk(call: Call, p: DetachDiskParams) -> dict[str, Any]:
    disk_attach.detach(caller(call), p.disk_id, p.instance_id)
    call.after_commit(call.services.runner.wake)
    return {}


# ------------------------------------------------------------------------------ changing and deleting


class ModifyDiskParams(RegionParams):
    disk_id: str = ""
    disk_ids: list[str] = []
    disk_name: str | None = None
    description: str | None = None
    delete_with_instance: bool | None = None
    delete_auto_snapshot: bool | None = None
    enable_auto_snapshot: bool | None = None
    bursting_enabled: bool = False


def _modified(call: Call, p: ModifyDiskParams) -> list[str]:
    return [f"disk/{disk_id}" for disk_id in _ids(p)] or ["disk/*"]


def _ids(p: ModifyDiskParams) -> list[str]:
    return [p.disk_id, *p.disk_ids] if p.disk_id else p.disk_ids


@action("ModifyDiskAttribute", version=ECS, params=ModifyDiskParams, resource=_modified, access="write")
def modify_disk_attribute(call: Call, p: ModifyDiskParams) -> dict[str, Any]:
    refuse("ModifyDiskAttribute", BurstingEnabled=p.bursting_enabled)
    if p.disk_id and p.disk_ids:
        raise InvalidParameter("DiskIds", ", ".join(p.disk_ids), "give DiskId or DiskIds, not both.")
    changes = disk_change.Changes(
        name=p.disk_name,
        description=p.description,
        delete_with_instance=p.delete_with_instance,
        delete_auto_snapshot=p.delete_auto_snapshot,
        enable_auto_snapshot=p.enable_auto_snapshot,
    )
    disk_change.modify(caller(call), _ids(p), changes)
    return {}


@action("DeleteDisk", version=ECS, params=DiskParams, resource=ONE, access="write")
def delete_disk(call: Call, p: DiskParams) -> dict[str, Any]:
    disk_change.delete(caller(call), p.disk_id)
    call.after_commit(call.services.runner.wake)
    return {}


class ResizeDiskParams(DiskParams):
    new_size: int
    type: str = RESIZE_TYPES[0]


@action("ResizeDisk", version=ECS, params=ResizeDiskParams, resource=ONE, access="write", idempotent=True)
def resize_disk(call: Call, p: ResizeDiskParams) -> dict[str, Any]:
    """A running guest sees it at once with either Type: `offline` only promises less."""
    if p.type not in RESIZE_TYPES:
        raise InvalidParameter("Type", p.type, f"it is one of {', '.join(RESIZE_TYPES)}.")
    disk_change.resize(caller(call), p.disk_id, p.new_size)
    call.after_commit(call.services.runner.wake)
    return {"OrderId": ""}


# ------------------------------------------------------------------------------ other content


class ReInitDiskParams(DiskParams):
    password: str = ""
    key_pair_name: str = ""
    auto_start_instance: bool = False


class ResetDiskParams(DiskParams):
    snapshot_id: str
    auto_start_instance: bool = False


class DiskAndSnapshot(Params):
    disk_id: str
    snapshot_id: str


class ResetDisksParams(RegionParams):
    disk: list[DiskAndSnapshot] = []


@action(
    "ReInitDisk",
    version=ECS,
    params=ReInitDiskParams,
    resource=ONE,
    access="write",
    ignored=("SecurityEnhancementStrategy",),
)
def re_init_disk(call: Call, p: ReInitDiskParams) -> dict[str, Any]:
    disk_content.reinit(
        caller(call), p.disk_id, password=p.password, key_pair_name=p.key_pair_name, start=p.auto_start_instance
    )
    call.after_commit(call.services.runner.wake)
    return {}


@action("ResetDisk", version=ECS, params=ResetDiskParams, resource=ONE, access="write", dry_run=True)
def reset_disk(call: Call, p: ResetDiskParams) -> dict[str, Any]:
    """AutoStartInstance is ours: the public ReInitDisk has it."""
    disk_content.roll_back(caller(call), p.disk_id, p.snapshot_id, start=p.auto_start_instance)
    call.after_commit(call.services.runner.wake)
    return {}


def _rolled_back(call: Call, p: ResetDisksParams) -> list[str]:
    return [f"disk/{one.disk_id}" for one in p.disk] or ["disk/*"]


@action("ResetDisks", version=ECS, params=ResetDisksParams, resource=_rolled_back, access="write", dry_run=True)
def reset_disks(call: Call, p: ResetDisksParams) -> dict[str, Any]:
    """All of them or none."""
    disk_content.roll_back_all(caller(call), [(one.disk_id, one.snapshot_id) for one in p.disk])
    call.after_commit(call.services.runner.wake)
    done = [
        {
            "ErrorCode": "",
            "ErrorMsg": "",
            "OperationStatus": "Success",
            "RelatedItemSet": {"RelatedItem": [{"Name": "DiskId", "Value": one.disk_id}]},
        }
        for one in p.disk
    ]
    return {"OperationProgressSet": {"OperationProgress": done}}
