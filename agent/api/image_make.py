"""Making, changing and deleting custom images (SPEC M2, M3, M11)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from agent.api.caller import caller
from agent.api.common import given_tags, refuse
from agent.api.edge.call import Call
from agent.api.edge.params import ErrorCode, Params, RegionParams, Tag, one_of
from agent.api.edge.registry import ECS, action
from agent.api.image_check import Strategy
from agent.core.errors import InvalidParameter
from agent.services import image_change, image_make
from agent.services.image_make import Mapping

ONE = "image/{image_id}"
BIOS = "BIOS"  # what every guest boots with

BootMode = Annotated[str, one_of(BIOS, ""), ErrorCode("InvalidBootMode.NotSupport")]


class DiskDeviceMappingParams(Params):
    snapshot_id: str = ""
    disk_type: Annotated[
        str, AfterValidator(str.lower), one_of("system", "data", ""), ErrorCode("InvalidDiskType.ValueNotSupported")
    ] = ""
    device: str = ""
    size: int | None = None


class CreateImageParams(RegionParams):
    instance_id: str = ""
    snapshot_id: str = ""
    disk_device_mapping: list[DiskDeviceMappingParams] = []
    image_name: str = ""
    description: str = ""
    image_family: str = ""
    image_version: str = ""
    platform: str = ""
    architecture: Annotated[Literal["i386", "x86_64", ""], ErrorCode("InvalidArchitecture.ValueNotSupported")] = ""
    boot_mode: BootMode = ""
    detection_strategy: Strategy = ""
    tag: list[Tag] = []


class ModifyImageAttributeParams(RegionParams):
    image_id: str
    image_name: str = ""
    description: str | None = None
    image_family: str | None = None
    status: Annotated[Literal["Available", "Deprecated"] | None, ErrorCode("InvalidStatus.NotSupport")] = None
    boot_mode: BootMode = ""
    license_type: str = ""


class DeleteImageParams(RegionParams):
    image_id: str
    force: bool = False


@action(
    "CreateImage",
    version=ECS,
    params=CreateImageParams,
    resource=("image/*", "instance/{instance_id}", "snapshot/{snapshot_id}"),
    access="write",
    idempotent=True,
    dry_run=True,
    ignored=("Features", "ResourceGroupId", "SecureBootOptions"),
)
def create_image(call: Call, p: CreateImageParams) -> dict[str, Any]:
    if len(p.disk_device_mapping) > 17:
        raise InvalidParameter("DiskDeviceMapping", len(p.disk_device_mapping), "an image has at most 17 disks.")
    request = image_make.Request(
        instance_id=p.instance_id,
        snapshot_id=p.snapshot_id,
        mappings=[Mapping(one.snapshot_id, one.disk_type, one.device, one.size) for one in p.disk_device_mapping],
        name=p.image_name,
        description=p.description,
        family=p.image_family,
        version=p.image_version,
        platform=p.platform,
        architecture=p.architecture,
        check=bool(p.detection_strategy),
        tags=given_tags(p.tag),
    )
    made = image_make.create(caller(call), request)
    call.after_commit(call.services.runner.wake)
    return {"ImageId": made.id}


@action(
    "ModifyImageAttribute",
    version=ECS,
    params=ModifyImageAttributeParams,
    resource=ONE,
    access="write",
    dry_run=True,
    ignored=("Features",),
)
def modify_image_attribute(call: Call, p: ModifyImageAttributeParams) -> dict[str, Any]:
    refuse(call.action, LicenseType=p.license_type if p.license_type.lower() != "auto" else "")
    changes = image_change.Changes(p.image_name or None, p.description, p.image_family, p.status)
    image_change.modify(caller(call), p.image_id, changes)
    return {}


@action("DeleteImage", version=ECS, params=DeleteImageParams, resource=ONE, access="write", dry_run=True)
def delete_image(call: Call, p: DeleteImageParams) -> dict[str, Any]:
    image_change.delete(caller(call), p.image_id, force=p.force)
    call.after_commit(call.services.runner.wake)
    return {}
