"""Recorded answers, cut to what matters here."""

from __future__ import annotations

from typing import Any

WEB, DATABASE, TWIN = "i-aaaaaaaaaaaaaaaaaaaa", "i-bbbbbbbbbbbbbbbbbbbb", "i-cccccccccccccccccccc"
VPC_ID, VSWITCH_ID = "vpc-aaaaaaaaaaaaaaaaaaaa", "vsw-aaaaaaaaaaaaaaaaaaaa"
GROUP_ID, OTHER_GROUP_ID = "sg-aaaaaaaaaaaaaaaaaaaa", "sg-bbbbbbbbbbbbbbbbbbbb"


def instance(instance_id: str, name: str, status: str = "Running", **more: Any) -> dict[str, Any]:
    return {
        "InstanceId": instance_id,
        "InstanceName": name,
        "HostName": name,
        "Status": status,
        "InstanceType": "ecs.s1.small",
        "ImageId": "debian_12_x64",
        "CreationTime": "2026-11-23T07:35Z",
        "Cpu": 1,
        "Memory": 2048,
        "KeyPairName": "main",
        "ZoneId": "local-a",
        "VpcAttributes": {
            "VpcId": VPC_ID,
            "VSwitchId": VSWITCH_ID,
            "PrivateIpAddress": {"IpAddress": ["192.168.0.3"]},
        },
        "EipAddress": {"IpAddress": "", "AllocationId": ""},
        "PublicIpAddress": {"IpAddress": []},
        "SecurityGroupIds": {"SecurityGroupId": [GROUP_ID]},
        "Tags": {"Tag": [{"TagKey": "role", "TagValue": "web"}]},
    } | more


def vswitch(vswitch_id: str = VSWITCH_ID, *, default: bool = True, name: str = "default") -> dict[str, Any]:
    return {
        "VSwitchId": vswitch_id,
        "VSwitchName": name,
        "VpcId": VPC_ID,
        "ZoneId": "local-a",
        "CidrBlock": "192.168.0.0/24",
        "IsDefault": default,
        "Status": "Available",
        "AvailableIpAddressCount": 251,
    }


def group(group_id: str, name: str) -> dict[str, Any]:
    return {"SecurityGroupId": group_id, "SecurityGroupName": name, "VpcId": VPC_ID, "EcsCount": 1, "RuleCount": 2}


def job(status: str, **more: Any) -> dict[str, Any]:
    return {
        "JobId": "j-1",
        "Kind": "CreateInstance",
        "ResourceId": WEB,
        "Status": status,
        "Step": "start domain",
        "StepNumber": 3,
        "StepCount": 7,
        "Progress": 40,
        "Message": "",
        "RequestId": "00000000-0000-0000-0000-000000000000",
    } | more


def jobs(*found: dict[str, Any]) -> dict[str, Any]:
    return {"Jobs": {"Job": list(found)}, "TotalCount": len(found), "PageNumber": 1, "PageSize": 10}


def instances(*found: dict[str, Any]) -> dict[str, Any]:
    return {"Instances": {"Instance": list(found)}, "TotalCount": len(found), "PageNumber": 1, "PageSize": 100}


def system_disk(disk_id: str = "d-aaaaaaaaaaaaaaaaaaaa", **more: Any) -> dict[str, Any]:
    """The answer of DescribeDisks with the system disk of WEB."""
    found = {"DiskId": disk_id, "DiskName": "", "Type": "system", "Status": "In_use", "InstanceId": WEB} | more
    return {"Disks": {"Disk": [found]}, "TotalCount": 1, "PageNumber": 1, "PageSize": 10}
