"""Tag actions (SPEC T1-T5): the newer TagResources family and the older AddTags family."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agent.api.caller import caller
from agent.api.common import given_tags, in_both_versions, tag_filters
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import NumberedPages, Paged
from agent.api.edge.params import Params, RegionParams, Tag
from agent.api.edge.registry import ECS, action
from agent.core.errors import MissingParameter
from agent.services import tag as service

# As DescribeTags counts them; what it names and is not here is never tagged.
_COUNTED = {"instance": "Instance", "disk": "Disk", "image": "Image", "securitygroup": "Securitygroup"}
_COUNTED |= {"keypair": "KeyPair", "snapshot": "Snapshot", "snapshotpolicy": "SnapshotPolicy"}
_OTHERS = ("Volume", "Eni", "Ddh", "LaunchTemplate", "ReservedInstance")
_PER_PAGE = 50


class TagResourcesParams(RegionParams):
    resource_type: str
    resource_id: list[str]
    tag: list[Tag] = []


class UntagResourcesParams(RegionParams):
    resource_type: str
    resource_id: list[str]
    tag_key: list[str] = []
    all: bool = False


class TagFilterParams(Params):
    tag_key: str
    tag_values: list[str] = []


class ListTagResourcesParams(RegionParams, Paged):
    resource_type: str
    resource_id: list[str] = []
    tag: list[Tag] = []
    tag_filter: list[TagFilterParams] = []
    max_results: Annotated[int, Field(ge=1, le=_PER_PAGE)] | None = _PER_PAGE


class OneResourceParams(RegionParams):
    resource_type: str
    resource_id: str
    tag: list[Tag] = []


class DescribeTagsParams(RegionParams, NumberedPages):
    resource_type: str | None = None
    resource_id: str | None = None
    tag: list[Tag] = []


def _tagged(call: Call, p: Any) -> list[str]:
    """The resources named, by the canonical name of their type: the versions write it differently."""
    given = [p.resource_id] if isinstance(p.resource_id, str) else p.resource_id
    return [f"{service.resource_type(p.resource_type)}/{resource_id}" for resource_id in given or ["*"]]


@in_both_versions("TagResources", params=TagResourcesParams, resource=_tagged, access="write")
def tag_resources(call: Call, p: TagResourcesParams) -> dict[str, Any]:
    service.tag_resources(caller(call), p.resource_type, p.resource_id, given_tags(p.tag))
    return {}


@in_both_versions("UntagResources", params=UntagResourcesParams, resource=_tagged, access="write")
def untag_resources(call: Call, p: UntagResourcesParams) -> dict[str, Any]:
    service.untag_resources(caller(call), p.resource_type, p.resource_id, p.tag_key, everything=p.all)
    return {}


@in_both_versions("ListTagResources", params=ListTagResourcesParams, resource=_tagged, access="read")
def list_tag_resources(call: Call, p: ListTagResourcesParams) -> dict[str, Any]:
    if not p.resource_id and not p.tag and not p.tag_filter:
        raise MissingParameter("ResourceId.1")
    none: list[str | None] = [None]
    filters: list[service.TagFilter] = tag_filters(p.tag)
    filters += [(one.tag_key, value) for one in p.tag_filter for value in one.tag_values or none]
    who = caller(call)
    page = paging.page(call.session, service.search(who, p.resource_type, p.resource_id, filters), p)
    names = service.public_ids(who, page.items)
    resources = [
        {
            "ResourceType": one.resource_type,
            "ResourceId": names.get(one.resource_id, one.resource_id),
            "TagKey": one.key,
            "TagValue": one.value,
        }
        for one in page.items
    ]
    return {"TagResources": {"TagResource": resources}, "NextToken": page.token}


@action("AddTags", version=ECS, params=OneResourceParams, resource=_tagged, access="write")
def add_tags(call: Call, p: OneResourceParams) -> dict[str, Any]:
    service.tag_resources(caller(call), p.resource_type, [p.resource_id], given_tags(p.tag))
    return {}


@action("RemoveTags", version=ECS, params=OneResourceParams, resource=_tagged, access="write")
def remove_tags(call: Call, p: OneResourceParams) -> dict[str, Any]:
    service.remove_tags(caller(call), p.resource_type, p.resource_id, tag_filters(p.tag))
    return {}


@action(
    "DescribeTags",
    version=ECS,
    params=DescribeTagsParams,
    resource="tag/*",
    access="read",
    ignored=("Category",),
)
def describe_tags(call: Call, p: DescribeTagsParams) -> dict[str, Any]:
    """Every key and value in use, and how many resources of each type carry it."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for key, value, kind, count in service.counts(caller(call), p.resource_type, p.resource_id, tag_filters(p.tag)):
        entry = found.setdefault((key.lower(), value), {"TagKey": key, "TagValue": value, "ResourceTypeCount": {}})
        if kind in _COUNTED:
            entry["ResourceTypeCount"][_COUNTED[kind]] = count
    for entry in found.values():
        zeroes = dict.fromkeys((*_COUNTED.values(), *_OTHERS), 0)
        entry["ResourceTypeCount"] = zeroes | entry["ResourceTypeCount"]
    page = paging.page_list(list(found.values()), p)
    return {"Tags": {"Tag": list(page.items)}, **page.fields()}


@action("DescribeResourceByTags", version=ECS, params=DescribeTagsParams, resource="tag/*", access="read")
def describe_resource_by_tags(call: Call, p: DescribeTagsParams) -> dict[str, Any]:
    """The resources that carry all the tags."""
    who = caller(call)
    carriers = call.session.scalars(service.search(who, p.resource_type, (), tag_filters(p.tag))).all()
    names = service.public_ids(who, carriers)
    unique = list(dict.fromkeys((one.resource_type, one.resource_id) for one in carriers))
    page = paging.page_list(unique, p)
    resources = [
        {"RegionId": call.region_id, "ResourceType": kind, "ResourceId": names.get(resource_id, resource_id)}
        for kind, resource_id in page.items
    ]
    return {"Resources": {"Resource": resources}, **page.fields()}
