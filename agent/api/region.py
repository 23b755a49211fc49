"""Regions, zones, and the account's limits in them (SPEC H1, G7)."""

from __future__ import annotations

from typing import Any, Literal

from agent.api.caller import caller
from agent.api.edge.call import Call
from agent.api.edge.params import RegionParams
from agent.api.edge.registry import ECS, action
from agent.core import disk_categories
from agent.core.errors import NotFound
from agent.jobs import regions
from agent.services import instance_type, quota

DISK_CATEGORIES = tuple(disk_categories.SIZES_GIB)
_IGNORED = ("AcceptLanguage", "InstanceChargeType", "SpotStrategy", "Verbose", "ResourceType")


class DescribeAvailableResourceParams(RegionParams):
    destination_resource: Literal["Zone", "IoOptimized", "InstanceType", "Network", "ddh", "SystemDisk", "DataDisk"]
    zone_id: str = ""
    instance_type: str = ""
    cores: int | None = None
    memory: float | None = None
    system_disk_category: str = ""
    data_disk_category: str = ""
    network_category: str = ""


class DescribeAccountAttributesParams(RegionParams):
    attribute_name: list[str] = []
    zone_id: str = ""


@action("DescribeRegions", version=ECS, params=RegionParams, resource="region/*", access="read", ignored=_IGNORED)
def describe_regions(call: Call, p: RegionParams) -> dict[str, Any]:
    """This region first; then those that images can be copied to."""
    config = call.services.config
    found = [(config.region_id, config.https or config.http)]
    found += [(name, region.address) for name, region in sorted(regions.regions_of(config).items())]
    shown = [
        {"RegionId": name, "LocalName": name, "RegionEndpoint": endpoint, "Status": "available"}
        for name, endpoint in found
    ]
    return {"Regions": {"Region": shown}}


@action("DescribeZones", version=ECS, params=RegionParams, resource="zone/*", access="read", ignored=_IGNORED)
def describe_zones(call: Call, p: RegionParams) -> dict[str, Any]:
    config, types = call.services.config, instance_type.find_types(caller(call), instance_type.TypeFilter())
    ids = [one.id for one in types]
    resources = {
        "IoOptimized": True,
        "NetworkTypes": {"supportedNetworkCategory": ["vpc"]},
        "InstanceTypes": {"supportedInstanceType": ids},
        "InstanceTypeFamilies": {"supportedInstanceTypeFamily": sorted({one.family for one in types})},
        "InstanceGenerations": {"supportedInstanceGeneration": sorted({one.generation for one in types})},
        "SystemDiskCategories": {"supportedSystemDiskCategory": list(DISK_CATEGORIES)},
        "DataDiskCategories": {"supportedDataDiskCategory": list(DISK_CATEGORIES)},
    }
    zone = {
        "ZoneId": config.zone_id,
        "LocalName": config.zone_id,
        "ZoneType": "AvailabilityZone",
        "AvailableResourceCreation": {"ResourceTypes": ["VSwitch", "Instance", "Disk"]},
        "AvailableDiskCategories": {"DiskCategories": list(DISK_CATEGORIES)},
        "AvailableInstanceTypes": {"InstanceTypes": ids},
        "AvailableVolumeCategories": {"VolumeCategories": []},
        "AvailableDedicatedHostTypes": {"DedicatedHostType": []},
        "DedicatedHostGenerations": {"DedicatedHostGeneration": []},
        "AvailableResources": {"ResourcesInfo": [resources]},
    }
    return {"Zones": {"Zone": [zone]}}


@action(
    "DescribeAvailableResource",
    version=ECS,
    params=DescribeAvailableResourceParams,
    resource="zone/*",
    access="read",
    ignored=(*_IGNORED, "IoOptimized", "Scope", "DedicatedHostId", "SpotDuration"),
)
def describe_available_resource(call: Call, p: DescribeAvailableResourceParams) -> dict[str, Any]:
    config = call.services.config
    if p.zone_id and p.zone_id != config.zone_id:
        raise NotFound("InvalidZoneId.NotFound", "ZoneId", p.zone_id)
    supported = _supported(call, p)
    available = any(one["Status"] == "Available" for one in supported)
    zone = {
        "RegionId": config.region_id,
        "ZoneId": config.zone_id,
        "Status": "Available" if available else "SoldOut",
        "StatusCategory": "WithStock" if available else "WithoutStock",
        "AvailableResources": {
            "AvailableResource": [
                {"Type": p.destination_resource, "SupportedResources": {"SupportedResource": supported}}
            ]
        },
    }
    return {"AvailableZones": {"AvailableZone": [zone] if supported else []}}


def _supported(call: Call, p: DescribeAvailableResourceParams) -> list[dict[str, Any]]:
    who = caller(call)
    if p.destination_resource == "InstanceType":
        wanted = instance_type.TypeFilter(
            ids=[p.instance_type] if p.instance_type else [],
            vcpus=(p.cores, p.cores),
            memory_gib=(p.memory, p.memory),
        )
        found = instance_type.find_types(who, wanted)
        return [_resource(one.id, stock=instance_type.fits_host(who, one)) for one in found]
    if p.destination_resource in ("SystemDisk", "DataDisk"):
        system = p.destination_resource == "SystemDisk"
        only = p.system_disk_category if system else p.data_disk_category
        limits = {
            name: disk_categories.SYSTEM_SIZES_GIB["linux"] if system else sizes
            for name, sizes in disk_categories.SIZES_GIB.items()
        }
        return [
            {**_resource(name), "Min": smallest, "Max": largest, "Unit": "GiB"}
            for name, (smallest, largest) in limits.items()
            if not only or name == only
        ]
    values = {"Zone": [call.services.config.zone_id], "IoOptimized": ["optimized"], "Network": ["vpc"]}
    return [_resource(value) for value in values.get(p.destination_resource, [])]


def _resource(value: str, *, stock: bool = True) -> dict[str, Any]:
    return {
        "Value": value,
        "Status": "Available" if stock else "SoldOut",
        "StatusCategory": "WithStock" if stock else "WithoutStock",
    }


@action(
    "DescribeAccountAttributes",
    version=ECS,
    params=DescribeAccountAttributesParams,
    resource="accountattribute/*",
    access="read",
)
def describe_account_attributes(call: Call, p: DescribeAccountAttributesParams) -> dict[str, Any]:
    """Every quota as `max-<name>`, beside the public attributes that have a meaning here."""
    attributes = {f"max-{name.replace('_', '-')}": str(value) for name, value in quota.limits(caller(call)).items()}
    attributes |= {"instance-network-type": "vpc", "supported-postpaid-instance-types": ""}
    types = instance_type.find_types(caller(call), instance_type.TypeFilter())
    items = [
        {
            "AttributeName": name,
            "AttributeValues": {
                "ValueItem": [{"Value": one.id, "ZoneId": call.services.config.zone_id} for one in types]
                if name == "supported-postpaid-instance-types"
                else [{"Value": value}]
            },
        }
        for name, value in attributes.items()
        if not p.attribute_name or name in p.attribute_name
    ]
    return {"AccountAttributeItems": {"AccountAttributeItem": items}}
