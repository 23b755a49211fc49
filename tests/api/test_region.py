"""Regions, zones, instance types and the account's limits over the API (SPEC H1, I13, G7)."""

from __future__ import annotations

import pytest

from agent.core.errors import ApiError
from agent.services import quota
from agent.store.schema import Quota
from tests.support.cloud import Cloud

GUIDE = {  # vCPUs and GiB as the guide has them
    "ecs.t1.small": (1, 1),
    "ecs.s1.small": (1, 2),
    "ecs.s1.medium": (1, 4),
    "ecs.s2.small": (2, 2),
    "ecs.s2.large": (2, 4),
    "ecs.s2.xlarge": (2, 8),
    "ecs.s3.medium": (4, 4),
    "ecs.s3.large": (4, 8),
    "ecs.m1.medium": (4, 16),
}


def types(cloud: Cloud, **params: object) -> list[str]:
    answer = cloud.call("DescribeInstanceTypes", {n.replace("_", "."): v for n, v in params.items()})
    return [one["InstanceTypeId"] for one in answer["InstanceTypes"]["InstanceType"]]


def test_one_region_and_one_zone_named_by_configuration(make_cloud) -> None:
    cloud: Cloud = make_cloud(zone_id="attic")
    [region] = cloud.call("DescribeRegions")["Regions"]["Region"]
    assert (region["RegionId"], region["Status"]) == ("local", "available")
    [zone] = cloud.call("DescribeZones")["Zones"]["Zone"]
    assert zone["ZoneId"] == "attic"
    assert set(zone["AvailableInstanceTypes"]["InstanceTypes"]) == set(GUIDE)
    assert "cloud_efficiency" in zone["AvailableDiskCategories"]["DiskCategories"]


def test_the_guides_instance_types(cloud: Cloud) -> None:
    found = cloud.call("DescribeInstanceTypes")["InstanceTypes"]["InstanceType"]
    assert {one["InstanceTypeId"]: (one["CpuCoreCount"], one["MemorySize"]) for one in found} == GUIDE


def test_types_are_filtered_and_paged(cloud: Cloud) -> None:
    assert types(cloud, InstanceTypes_1="ecs.s2.small", InstanceTypes_2="ecs.none") == ["ecs.s2.small"]
    assert types(cloud, InstanceTypeFamily="ecs.s3") == ["ecs.s3.medium", "ecs.s3.large"]
    assert types(cloud, MinimumCpuCoreCount=4, MaximumMemorySize=4) == ["ecs.s3.medium"]
    assert types(cloud, CpuArchitecture="ARM") == []
    assert types(cloud, MinimumGPUAmount=1) == []
    first = cloud.call("DescribeInstanceTypes", {"MaxResults": 5})
    rest = cloud.call("DescribeInstanceTypes", {"MaxResults": 5, "NextToken": first["NextToken"]})
    assert rest["NextToken"] == ""
    assert len(first["InstanceTypes"]["InstanceType"] + rest["InstanceTypes"]["InstanceType"]) == len(GUIDE)


def test_families(cloud: Cloud) -> None:
    found = cloud.call("DescribeInstanceTypeFamilies")["InstanceTypeFamilies"]["InstanceTypeFamily"]
    assert [one["InstanceTypeFamilyId"] for one in found] == ["ecs.m1", "ecs.s1", "ecs.s2", "ecs.s3", "ecs.t1"]


def test_what_is_too_big_for_the_host_is_sold_out(cloud: Cloud) -> None:
    def resources(destination: str, **params: object) -> dict[str, str]:
        answer = cloud.call("DescribeAvailableResource", {"DestinationResource": destination, **params})
        [zone] = answer["AvailableZones"]["AvailableZone"]
        [kind] = zone["AvailableResources"]["AvailableResource"]
        return {one["Value"]: one["Status"] for one in kind["SupportedResources"]["SupportedResource"]}

    found = resources("InstanceType")
    assert found["ecs.s3.large"] == "Available"
    assert found["ecs.m1.medium"] == "SoldOut"
    assert resources("InstanceType", Cores=1, Memory=2) == {"ecs.s1.small": "Available"}
    assert resources("Zone") == {"local-a": "Available"}
    assert set(resources("SystemDisk")) == set(resources("DataDisk"))
    with pytest.raises(ApiError):
        resources("Zone", ZoneId="other")


def test_limits_are_the_defaults_the_hosts_or_the_accounts_own(make_cloud) -> None:
    cloud: Cloud = make_cloud(quotas={"vpcs": 7, "eips": 3})
    with cloud.store.write() as session:
        session.add(Quota(account_id=cloud.account_id, name="eips", value=9))

    def limits(**params: object) -> dict[str, str]:
        items = cloud.call("DescribeAccountAttributes", dict(params))["AccountAttributeItems"]["AccountAttributeItem"]
        return {one["AttributeName"]: one["AttributeValues"]["ValueItem"][0]["Value"] for one in items}

    found = limits()
    assert len([name for name in found if name.startswith("max-")]) == len(quota.LIMITS)
    assert (found["max-security-groups"], found["max-vpcs"], found["max-eips"]) == ("100", "7", "9")
    assert limits(**{"AttributeName.1": "max-key-pairs"}) == {"max-key-pairs": "500"}
