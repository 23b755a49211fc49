"""VPC actions (SPEC N1), of the ECS version and of the VPC version."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from agent.api.caller import caller
from agent.api.common import given_tags, in_both_versions, refuse, tag_filters, vpc_tags
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import NumberedPagesOf50
from agent.api.edge.params import CommaList, RegionParams, Tag
from agent.core.clock import iso_seconds
from agent.services import tag
from agent.services import vpc as service
from agent.store.schema import SecurityGroup, Vpc

_IGNORED = ("ResourceGroupId", "EnableDnsHostname", "DhcpOptionsSetId", "VpcOwnerId", "Ipv6CidrMask", "Ipv6Isp")


class CreateVpcParams(RegionParams):
    cidr_block: str = ""
    vpc_name: str = ""
    description: str = ""
    user_cidr: str = ""
    enable_ipv6: bool = False
    ipv6_cidr_block: str = ""
    ipv4_cidr_mask: str = ""
    ipv4_ipam_pool_id: str = ""
    ipv6_ipam_pool_id: str = ""
    tag: list[Tag] = []


class DescribeVpcsParams(RegionParams, NumberedPagesOf50):
    vpc_id: CommaList = []
    vpc_name: str = ""
    is_default: bool | None = None
    enable_ipv6: bool = False
    tag: list[Tag] = []


class VpcParams(RegionParams):
    vpc_id: str


class ModifyVpcParams(VpcParams):
    vpc_name: str | None = None
    description: str | None = None
    cidr_block: str = ""
    user_cidr: str = ""
    enable_ipv6: bool = False
    ipv6_cidr_block: str = ""


@in_both_versions(
    "CreateVpc",
    params=CreateVpcParams,
    resource="vpc/*",
    access="write",
    idempotent=True,
    dry_run=True,
    ignored=_IGNORED,
)
def create_vpc(call: Call, p: CreateVpcParams) -> dict[str, Any]:
    refuse(
        "CreateVpc",
        UserCidr=p.user_cidr,
        EnableIpv6=p.enable_ipv6,
        Ipv6CidrBlock=p.ipv6_cidr_block,
        Ipv4CidrMask=p.ipv4_cidr_mask,
        Ipv4IpamPoolId=p.ipv4_ipam_pool_id,
        Ipv6IpamPoolId=p.ipv6_ipam_pool_id,
    )
    vpc = service.create_vpc(
        caller(call), cidr=p.cidr_block, name=p.vpc_name, description=p.description, tags=given_tags(p.tag)
    )
    call.after_commit(call.services.runner.wake)
    return {
        "VpcId": vpc.id,
        "VRouterId": vpc.router_id,
        "RouteTableId": vpc.route_table_id,
        "ResourceGroupId": "",
    }


@in_both_versions("DescribeVpcs", params=DescribeVpcsParams, resource="vpc/{vpc_id}", access="read", ignored=_IGNORED)
def describe_vpcs(call: Call, p: DescribeVpcsParams) -> dict[str, Any]:
    found = service.find_vpcs(
        caller(call), ids=p.vpc_id, name=p.vpc_name, is_default=p.is_default, tags=tag_filters(p.tag)
    )
    if p.enable_ipv6:
        found = found.where(Vpc.id.is_(None))  # no VPC has IPv6
    page = paging.page(call.session, found, p)
    tags = tag.tags_of(call.session, "vpc", [vpc.id for vpc in page.items])
    return {"Vpcs": {"Vpc": [_listed(call, vpc, tags[vpc.id]) for vpc in page.items]}, **page.fields()}


@in_both_versions(
    "DescribeVpcAttribute", params=VpcParams, resource="vpc/{vpc_id}", access="read", ignored=("IsDefault",)
)
def describe_vpc_attribute(call: Call, p: VpcParams) -> dict[str, Any]:
    vpc = service.get_vpc(caller(call), p.vpc_id)
    groups = select(func.count()).where(SecurityGroup.vpc_id == vpc.id)
    counts = {
        "VRouter": 1,
        "RouteTable": 1,
        "VSwitch": len(vpc.vswitches),
        "SecurityGroup": call.session.scalar(groups) or 0,
    }
    return {
        **_common(call, vpc, tag.tags_of(call.session, "vpc", [vpc.id])[vpc.id]),
        "ClassicLinkEnabled": False,
        "SupportIpv4Gateway": False,
        "Ipv4GatewayId": "",
        "AssociatedCens": {"AssociatedCen": []},
        "AssociatedPropagationSources": {"AssociatedPropagationSources": []},
        "CloudResources": {
            "CloudResourceSetType": [{"ResourceType": name, "ResourceCount": n} for name, n in counts.items()]
        },
    }


@in_both_versions(
    "ModifyVpcAttribute", params=ModifyVpcParams, resource="vpc/{vpc_id}", access="write", ignored=_IGNORED
)
def modify_vpc_attribute(call: Call, p: ModifyVpcParams) -> dict[str, Any]:
    refuse(
        "ModifyVpcAttribute",
        CidrBlock=p.cidr_block,
        UserCidr=p.user_cidr,
        EnableIPv6=p.enable_ipv6,
        Ipv6CidrBlock=p.ipv6_cidr_block,
    )
    service.modify_vpc(caller(call), p.vpc_id, name=p.vpc_name, description=p.description)
    return {}


# ForceDelete is for VPCs that have nothing but gateways left, which do not exist here.
@in_both_versions(
    "DeleteVpc",
    params=VpcParams,
    resource="vpc/{vpc_id}",
    access="write",
    idempotent=True,
    dry_run=True,
    ignored=("ForceDelete",),
)
def delete_vpc(call: Call, p: VpcParams) -> dict[str, Any]:
    service.delete_vpc(caller(call), p.vpc_id)
    call.after_commit(call.services.runner.wake)
    return {}


# ------------------------------------------------------------------------------ how a VPC is shown


def _listed(call: Call, vpc: Vpc, tags: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        **_common(call, vpc, tags),
        "CenStatus": "Detached",
        "NatGatewayIds": {"NatGatewayIds": []},
        "RouterTableIds": {"RouterTableIds": [vpc.route_table_id]},
    }


def _common(call: Call, vpc: Vpc, tags: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "VpcId": vpc.id,
        "VpcName": vpc.name,
        "Description": vpc.description,
        "RegionId": call.region_id,
        "Status": "Available",
        "CidrBlock": vpc.cidr,
        "SecondaryCidrBlocks": {"SecondaryCidrBlock": []},
        "UserCidrs": {"UserCidr": []},
        "EnabledIpv6": False,
        "Ipv6CidrBlock": "",
        "Ipv6CidrBlocks": {"Ipv6CidrBlock": []},
        "VRouterId": vpc.router_id,
        "VSwitchIds": {"VSwitchId": [vswitch.id for vswitch in vpc.vswitches]},
        "IsDefault": vpc.is_default,
        "OwnerId": int(vpc.account_id),
        "ResourceGroupId": "",
        "DhcpOptionsSetId": "",
        "DhcpOptionsSetStatus": "Available",
        "DnsHostnameStatus": "DISABLED",
        "CreationTime": iso_seconds(vpc.created_at),
        "Tags": vpc_tags(tags),
    }
