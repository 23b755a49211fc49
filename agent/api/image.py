"""Image actions (SPEC M1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from sqlalchemy import select

from agent.api.caller import caller
from agent.api.common import ecs_tags, tag_filters
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import NumberedPages
from agent.api.edge.params import CommaList, ErrorCode, RegionParams, Tag
from agent.api.edge.registry import ECS, action
from agent.core.clock import iso_seconds
from agent.core.errors import InvalidParameter
from agent.jobs.journal import UNFINISHED
from agent.services import image as service
from agent.services import tag
from agent.store.schema import Image, Instance, Job

_OWNERS = Literal["system", "self", "others", "marketplace"]
_IGNORED = (
    "ActionType",
    "ResourceGroupId",
    "ShowExpired",
    "InstanceType",
    "ImageOwnerId",
    "IsSupportCloudinit",
    "IsSupportIoOptimized",
)


class DescribeImagesParams(RegionParams, NumberedPages):
    image_id: CommaList = []
    image_name: str = ""
    image_family: str = ""
    image_owner_alias: Annotated[_OWNERS | None, ErrorCode("InvalidImageOwnerAlias.ValueNotSupported")] = None
    is_public: bool | None = None
    status: CommaList = []
    os_type: Annotated[Literal["linux", "windows"] | None, ErrorCode("InvalidOSType.ValueNotSupported")] = None
    architecture: Annotated[
        Literal["i386", "x86_64", "arm64"] | None, ErrorCode("InvalidArchitecture.ValueNotSupported")
    ] = None
    usage: Annotated[Literal["instance", "none"] | None, ErrorCode("InvalidUsage")] = None
    snapshot_id: str = ""
    tag: list[Tag] = []


@action(
    "DescribeImages",
    version=ECS,
    params=DescribeImagesParams,
    resource="image/{image_id}",
    access="read",
    ignored=_IGNORED,
)
def describe_images(call: Call, p: DescribeImagesParams) -> dict[str, Any]:
    """Without Status, the available ones, as the public API has it."""
    for status in p.status:
        if status not in service.STATUSES:
            why = f"it must be one of {', '.join(service.STATUSES)}."
            raise InvalidParameter("Status", status, why, code="InvalidStatus.ValueNotSupported")
    wanted = service.ImageFilter(
        ids=p.image_id,
        name=p.image_name,
        owner=p.image_owner_alias,
        statuses=p.status or (service.AVAILABLE,),
        os_type=p.os_type,
        architecture=p.architecture,
        tags=tag_filters(p.tag),
    )
    found = service.find_images(caller(call), wanted)
    if p.is_public is not None:
        found = found.where(Image.account_id.is_(None) if p.is_public else Image.account_id.is_not(None))
    if p.usage is not None:
        used = Image.id.in_(_used(call))
        found = found.where(used if p.usage == "instance" else ~used)
    if p.snapshot_id or p.image_family:
        found = found.where(Image.id.is_(None))  # no image has either
    page = paging.page(call.session, found, p)
    return {"RegionId": call.region_id, "Images": {"Image": _shown(call, page.items)}, **page.fields()}


def _used(call: Call) -> Any:
    return select(Instance.image_id).where(Instance.account_id == call.account_id, ~Instance.releasing)


def _shown(call: Call, images: Sequence[Image]) -> list[dict[str, Any]]:
    tags = tag.tags_of(call.session, "image", [image.id for image in images])
    used = set(call.session.scalars(_used(call)))

    def shown(image: Image) -> dict[str, Any]:
        usable = image.status == service.AVAILABLE and image.system is not None
        return {
            "ImageId": image.id,
            "ImageName": image.name,
            "ImageFamily": "",
            "ImageVersion": "",
            "ImageOwnerAlias": "system" if image.account_id is None else "self",
            "ImageOwnerId": int(image.account_id or 0),
            "Description": image.description,
            "Status": image.status,
            "Progress": "100%" if usable else f"{_progress(call, image)}%",
            "Usable": usable,
            "Usage": "instance" if image.id in used else "none",
            "Size": image.size_gib,
            "Architecture": image.architecture,
            "BootMode": "BIOS",
            "OSType": image.os_type,
            "OSName": image.os_name,
            "OSNameEn": image.os_name,
            "Platform": image.platform,
            "IsPublic": image.account_id is None,
            "IsCopied": False,
            "IsSelfShared": "",
            "IsSubscribed": False,
            "IsSupportCloudinit": image.os_type == "linux",
            "IsSupportIoOptimized": True,
            "LoginAsNonRootSupported": False,
            "LicenseType": "",
            "SupplierName": "",
            "ProductCode": "",
            "ResourceGroupId": "",
            "Features": {"NvmeSupport": "unsupported", "ImdsSupport": "v1"},
            "DiskDeviceMappings": {"DiskDeviceMapping": []},
            "CreationTime": iso_seconds(image.created_at),
            "Tags": ecs_tags(tags[image.id]),
        }

    return [shown(image) for image in images]


def _progress(call: Call, image: Image) -> int:
    """Percent of the job that makes the image."""
    jobs = select(Job.progress).where(Job.resource_id == image.id, Job.state.in_(UNFINISHED))
    return call.session.scalar(jobs.order_by(Job.sequence).limit(1)) or 0
