"""Actions of network interfaces, their private addresses, and of the network an instance is in (SPEC N2)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agent.api.caller import caller
from agent.api.common import ecs_tags, effective_when_answered, refuse
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import Paged
from agent.api.edge.params import ErrorCode, RegionParams, Tag
from agent.api.edge.registry import ECS, action
from agent.core.clock import iso_seconds
from agent.services import instance_move
from agent.services import network_interface as service
from agent.store.schema import NetworkInterface, PublicAddress

_ONE = "eni/{network_interface_id}"
Addresses = Annotated[list[str], Field(max_length=49)]


class DescribeNetworkInterfacesParams(RegionParams, Paged):
    page_size: Annotated[int, Field(ge=1, le=500), ErrorCode("InvalidParameter.PageSize")] = 10
    max_results: Annotated[int, Field(ge=1, le=500)] | None = None
    network_interface_id: Annotated[list[str], Field(max_length=100)] = []
    instance_id: str = ""
    vpc_id: str = ""
    v_switch_id: str = ""
    security_group_id: str = ""
    primary_ip_address: str = ""
    private_ip_address: Annotated[list[str], Field(max_length=100)] = []
    ipv6_address: list[str] = []
    network_interface_name: str = ""
    type: str = ""
    status: str = ""
    service_managed: bool = False
    tag: list[Tag] = []


class AssignParams(RegionParams):
    network_interface_id: str
    private_ip_address: Addresses = []
    secondary_private_ip_address_count: Annotated[int, Field(ge=1, le=49)] | None = None
    ipv4_prefix: list[str] = []
    ipv4_prefix_count: int = 0


class UnassignParams(RegionParams):
    network_interface_id: str
    private_ip_address: Addresses = []
    ipv4_prefix: list[str] = []


class ModifyInstanceVpcParams(RegionParams):
    instance_id: str
    v_switch_id: str
    vpc_id: str = ""
    private_ip_address: str = ""
    security_group_id: list[str] = []


@action(
    "DescribeNetworkInterfaces",
    version=ECS,
    params=DescribeNetworkInterfacesParams,
    resource=_ONE,
    access="read",
    ignored=("ResourceGroupId",),
)
def describe_network_interfaces(call: Call, p: DescribeNetworkInterfacesParams) -> dict[str, Any]:
    filters = service.Filters(
        ids=p.network_interface_id,
        instance_id=p.instance_id,
        vpc_id=p.vpc_id,
        vswitch_id=p.v_switch_id,
        group_id=p.security_group_id,
        primary_ip=p.primary_ip_address,
        private_ips=p.private_ip_address,
    )
    found = service.find_interfaces(caller(call), filters)
    if not _there_are_any(p):
        found = found.where(NetworkInterface.id.is_(None))
    page = paging.page(call.session, found, p)
    ids = [interface.id for interface in page.items]
    public, hops = service.public_of(caller(call), ids), service.next_hops(caller(call), ids)
    shown = [_shown(interface, public, interface.id in hops) for interface in page.items]
    return {"NetworkInterfaceSets": {"NetworkInterfaceSet": shown}, **page.fields()}


def _there_are_any(p: DescribeNetworkInterfacesParams) -> bool:
    """Interfaces are the primary ones of instances here, without IPv6, names and tags."""
    usual = p.type.lower() in ("", "primary") and p.status.lower() in ("", "inuse")
    return usual and not (p.ipv6_address or p.network_interface_name or p.service_managed or p.tag)


@action("AssignPrivateIpAddresses", version=ECS, params=AssignParams, resource=_ONE, access="write", idempotent=True)
def assign_private_ip_addresses(call: Call, p: AssignParams) -> dict[str, Any]:
    """The addresses are reachable when this is answered, once the guest has them."""
    refuse("AssignPrivateIpAddresses", Ipv4Prefix=p.ipv4_prefix, Ipv4PrefixCount=p.ipv4_prefix_count)
    given, job = service.assign(
        caller(call), p.network_interface_id, p.private_ip_address, p.secondary_private_ip_address_count
    )
    effective_when_answered(call, job)
    return {
        "AssignedPrivateIpAddressesSet": {
            "NetworkInterfaceId": p.network_interface_id,
            "PrivateIpSet": {"PrivateIpAddress": given},
            "Ipv4PrefixSet": {"Ipv4Prefixes": []},
        }
    }


@action("UnassignPrivateIpAddresses", version=ECS, params=UnassignParams, resource=_ONE, access="write")
def unassign_private_ip_addresses(call: Call, p: UnassignParams) -> dict[str, Any]:
    refuse("UnassignPrivateIpAddresses", Ipv4Prefix=p.ipv4_prefix)
    effective_when_answered(call, service.unassign(caller(call), p.network_interface_id, p.private_ip_address))
    return {}


def _moved(call: Call, p: ModifyInstanceVpcParams) -> list[str]:
    groups = [f"securitygroup/{group_id}" for group_id in p.security_group_id]
    return [f"instance/{p.instance_id}", f"vswitch/{p.v_switch_id}", *groups]


@action(
    "ModifyInstanceVpcAttribute",
    version=ECS,
    params=ModifyInstanceVpcParams,
    resource=_moved,
    access="write",
)
def modify_instance_vpc_attribute(call: Call, p: ModifyInstanceVpcParams) -> dict[str, Any]:
    instance_move.move(
        caller(call),
        p.instance_id,
        p.v_switch_id,
        vpc_id=p.vpc_id,
        private_ip=p.private_ip_address,
        group_ids=p.security_group_id,
    )
    call.after_commit(call.services.runner.wake)
    return {}


def _shown(interface: NetworkInterface, public: dict[tuple[str, str], PublicAddress], forwards: bool) -> dict[str, Any]:
    addresses = [interface.ip, *(address.ip for address in interface.secondary)]
    sets = [
        {
            "PrivateIpAddress": ip,
            "PrivateDnsName": "",
            "Primary": ip == interface.ip,
            "AssociatedPublicIp": _public(public.get((interface.id, ip))),
        }
        for ip in addresses
    ]
    return {
        "NetworkInterfaceId": interface.id,
        "NetworkInterfaceName": "",
        "Description": "",
        "Type": "Primary",
        "Status": "InUse",
        "VpcId": interface.vpc_id,
        "VSwitchId": interface.vswitch_id,
        "ZoneId": interface.vswitch.zone_id,
        "MacAddress": interface.mac,
        "PrivateIpAddress": interface.ip,
        "PrivateIpSets": {"PrivateIpSet": sets},
        "AssociatedPublicIp": _public(public.get((interface.id, interface.ip))),
        "SecurityGroupIds": {"SecurityGroupId": [m.group_id for m in interface.memberships]},
        # What a route leads to may send with addresses that are not its own.
        "SourceDestCheck": not forwards,
        **_attachment(interface),
        **_NEUTRAL,
        "OwnerId": interface.account_id,
        "CreationTime": iso_seconds(interface.created_at),
        "Tags": ecs_tags([]),
    }


def _attachment(interface: NetworkInterface) -> dict[str, Any]:
    instance_id = interface.instance_id or ""
    return {
        "InstanceId": instance_id,
        "DeleteOnRelease": True,
        "Attachment": {
            "InstanceId": instance_id,
            "DeviceIndex": 0,
            "NetworkCardIndex": 0,
            "TrunkNetworkInterfaceId": "",
        },
    }


_NEUTRAL: dict[str, Any] = {
    "Ipv6Sets": {"Ipv6Set": []},
    "Ipv4PrefixSets": {"Ipv4PrefixSet": []},
    "Ipv6PrefixSets": {"Ipv6PrefixSet": []},
    "NetworkInterfaceTrafficMode": "Standard",
    "QueueNumber": 1,
    "QueuePairNumber": 0,
    "ServiceManaged": False,
    "ServiceID": 0,
    "ResourceGroupId": "",
}


def _public(address: PublicAddress | None) -> dict[str, str]:
    """Only an elastic address has an id that callers know."""
    if address is None:
        return {}
    return {"PublicIpAddress": address.ip, "AllocationId": address.id if address.kind == "eip" else ""}
