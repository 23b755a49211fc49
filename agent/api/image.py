"""Listing images (SPEC M1, M6)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from agent.api import image_view as view
from agent.api.caller import caller
from agent.api.common import creation_times, tag_filters
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import NumberedPages
from agent.api.edge.params import CommaList, ErrorCode, Filter, RegionParams, Tag
from agent.api.edge.registry import ECS, action
from agent.core.errors import InvalidParameter
from agent.services import image as service
from agent.services import instance_type

_OWNERS = Literal["system", "self", "others", "marketplace"]


class DescribeImagesParams(RegionParams, NumberedPages):
    image_id: CommaList = []
    image_name: str = ""
    image_family: str = ""
    image_owner_alias: Annotated[_OWNERS | None, ErrorCode("InvalidImageOwnerAlias.ValueNotSupported")] = None
    image_owner_id: str = ""
    is_public: bool | None = None
    is_support_cloudinit: bool | None = None
    status: CommaList = []
    usable: bool | None = None
    os_type: Annotated[Literal["linux", "windows"] | None, ErrorCode("InvalidOSType.ValueNotSupported")] = None
    architecture: Annotated[
        Literal["i386", "x86_64", "arm64"] | None, ErrorCode("InvalidArchitecture.ValueNotSupported")
    ] = None
    usage: Annotated[Literal["instance", "none"] | None, ErrorCode("InvalidUsage")] = None
    action_type: Annotated[Literal["CreateEcs", "ChangeOS", ""], ErrorCode("InvalidActionType")] = ""
    instance_type: str = ""
    snapshot_id: str = ""
    filter: list[Filter] = []
    tag: list[Tag] = []


class DescribeImageFromFamilyParams(RegionParams):
    image_family: str


class DescribeImageSupportInstanceTypesParams(RegionParams):
    image_id: str
    action_type: str = ""
    filter: list[Filter] = []


@action(
    "DescribeImages",
    version=ECS,
    params=DescribeImagesParams,
    resource="image/{image_id}",
    access="read",
    dry_run=True,
    ignored=("IsSupportIoOptimized", "ResourceGroupId", "ShowExpired"),
)
def describe_images(call: Call, p: DescribeImagesParams) -> dict[str, Any]:
    """Without Status, the available ones, as the public API has it."""
    page = paging.page(call.session, service.find_images(caller(call), _filter(call, p)), p)
    return {"RegionId": call.region_id, "Images": {"Image": view.listed(call, page.items)}, **page.fields()}


def _filter(call: Call, p: DescribeImagesParams) -> service.ImageFilter:
    for status in p.status:
        if status not in service.STATUSES:
            why = f"it must be one of {', '.join(service.STATUSES)}."
            raise InvalidParameter("Status", status, why, code="InvalidStatus.ValueNotSupported")
    times = creation_times(p.filter)
    return service.ImageFilter(
        ids=p.image_id,
        name=p.image_name,
        family=p.image_family,
        owner=p.image_owner_alias,
        owner_id=p.image_owner_id,
        public=p.is_public,
        statuses=p.status or (service.AVAILABLE,),
        usable=p.usable,
        os_type=p.os_type,
        architecture=p.architecture,
        for_type=instance_type.get_type(caller(call), p.instance_type) if p.instance_type else None,
        for_replacing=p.action_type == "ChangeOS",
        seeded=p.is_support_cloudinit,
        snapshot_id=p.snapshot_id,
        used=None if p.usage is None else p.usage == "instance",
        created_from=times.get("CreationStartTime"),
        created_until=times.get("CreationEndTime"),
        tags=tag_filters(p.tag),
    )


@action(
    "DescribeImageFromFamily",
    version=ECS,
    params=DescribeImageFromFamilyParams,
    resource="image/*",
    access="read",
)
def describe_image_from_family(call: Call, p: DescribeImageFromFamilyParams) -> dict[str, Any]:
    """The newest available image of the family; nothing when there is none."""
    found = service.family_image(caller(call), p.image_family)
    return {"Image": view.listed(call, [found])[0]} if found else {}


@action(
    "DescribeImageSupportInstanceTypes",
    version=ECS,
    params=DescribeImageSupportInstanceTypesParams,
    resource="image/{image_id}",
    access="read",
    ignored=("ActionType", "Filter"),
)
def describe_image_support_instance_types(call: Call, p: DescribeImageSupportInstanceTypesParams) -> dict[str, Any]:
    image = service.get_image(caller(call), p.image_id)
    types = [
        {
            "InstanceTypeId": one.id,
            "InstanceTypeFamily": one.family,
            "CpuCoreCount": one.vcpus,
            "MemorySize": one.memory_mib / 1024,
        }
        for one in instance_type.find_types(caller(call), instance_type.TypeFilter())
        if instance_type.runs(one, image)
    ]
    return {"RegionId": call.region_id, "ImageId": image.id, "InstanceTypes": {"InstanceType": types}}
