"""Images on their way in and out: ImportImage, ExportImage (SPEC M7, M9), and our own for files of this host."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from agent.api.caller import caller
from agent.api.common import given_tags, refuse
from agent.api.edge.call import Call
from agent.api.edge.params import ErrorCode, Params, RegionParams, Tag, one_of
from agent.api.edge.registry import ECS, HOST, action
from agent.api.image_check import Strategy
from agent.services import image_export as exporting
from agent.services import image_import as importing

_IGNORED = ("RoleName", "LicenseType", "ResourceGroupId", "StorageLocationArn", "Features")

OsType = Annotated[str, AfterValidator(str.lower), one_of("linux", "windows", ""), ErrorCode("InvalidOSType.Malformed")]


class ImportedDisk(Params):
    """DiskImSize is the older name of DiskImageSize."""

    device: str = ""
    disk_im_size: int | None = None
    disk_image_size: int | None = None
    format: str = ""
    oss_bucket: Annotated[str, Field(alias="OSSBucket")] = ""
    oss_object: Annotated[str, Field(alias="OSSObject")] = ""


class ImportParams(RegionParams):
    """Virtio and Setup are ours: what the image's system can do is not in its platform's name."""

    image_name: str = ""
    description: str = ""
    os_type: Annotated[OsType, Field(alias="OSType")] = ""
    platform: str = ""
    architecture: str = "x86_64"
    boot_mode: Annotated[Literal["BIOS", "UEFI", "UEFI-Preferred"], ErrorCode("InvalidBootMode.Malformed")] = "BIOS"
    virtio: bool | None = None
    setup: str | None = None
    detection_strategy: Strategy = ""
    tag: list[Tag] = []


class ImportImageParams(ImportParams):
    disk_device_mapping: list[ImportedDisk] = []


class ImportedFile(Params):
    source: str
    format: str = ""
    disk_image_size: int | None = None


class ImportImageFileParams(ImportParams):
    disk: list[ImportedFile] = []


@action(
    "ImportImage",
    version=ECS,
    params=ImportImageParams,
    resource="image/*",
    access="write",
    idempotent=True,
    dry_run=True,
    ignored=_IGNORED,
)
def import_image(call: Call, p: ImportImageParams) -> dict[str, Any]:
    return _begin(call, p, [_wanted(disk) for disk in p.disk_device_mapping])


def _wanted(disk: ImportedDisk) -> importing.Wanted:
    return importing.Wanted(
        source=importing.Source(bucket=disk.oss_bucket, object=disk.oss_object),
        format=disk.format,
        size_gib=disk.disk_image_size or disk.disk_im_size,
        device=disk.device,
    )


@action(
    "ImportImageFile",
    version=HOST,
    params=ImportImageFileParams,
    resource="image/*",
    access="write",
    ram="ecs:ImportImage",
    ignored=_IGNORED,
)
def import_image_file(call: Call, p: ImportImageFileParams) -> dict[str, Any]:
    """The same of files that the caller opened: Disk.N.Source is a handle of the file door. They must stay open."""
    disks = [
        importing.Wanted(importing.Source(handle=disk.source), disk.format, disk.disk_image_size) for disk in p.disk
    ]
    return _begin(call, p, disks)


def _begin(call: Call, p: ImportParams, disks: list[importing.Wanted]) -> dict[str, Any]:
    if p.boot_mode == "UEFI":
        refuse(call.action, BootMode=p.boot_mode)
    request = importing.Request(
        disks=disks,
        name=p.image_name,
        description=p.description,
        os_type=p.os_type,
        platform=p.platform,
        architecture=p.architecture,
        virtio=p.virtio,
        setup=p.setup,
        check=bool(p.detection_strategy),
        tags=given_tags(p.tag),
    )
    image, job = importing.begin(caller(call), request)
    call.after_commit(call.services.runner.wake)
    return {"ImageId": image.id, "TaskId": job.id, "RegionId": call.region_id}


class ExportImageParams(RegionParams):
    image_id: str
    oss_bucket: Annotated[str, Field(alias="OSSBucket")]
    oss_prefix: Annotated[str, Field(alias="OSSPrefix")] = ""
    image_format: str = ""


class ExportImageFileParams(RegionParams):
    image_id: str
    image_format: str = ""


@action(
    "ExportImage",
    version=ECS,
    params=ExportImageParams,
    resource="image/{image_id}",
    access="write",
    dry_run=True,
    ignored=("RoleName",),
)
def export_image(call: Call, p: ExportImageParams) -> dict[str, Any]:
    job = exporting.begin(caller(call), p.image_id, p.oss_bucket, prefix=p.oss_prefix, file_format=p.image_format)
    call.after_commit(call.services.runner.wake)
    return {"TaskId": job.id, "RegionId": call.region_id}


@action(
    "ExportImageFile",
    version=HOST,
    params=ExportImageFileParams,
    resource="image/{image_id}",
    access="write",
    ram="ecs:ExportImage",
)
def export_image_file(call: Call, p: ExportImageFileParams) -> dict[str, Any]:
    """The same to the account's hidden bucket, for whoever fetches the file at once, and then deletes it there."""
    job = exporting.begin(caller(call), p.image_id, "", file_format=p.image_format)
    call.after_commit(call.services.runner.wake)
    return {"TaskId": job.id, "Bucket": job.data["bucket"], "Object": job.data["object"]}
