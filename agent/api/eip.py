"""Actions of elastic public addresses (SPEC N3), of the ECS version and of the VPC version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from agent.api.caller import caller
from agent.api.common import creation_times, given_tags, in_both_versions, refuse, tag_filters, vpc_tags
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import NumberedPages
from agent.api.edge.params import CommaList, ErrorCode, Filter, RegionParams, Tag
from agent.core.clock import iso_seconds
from agent.services import eip as service
from agent.services import public_address, tag
from agent.store.schema import PublicAddress

ONE = "eip/{allocation_id}"
POST_PAID = "PostPaid"
ISP = "BGP"  # what the public API shows as the line of an ordinary address
_IGNORED = (
    "ActivityId", "AutoPay", "ISP", "Netmode", "Period", "PricingCycle", "ResourceGroupId", "SecurityProtectionTypes",
    "Zone",
)  # fmt: skip

Bandwidth = Annotated[int, ErrorCode("InvalidBandwidth.Malformed")]


class AllocateParams(RegionParams):
    bandwidth: Bandwidth = service.DEFAULT_MBPS
    internet_charge_type: str = public_address.BY_TRAFFIC
    instance_charge_type: str = POST_PAID
    ip_address: str = ""
    name: str = ""
    description: str = ""
    tag: list[Tag] = []
    # What has been here before cannot be had back by its id, and there is one pool.
    instance_id: str = ""
    public_ip_address_pool_id: str = ""


class AddressParams(RegionParams):
    allocation_id: str


class AssociateParams(AddressParams):
    instance_id: str
    instance_type: str = service.INSTANCE
    private_ip_address: str = ""
    instance_region_id: str = ""
    mode: str = "NAT"


class UnassociateParams(AddressParams):
    instance_id: str = ""
    private_ip_address: str = ""


class ModifyParams(AddressParams):
    bandwidth: Bandwidth | None = None
    name: str | None = None
    description: str | None = None


class DescribeParams(RegionParams, NumberedPages):
    allocation_id: CommaList = []
    eip_address: CommaList = []
    eip_name: str = ""
    status: str = ""
    associated_instance_id: str = ""
    associated_instance_type: str = ""
    charge_type: str = ""
    isp: Annotated[str, ErrorCode("InvalidISP.ValueNotSupported")] = ""
    lock_reason: str = ""
    public_ip_address_pool_id: str = ""
    segment_instance_id: str = ""
    service_managed: bool = False
    filter: list[Filter] = []
    tag: list[Tag] = []


@in_both_versions(
    "AllocateEipAddress",
    params=AllocateParams,
    resource="eip/*",
    access="write",
    idempotent=True,
    ignored=_IGNORED,
)
def allocate_eip_address(call: Call, p: AllocateParams) -> dict[str, Any]:
    refuse(
        call.action,
        InstanceChargeType=p.instance_charge_type != POST_PAID and p.instance_charge_type,
        InstanceId=p.instance_id,
        PublicIpAddressPoolId=p.public_ip_address_pool_id,
    )
    made = service.allocate(
        caller(call),
        bandwidth_mbps=p.bandwidth,
        charge_type=p.internet_charge_type,
        ip=p.ip_address,
        name=p.name,
        description=p.description,
        tags=given_tags(p.tag),
    )
    return {"AllocationId": made.id, "EipAddress": made.ip, "OrderId": 0, "ResourceGroupId": ""}


def _associated(call: Call, p: AssociateParams) -> list[str]:
    """The instance by its own id, however it is named: policies know it by that."""
    instance = service.instance_of(caller(call), p.instance_id, p.instance_type)
    return [f"eip/{p.allocation_id}", f"instance/{instance.id}"]


@in_both_versions(
    "AssociateEipAddress",
    params=AssociateParams,
    resource=_associated,
    access="write",
    idempotent=True,
    ignored=("VpcId",),
)
def associate_eip_address(call: Call, p: AssociateParams) -> dict[str, Any]:
    elsewhere = p.instance_region_id not in ("", call.region_id) and p.instance_region_id
    refuse(call.action, InstanceRegionId=elsewhere, Mode=p.mode != "NAT" and p.mode)
    service.associate(
        caller(call),
        p.allocation_id,
        p.instance_id,
        holder_type=p.instance_type,
        private_ip=p.private_ip_address,
    )
    call.after_commit(call.services.runner.wake)
    return {}


def _unassociated(call: Call, p: UnassociateParams) -> list[str]:
    """The address, and the instance that loses it, whether it is named or not."""
    interface = service.get(caller(call), p.allocation_id).interface
    return [f"eip/{p.allocation_id}", *([f"instance/{interface.instance_id}"] if interface else [])]


@in_both_versions(
    "UnassociateEipAddress",
    params=UnassociateParams,
    resource=_unassociated,
    access="write",
    idempotent=True,
    ignored=("Force", "InstanceType"),
)
def unassociate_eip_address(call: Call, p: UnassociateParams) -> dict[str, Any]:
    service.unassociate(caller(call), p.allocation_id, p.instance_id, p.private_ip_address)
    call.after_commit(call.services.runner.wake)
    return {}


@in_both_versions("ModifyEipAddressAttribute", params=ModifyParams, resource=ONE, access="write")
def modify_eip_address_attribute(call: Call, p: ModifyParams) -> dict[str, Any]:
    service.modify(caller(call), p.allocation_id, bandwidth_mbps=p.bandwidth, name=p.name, description=p.description)
    call.after_commit(call.services.runner.wake)
    return {}


@in_both_versions("ReleaseEipAddress", params=AddressParams, resource=ONE, access="write")
def release_eip_address(call: Call, p: AddressParams) -> dict[str, Any]:
    service.release(caller(call), p.allocation_id)
    return {}


@in_both_versions(
    "DescribeEipAddresses",
    params=DescribeParams,
    resource=ONE,
    access="read",
    ignored=("DryRun", "IncludeReservationData", "ResourceGroupId", "SecurityProtectionEnabled"),
)
def describe_eip_addresses(call: Call, p: DescribeParams) -> dict[str, Any]:
    times = creation_times(p.filter)
    filters = service.Filters(
        ids=p.allocation_id,
        ips=p.eip_address,
        name=p.eip_name,
        status=p.status,
        instance_id=p.associated_instance_id,
        instance_type=p.associated_instance_type,
        not_before=times.get("CreationStartTime"),
        not_after=times.get("CreationEndTime"),
        tags=tag_filters(p.tag),
    )
    found = service.find(caller(call), filters)
    others = (p.lock_reason, p.public_ip_address_pool_id, p.segment_instance_id, p.service_managed)
    if any(others) or p.charge_type not in ("", POST_PAID) or p.isp not in ("", ISP):
        found = found.where(PublicAddress.id.is_(None))  # none is any of these
    page = paging.page(call.session, found, p)
    return {"EipAddresses": {"EipAddress": _shown(call, page.items)}, **page.fields()}


def _shown(call: Call, addresses: Sequence[PublicAddress]) -> list[dict[str, Any]]:
    statuses = service.statuses(call.session, addresses)
    tags = tag.tags_of(call.session, "eip", [address.id for address in addresses])
    return [_element(call, one) | {"Status": statuses[one.id], "Tags": vpc_tags(tags[one.id])} for one in addresses]


def _element(call: Call, address: PublicAddress) -> dict[str, Any]:
    holder_type, holder_id = service.holder(address)
    interface = address.interface
    return {
        "AllocationId": address.id,
        "IpAddress": address.ip,
        "Name": address.name,
        "Description": address.description,
        "InstanceType": holder_type,
        "InstanceId": holder_id,
        "InstanceRegionId": call.region_id if interface else "",
        "PrivateIpAddress": (address.private_ip or interface.ip) if interface else "",
        "VpcId": interface.vpc_id if interface else "",
        "Bandwidth": str(address.bandwidth_mbps),
        "EipBandwidth": str(address.bandwidth_mbps),
        "InternetChargeType": address.charge_type,
        "ChargeType": POST_PAID,
        "AllocationTime": iso_seconds(address.created_at),
        "RegionId": call.region_id,
        "ISP": ISP,
        "Mode": "NAT",
        "Netmode": "public",
        "OperationLocks": {"LockReason": []},
        **_NEUTRAL,
    }


# What has no meaning here, as the public API shows it where it does not apply.
_NEUTRAL: dict[str, Any] = {
    "BandwidthPackageBandwidth": "", "BandwidthPackageId": "", "BandwidthPackageType": "", "BizType": "",
    "BusinessStatus": "Normal", "DeletionProtection": False, "ExpiredTime": "", "HDMonitorStatus": "OFF",
    "HasReservationData": "false", "PublicIpAddressPoolId": "", "ReservationActiveTime": "",
    "ReservationBandwidth": "", "ReservationInternetChargeType": "", "ReservationOrderType": "", "ResourceGroupId": "",
    "SecondLimited": False, "SecurityProtectionTypes": {"SecurityProtectionType": []}, "SegmentInstanceId": "",
    "ServiceID": 0, "ServiceManaged": 0, "Zone": "",
}  # fmt: skip
