"""VSwitch actions (SPEC N1, N2), of the ECS version and of the VPC version."""

from __future__ import annotations

from typing import Any

from agent.api.caller import caller
from agent.api.common import effective_when_answered, given_tags, in_both_versions, refuse, tag_filters, vpc_tags
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import NumberedPagesOf50
from agent.api.edge.params import CommaList, RegionParams, Tag
from agent.core.clock import iso_seconds
from agent.services import tag
from agent.services import vswitch as service
from agent.store.schema import VSwitch

_IGNORED = ("ResourceGroupId", "VSwitchOwnerId", "Ipv6CidrMask", "VpcIpv6CidrBlock")


class CreateVSwitchParams(RegionParams):
    vpc_id: str
    zone_id: str
    cidr_block: str
    v_switch_name: str = ""
    description: str = ""
    cidr_mask: str = ""
    ipv6_cidr_block: str = ""
    nat: bool = True  # ours
    tag: list[Tag] = []


class DescribeVSwitchesParams(RegionParams, NumberedPagesOf50):
    v_switch_id: CommaList = []
    vpc_id: str = ""
    zone_id: str = ""
    v_switch_name: str = ""
    route_table_id: str = ""
    is_default: bool | None = None
    tag: list[Tag] = []


class VSwitchParams(RegionParams):
    v_switch_id: str


class ModifyVSwitchParams(VSwitchParams):
    v_switch_name: str | None = None
    description: str | None = None
    nat: bool | None = None  # ours
    ipv6_cidr_block: str = ""


@in_both_versions(
    "CreateVSwitch",
    params=CreateVSwitchParams,
    resource=("vpc/{vpc_id}", "vswitch/*"),
    access="write",
    idempotent=True,
    dry_run=True,
    ignored=_IGNORED,
)
def create_v_switch(call: Call, p: CreateVSwitchParams) -> dict[str, Any]:
    refuse("CreateVSwitch", CidrMask=p.cidr_mask, Ipv6CidrBlock=p.ipv6_cidr_block)
    vswitch = service.create_vswitch(
        caller(call),
        vpc_id=p.vpc_id,
        zone_id=p.zone_id,
        cidr=p.cidr_block,
        name=p.v_switch_name,
        description=p.description,
        nat=p.nat,
        tags=given_tags(p.tag),
    )
    call.after_commit(call.services.runner.wake)
    return {"VSwitchId": vswitch.id}


@in_both_versions(
    "DescribeVSwitches",
    params=DescribeVSwitchesParams,
    resource="vswitch/{v_switch_id}",
    access="read",
    ignored=(*_IGNORED, "EnableIpv6"),
)
def describe_v_switches(call: Call, p: DescribeVSwitchesParams) -> dict[str, Any]:
    found = service.find_vswitches(
        caller(call),
        ids=p.v_switch_id,
        vpc_id=p.vpc_id,
        zone_id=p.zone_id,
        name=p.v_switch_name,
        route_table_id=p.route_table_id,
        is_default=p.is_default,
        tags=tag_filters(p.tag),
    )
    page = paging.page(call.session, found, p)
    return {"VSwitches": {"VSwitch": _shown(call, page.items)}, **page.fields()}


@in_both_versions("DescribeVSwitchAttributes", params=VSwitchParams, resource="vswitch/{v_switch_id}", access="read")
def describe_v_switch_attributes(call: Call, p: VSwitchParams) -> dict[str, Any]:
    [shown] = _shown(call, [service.get_vswitch(caller(call), p.v_switch_id, code=service.NOT_FOUND)])
    return shown


@in_both_versions(
    "ModifyVSwitchAttribute",
    params=ModifyVSwitchParams,
    resource="vswitch/{v_switch_id}",
    access="write",
    ignored=(*_IGNORED, "EnableIPv6"),
)
def modify_v_switch_attribute(call: Call, p: ModifyVSwitchParams) -> dict[str, Any]:
    refuse("ModifyVSwitchAttribute", Ipv6CidrBlock=p.ipv6_cidr_block)
    job = service.modify_vswitch(
        caller(call), p.v_switch_id, name=p.v_switch_name, description=p.description, nat=p.nat
    )
    if job:
        effective_when_answered(call, job)
    return {}


@in_both_versions("DeleteVSwitch", params=VSwitchParams, resource="vswitch/{v_switch_id}", access="write", dry_run=True)
def delete_v_switch(call: Call, p: VSwitchParams) -> dict[str, Any]:
    service.delete_vswitch(caller(call), p.v_switch_id)
    call.after_commit(call.services.runner.wake)
    return {}


def _shown(call: Call, vswitches: Any) -> list[dict[str, Any]]:
    free = service.available_addresses(call.session, vswitches)
    tags = tag.tags_of(call.session, "vswitch", [vswitch.id for vswitch in vswitches])

    def shown(vswitch: VSwitch) -> dict[str, Any]:
        return {
            "VSwitchId": vswitch.id,
            "VSwitchName": vswitch.name,
            "Description": vswitch.description,
            "VpcId": vswitch.vpc_id,
            "ZoneId": vswitch.zone_id,
            "CidrBlock": vswitch.cidr,
            "Status": "Available",
            "AvailableIpAddressCount": free[vswitch.id],
            "IsDefault": vswitch.is_default,
            "Nat": vswitch.nat,
            "RouteTable": {"RouteTableId": vswitch.vpc.route_table_id, "RouteTableType": "System"},
            "EnabledIpv6": False,
            "Ipv6CidrBlock": "",
            "NetworkAclId": "",
            "OwnerId": int(vswitch.account_id),
            "ShareType": "",
            "ResourceGroupId": "",
            "CreationTime": iso_seconds(vswitch.created_at),
            "Tags": vpc_tags(tags[vswitch.id]),
        }

    return [shown(vswitch) for vswitch in vswitches]
