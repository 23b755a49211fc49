"""Actions of routers, route tables and their entries (SPEC N1), of the ECS version and of the VPC version."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agent.api.caller import caller
from agent.api.common import effective_when_answered, in_both_versions, refuse, vpc_tags
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import NumberedPagesOf50, Paged
from agent.api.edge.params import ErrorCode, Params, RegionParams, Tag, one_of
from agent.api.edge.registry import VPC, action
from agent.core.clock import iso_seconds
from agent.core.errors import InvalidParameter
from agent.services import route as service
from agent.services import vpc as vpcs
from agent.store.schema import RouteEntry, Vpc

_TABLE = "routetable/{route_table_id}"
HopType = Annotated[str, one_of(*service.NEXT_HOP_TYPES), ErrorCode("InvalidNextHopType")]


class DescribeVRoutersParams(RegionParams, NumberedPagesOf50):
    v_router_id: str = ""


class DescribeRouteTablesParams(RegionParams, NumberedPagesOf50):
    route_table_id: str = ""
    router_id: str = ""
    v_router_id: str = ""
    vpc_id: str = ""
    route_table_name: str = ""
    tag: list[Tag] = []


class NextHopParams(Params):
    next_hop_id: str = ""
    next_hop_type: HopType = service.INSTANCE


class CreateRouteEntryParams(RegionParams):
    route_table_id: str
    destination_cidr_block: str
    next_hop_id: str = ""
    next_hop_type: HopType = service.INSTANCE
    next_hop_list: list[NextHopParams] = []
    route_entry_name: str = ""
    description: str = ""


class DeleteRouteEntryParams(RegionParams):
    route_entry_id: str = ""
    route_table_id: str = ""
    destination_cidr_block: str = ""
    next_hop_id: str = ""
    next_hop_list: list[NextHopParams] = []


class DescribeRouteEntryListParams(RegionParams, Paged):
    """Paged by token only."""

    route_table_id: str
    max_results: Annotated[int, Field(ge=1, le=100, alias="MaxResult")] = 50
    route_entry_id: str = ""
    route_entry_name: str = ""
    route_entry_type: str = ""
    destination_cidr_block: str = ""
    dest_cidr_block_list: list[str] = []
    ip_version: str = ""
    next_hop_id: str = ""
    next_hop_type: str = ""
    service_type: str = ""


# ------------------------------------------------------------------------------ routers and tables


@in_both_versions("DescribeVRouters", params=DescribeVRoutersParams, resource="vrouter/{v_router_id}", access="read")
def describe_v_routers(call: Call, p: DescribeVRoutersParams) -> dict[str, Any]:
    page = paging.page(call.session, vpcs.find_vpcs(caller(call), router_id=p.v_router_id), p)
    routers = [
        {
            "VRouterId": vpc.router_id,
            "VRouterName": "",
            "Description": "",
            "VpcId": vpc.id,
            "RegionId": call.region_id,
            "CreationTime": iso_seconds(vpc.created_at),
            "RouteTableIds": {"RouteTableId": [vpc.route_table_id]},
        }
        for vpc in page.items
    ]
    return {"VRouters": {"VRouter": routers}, **page.fields()}


@in_both_versions(
    "DescribeRouteTables",
    params=DescribeRouteTablesParams,
    resource=_TABLE,
    access="read",
    ignored=("RouterType", "ResourceGroupId", "Type"),
)
def describe_route_tables(call: Call, p: DescribeRouteTablesParams) -> dict[str, Any]:
    page = paging.page(call.session, _with_table(call, p), p)
    tables = [
        {
            "RouteTableId": vpc.route_table_id,
            "RouteTableType": "System",
            "VRouterId": vpc.router_id,
            "Status": "Available",
            "CreationTime": iso_seconds(vpc.created_at),
            "ResourceGroupId": "",
            "VSwitchIds": {"VSwitchId": [vswitch.id for vswitch in vpc.vswitches]},
            "RouteEntrys": {"RouteEntry": [_in_table(entry) for entry in _entries(vpc)]},
        }
        for vpc in page.items
    ]
    return {"RouteTables": {"RouteTable": tables}, **page.fields()}


@action(
    "DescribeRouteTableList",
    version=VPC,
    params=DescribeRouteTablesParams,
    resource=_TABLE,
    access="read",
    ignored=("RouterType", "RouteTableType", "ResourceGroupId"),
)
def describe_route_table_list(call: Call, p: DescribeRouteTablesParams) -> dict[str, Any]:
    page = paging.page(call.session, _with_table(call, p), p)
    tables = [
        {
            "RouteTableId": vpc.route_table_id,
            "RouteTableName": "",
            "RouteTableType": "System",
            "RouterId": vpc.router_id,
            "RouterType": "VRouter",
            "VpcId": vpc.id,
            "VSwitchIds": {"VSwitchId": [vswitch.id for vswitch in vpc.vswitches]},
            "GatewayIds": {"GatewayIds": []},
            "AssociateType": "VSwitch",
            "RoutePropagationEnable": False,
            "Status": "Available",
            "Description": "",
            "OwnerId": int(vpc.account_id),
            "ResourceGroupId": "",
            "CreationTime": iso_seconds(vpc.created_at),
            "Tags": vpc_tags([]),
        }
        for vpc in page.items
    ]
    return {"RouterTableList": {"RouterTableListType": tables}, **page.fields()}


def _with_table(call: Call, p: DescribeRouteTablesParams) -> Any:
    found = vpcs.find_vpcs(
        caller(call),
        ids=[p.vpc_id] if p.vpc_id else [],
        route_table_id=p.route_table_id,
        router_id=p.router_id or p.v_router_id,
    )
    # The system's own table of a VPC has neither a name nor tags.
    return found.where(Vpc.id.is_(None)) if p.route_table_name or p.tag else found


# ------------------------------------------------------------------------------ entries


@in_both_versions(
    "CreateRouteEntry",
    params=CreateRouteEntryParams,
    resource=_TABLE,
    access="write",
    idempotent=True,
    dry_run=True,
)
def create_route_entry(call: Call, p: CreateRouteEntryParams) -> dict[str, Any]:
    """The entry is in force when this is answered."""
    given = service.NextHop(p.next_hop_type, p.next_hop_id)
    entry, job = service.create_entry(
        caller(call),
        p.route_table_id,
        p.destination_cidr_block,
        _one_hop("CreateRouteEntry", given, p.next_hop_list),
        name=p.route_entry_name,
        description=p.description,
    )
    effective_when_answered(call, job)
    return {"RouteEntryId": entry.id}


def _table_of(call: Call, p: DeleteRouteEntryParams) -> list[str]:
    """The table by its own id, however the entry is named: policies know it by that."""
    entry = service.find_entry(caller(call), p.route_entry_id, p.route_table_id, p.destination_cidr_block)
    return [f"routetable/{entry.vpc.route_table_id}"]


@in_both_versions("DeleteRouteEntry", params=DeleteRouteEntryParams, resource=_table_of, access="write", dry_run=True)
def delete_route_entry(call: Call, p: DeleteRouteEntryParams) -> dict[str, Any]:
    hop = _one_hop("DeleteRouteEntry", service.NextHop("", p.next_hop_id), p.next_hop_list)
    job = service.delete_entry(
        caller(call),
        entry_id=p.route_entry_id,
        table_id=p.route_table_id,
        cidr=p.destination_cidr_block,
        hop_id=hop.id,
        hop_type=hop.type,
    )
    effective_when_answered(call, job)
    return {}


def _one_hop(action_name: str, given: service.NextHop, several: list[NextHopParams]) -> service.NextHop:
    """Of several next hops the traffic would be shared; here an entry has one, however it is given."""
    if not several:
        return given
    if given.id:
        raise InvalidParameter("NextHopList", several[0].next_hop_id, "give either it or NextHopId.")
    refuse(action_name, **{"NextHopList.2.NextHopId": several[1].next_hop_id if len(several) > 1 else ""})
    return service.NextHop(several[0].next_hop_type, several[0].next_hop_id)


@action(
    "DescribeRouteEntryList",
    version=VPC,
    params=DescribeRouteEntryListParams,
    resource=_TABLE,
    access="read",
)
def describe_route_entry_list(call: Call, p: DescribeRouteEntryListParams) -> dict[str, Any]:
    entries = _entries(service.get_table(caller(call), p.route_table_id))
    page = paging.page_list([entry for entry in entries if _asked_for(entry, p)], p)
    shown = [_in_list(entry) for entry in page.items]
    return {"RouteEntrys": {"RouteEntry": shown}, "TotalCount": page.total, "NextToken": page.token}


def _asked_for(entry: dict[str, Any], p: DescribeRouteEntryListParams) -> bool:
    """Whether an entry of `_entries` passes the filters."""
    exact = (
        ("RouteEntryId", p.route_entry_id),
        ("RouteEntryName", p.route_entry_name),
        ("Type", p.route_entry_type),
        ("DestinationCidrBlock", p.destination_cidr_block),
        ("InstanceId", p.next_hop_id),
        ("NextHopType", p.next_hop_type),
    )
    if any(value and entry[name].lower() != value.lower() for name, value in exact):
        return False
    if p.dest_cidr_block_list and entry["DestinationCidrBlock"] not in p.dest_cidr_block_list:
        return False
    return p.ip_version.lower() in ("", "ipv4") and not p.service_type


# ------------------------------------------------------------------------------ how entries are shown


def _entries(vpc: Vpc) -> list[dict[str, Any]]:
    """All of a table: the system's own, which reach the VSwitches and the services, then the custom ones."""
    system = [(vswitch.cidr, "local", iso_seconds(vswitch.created_at)) for vswitch in vpc.vswitches]
    system.append((service.SERVICES_CIDR, "service", iso_seconds(vpc.created_at)))
    return [_system_entry(vpc, *one) for one in system] + [_custom_entry(vpc, entry) for entry in vpc.routes]


def _system_entry(vpc: Vpc, cidr: str, hop: str, since: str) -> dict[str, Any]:
    return {
        "RouteTableId": vpc.route_table_id,
        "RouteEntryId": "",
        "RouteEntryName": "",
        "Description": "",
        "DestinationCidrBlock": cidr,
        "Type": "System",
        "Status": "Available",
        "NextHopType": hop,
        "InstanceId": "",
        "GmtModified": since,
    }


def _custom_entry(vpc: Vpc, entry: RouteEntry) -> dict[str, Any]:
    return {
        "RouteTableId": vpc.route_table_id,
        "RouteEntryId": entry.id,
        "RouteEntryName": entry.name,
        "Description": entry.description,
        "DestinationCidrBlock": entry.cidr,
        "Type": "Custom",
        "Status": "Available",
        "NextHopType": entry.next_hop_type,
        "InstanceId": service.next_hop_id(entry),
        "GmtModified": iso_seconds(entry.created_at),
    }


def _in_table(entry: dict[str, Any]) -> dict[str, Any]:
    """As DescribeRouteTables has it: NextHops would be several that share the traffic."""
    return {name: value for name, value in entry.items() if name != "GmtModified"} | {"NextHops": {"NextHop": []}}


def _in_list(entry: dict[str, Any]) -> dict[str, Any]:
    """As DescribeRouteEntryList has it."""
    hop = {
        "NextHopType": entry["NextHopType"],
        "NextHopId": entry["InstanceId"],
        "NextHopRegionId": "",
        "Enabled": 1,
        "Weight": 0,
        "NextHopRelatedInfo": {"InstanceId": "", "InstanceType": "", "RegionId": ""},
    }
    return {name: value for name, value in entry.items() if name not in ("NextHopType", "InstanceId")} | {
        "IpVersion": "IPv4",
        "Origin": "",
        "ServiceType": "",
        "NextHops": {"NextHop": [hop]},
    }
