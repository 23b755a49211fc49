"""Instances as the public API shows them: every field truthful, those without meaning here neutral."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.api.caller import caller
from agent.api.common import ecs_tags
from agent.api.edge.call import Call
from agent.core.clock import iso_minutes
from agent.core.ids import CLASSIC_VPC
from agent.services import classic, console, tag
from agent.services.metadata_options import HOP_LIMIT
from agent.services.public_address import EIP, PUBLIC
from agent.store.schema import Instance, NetworkInterface

FOREVER = "2099-12-31T15:59Z"  # what the public API shows as ExpiredTime of pay-as-you-go instances


def common(call: Call, instance: Instance) -> dict[str, Any]:
    """What DescribeInstances and DescribeInstanceAttribute have in common."""
    interface = instance.interfaces[0] if instance.interfaces else None
    in_classic = interface if interface and interface.vpc_id == CLASSIC_VPC else None
    in_vpc = None if in_classic else interface
    groups = [m.group_id for m in interface.memberships] if interface else []
    return {
        "InstanceId": instance.id,
        "InstanceName": instance.name,
        "Description": instance.description,
        "HostName": instance.host_name,
        "Status": instance.status,
        "RegionId": call.services.config.region_id,
        "ZoneId": instance.zone_id,
        "ClusterId": "",
        "ImageId": instance.image_id,
        "InstanceType": instance.instance_type,
        "Cpu": instance.vcpus,
        "Memory": instance.memory_mib,
        "SerialNumber": instance.uuid,
        "InstanceNetworkType": classic.CLASSIC if in_classic else classic.VPC,
        "InstanceChargeType": instance.charge_type,
        "InternetChargeType": instance.internet_charge_type,
        "InternetMaxBandwidthIn": instance.internet_in_mbps,
        "InternetMaxBandwidthOut": instance.internet_out_mbps,
        "CreationTime": iso_minutes(instance.created_at),
        "ExpiredTime": FOREVER,
        "StoppedMode": "KeepCharging" if instance.status == "Stopped" else "Not-applicable",
        "CreditSpecification": "",
        "VlanId": "",
        "SecurityGroupIds": {"SecurityGroupId": groups},
        **_public(instance),
        "InnerIpAddress": {"IpAddress": [in_classic.ip] if in_classic else []},
        "OperationLocks": {"LockReason": []},
        "VpcAttributes": {
            "VpcId": in_vpc.vpc_id if in_vpc else "",
            "VSwitchId": in_vpc.vswitch_id if in_vpc else "",
            "NatIpAddress": "",
            "PrivateIpAddress": {"IpAddress": [in_vpc.ip] if in_vpc else []},
        },
    }


def _public(instance: Instance) -> dict[str, Any]:
    """Its own public address, and the EIP that stands for its first private one."""
    own = [one.ip for port in instance.interfaces for one in port.public if one.kind == PUBLIC]
    bound = [one for port in instance.interfaces for one in port.public if one.kind == EIP]
    eip = min(bound, key=lambda one: one.private_ip is not None, default=None)
    return {
        "PublicIpAddress": {"IpAddress": own},
        "EipAddress": {
            "AllocationId": eip.id if eip else "",
            "IpAddress": eip.ip if eip else "",
            "InternetChargeType": eip.charge_type if eip else "",
            "Bandwidth": eip.bandwidth_mbps if eip else 0,
            "IsSupportUnassociate": eip is not None,
        },
    }


def listed(call: Call, instances: Sequence[Instance]) -> list[dict[str, Any]]:
    """The elements of DescribeInstances."""
    tags = tag.tags_of(call.session, "instance", [instance.id for instance in instances])
    return [_element(call, instance, tags[instance.id]) for instance in instances]


def _element(call: Call, instance: Instance, tags: list[tuple[str, str]]) -> dict[str, Any]:
    type_ = call.services.instance_types.get(instance.instance_type)
    return common(call, instance) | {
        "InstanceTypeFamily": type_.family if type_ else "",
        "OSType": instance.os_type,
        "OSName": instance.os_name,
        "OSNameEn": instance.os_name,
        "KeyPairName": instance.key_pair_name or "",
        "StartTime": iso_minutes(instance.started_at) if instance.started_at else "",
        "AutoReleaseTime": "",
        "DeletionProtection": instance.deletion_protection,
        "DeviceAvailable": True,
        "IoOptimized": True,
        "GPUAmount": type_.gpu_amount if type_ else 0,
        "GPUSpec": type_.gpu_spec if type_ else "",
        "LocalStorageAmount": 0,
        "LocalStorageCapacity": 0,
        "Recyclable": False,
        "SaleCycle": "",
        "SpotStrategy": "NoSpot",
        "SpotPriceLimit": 0.0,
        "ResourceGroupId": "",
        "DeploymentSetId": "",
        "HpcClusterId": "",
        "ISP": "",
        "RdmaIpAddress": {"IpAddress": []},
        "MetadataOptions": _metadata_options(instance),
        "DedicatedHostAttribute": {"DedicatedHostId": "", "DedicatedHostName": "", "DedicatedHostClusterId": ""},
        "DedicatedInstanceAttribute": {"Affinity": "", "Tenancy": ""},
        "NetworkInterfaces": {"NetworkInterface": _interfaces(instance)},
        "Tags": ecs_tags(tags),
    }


def attribute(call: Call, instance: Instance) -> dict[str, Any]:
    """The answer of DescribeInstanceAttribute."""
    return common(call, instance) | {
        "IoOptimized": "optimized",
        "StatusReason": console.status_reason(caller(call), instance),
    }


def _metadata_options(instance: Instance) -> dict[str, Any]:
    return {
        "HttpEndpoint": "enabled" if instance.metadata_enabled else "disabled",
        "HttpTokens": "required" if instance.metadata_token_required else "optional",
        "HttpPutResponseHopLimit": HOP_LIMIT,
    }


def _interfaces(instance: Instance) -> list[dict[str, Any]]:
    """In the classic network there are none that could be named."""
    return [_interface(one) for one in instance.interfaces if one.vpc_id != CLASSIC_VPC]


def _interface(interface: NetworkInterface) -> dict[str, Any]:
    addresses = [interface.ip, *(address.ip for address in interface.secondary)]
    return {
        "NetworkInterfaceId": interface.id,
        "MacAddress": interface.mac,
        "PrimaryIpAddress": interface.ip,
        "Type": "Primary",
        "PrivateIpSets": {
            "PrivateIpSet": [
                {"PrivateIpAddress": ip, "Primary": ip == interface.ip, "PrivateDnsName": ""} for ip in addresses
            ]
        },
        "Ipv6Sets": {"Ipv6Set": []},
        "Ipv4PrefixSets": {"Ipv4PrefixSet": []},
        "Ipv6PrefixSets": {"Ipv6PrefixSet": []},
    }
