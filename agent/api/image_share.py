"""Sharing images with other accounts (SPEC M6)."""

from __future__ import annotations

from typing import Any

from agent.api.caller import caller
from agent.api.common import refuse
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import NumberedPages
from agent.api.edge.params import RegionParams
from agent.api.edge.registry import ECS, action
from agent.core.clock import iso_seconds
from agent.services import image_share as service

ONE = "image/{image_id}"


class ModifyImageSharePermissionParams(RegionParams):
    image_id: str
    add_account: list[str] = []
    remove_account: list[str] = []
    # To everybody: not on a host whose public images are its owner's.
    is_public: bool = False
    launch_permission: str = ""


class DescribeImageSharePermissionParams(RegionParams, NumberedPages):
    image_id: str


@action(
    "ModifyImageSharePermission",
    version=ECS,
    params=ModifyImageSharePermissionParams,
    resource=ONE,
    access="write",
    dry_run=True,
)
def modify_image_share_permission(call: Call, p: ModifyImageSharePermissionParams) -> dict[str, Any]:
    hidden = p.launch_permission.upper() in ("", "HIDDEN")
    refuse(call.action, IsPublic=p.is_public, LaunchPermission="" if hidden else p.launch_permission)
    service.change(caller(call), p.image_id, add=p.add_account, remove=p.remove_account)
    return {}


@action(
    "DescribeImageSharePermission",
    version=ECS,
    params=DescribeImageSharePermissionParams,
    resource=ONE,
    access="read",
)
def describe_image_share_permission(call: Call, p: DescribeImageSharePermissionParams) -> dict[str, Any]:
    page = paging.page(call.session, service.find_shares(caller(call), p.image_id), p)
    accounts = [{"AliyunId": one.account_id, "SharedTime": iso_seconds(one.shared_at)} for one in page.items]
    return {
        "RegionId": call.region_id,
        "ImageId": p.image_id,
        "Accounts": {"Account": accounts},
        "ShareGroups": {"ShareGroup": []},
        **page.fields(),
    }
