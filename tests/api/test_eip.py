"""Elastic public addresses over the API, in both versions (SPEC N3, I4)."""

from __future__ import annotations

from typing import Any

import pytest

from agent.api.edge.registry import ECS, VPC
from agent.core.errors import ApiError
from agent.core.ids import is_id
from agent.jobs.kinds.instance import _delete_rows
from agent.store.schema import Job, SecondaryAddress
from tests.support.cloud import START, Cloud

VERSIONS = pytest.mark.parametrize("version", [ECS, VPC])


def code_of(cloud: Cloud, action: str, params: dict[str, object], **more: Any) -> str:
    with pytest.raises(ApiError) as caught:
        cloud.call(action, params, **more)
    return caught.value.code


def allocate(cloud: Cloud, **params: object) -> str:
    return cloud.call("AllocateEipAddress", params, version=VPC)["AllocationId"]


def instance(cloud: Cloud) -> str:
    _, vswitch_id = cloud.default_vswitch()
    return cloud.add_instance(vswitch_id, [])


def shown(cloud: Cloud, version: str = VPC, **params: object) -> list[dict[str, Any]]:
    return cloud.call("DescribeEipAddresses", params, version=version)["EipAddresses"]["EipAddress"]


def finish(cloud: Cloud) -> None:
    """The runner has done everything."""
    with cloud.store.write() as session:
        session.query(Job).update({"state": "succeeded"})


def bound(cloud: Cloud) -> tuple[str, str]:
    """(address, instance), bound and done."""
    allocation_id, instance_id = allocate(cloud), instance(cloud)
    cloud.call("AssociateEipAddress", {"AllocationId": allocation_id, "InstanceId": instance_id})
    finish(cloud)
    return allocation_id, instance_id


@VERSIONS
def test_an_address_lives_from_allocation_to_release(cloud: Cloud, version: str) -> None:
    instance_id = instance(cloud)
    made = cloud.call("AllocateEipAddress", {"Bandwidth": "10"}, version=version)
    allocation_id, ip = made["AllocationId"], made["EipAddress"]
    assert is_id("eip", allocation_id)
    [row] = shown(cloud, version)
    assert (row["Status"], row["IpAddress"], row["Bandwidth"], row["InstanceId"]) == ("Available", ip, "10", "")
    assert (row["InternetChargeType"], row["ChargeType"]) == ("PayByTraffic", "PostPaid")
    assert row["AllocationTime"] == "2026-11-23T07:35:12Z"
    both = {"AllocationId": allocation_id, "InstanceId": instance_id}

    cloud.call("AssociateEipAddress", both, version=version)
    [row] = shown(cloud, version)
    assert (row["Status"], row["InstanceId"], row["InstanceType"]) == ("Associating", instance_id, "EcsInstance")
    [job] = cloud.jobs("eip.associate")
    assert (job.resource_id, cloud.runner.wakes > 0) == (allocation_id, True)
    assert code_of(cloud, "UnassociateEipAddress", both, version=version) == "IncorrectEipStatus"
    finish(cloud)
    assert [row["Status"] for row in shown(cloud, version)] == ["InUse"]
    [found] = cloud.call("DescribeInstances")["Instances"]["Instance"]
    assert found["EipAddress"] == {
        "AllocationId": allocation_id,
        "IpAddress": ip,
        "InternetChargeType": "PayByTraffic",
        "Bandwidth": 10,
        "IsSupportUnassociate": True,
    }
    assert code_of(cloud, "ReleaseEipAddress", {"AllocationId": allocation_id}, version=version) == "IncorrectEipStatus"

    cloud.call("UnassociateEipAddress", both, version=version)
    assert [(row["Status"], row["InstanceId"]) for row in shown(cloud, version)] == [("Unassociating", "")]
    assert code_of(cloud, "ReleaseEipAddress", {"AllocationId": allocation_id}, version=version) == "IncorrectEipStatus"
    finish(cloud)
    cloud.call("ReleaseEipAddress", {"AllocationId": allocation_id}, version=version)
    assert shown(cloud, version) == []
    assert code_of(cloud, "ReleaseEipAddress", {"AllocationId": allocation_id}) == "InvalidAllocationId.NotFound"


@VERSIONS
def test_changes_of_a_bound_address_are_made_live(cloud: Cloud, version: str) -> None:
    allocation_id, instance_id = bound(cloud)
    change = {"AllocationId": allocation_id, "Bandwidth": "200", "Name": "front", "Description": "of the shop"}
    cloud.call("ModifyEipAddressAttribute", change, version=version)
    [row] = shown(cloud)
    assert (row["Bandwidth"], row["Name"], row["Description"], row["Status"]) == (
        "200",
        "front",
        "of the shop",
        "InUse",
    )
    assert [job.resource_id for job in cloud.jobs("instance.network")] == [instance_id]
    for mbps in ("0", "201", "x"):
        params = {"AllocationId": allocation_id, "Bandwidth": mbps}
        assert code_of(cloud, "ModifyEipAddressAttribute", params, version=version) == "InvalidBandwidth.Malformed"


def test_an_address_is_found_by_each_of_its_properties(cloud: Cloud) -> None:
    first, instance_id = bound(cloud)
    second = allocate(cloud, Name="spare", **{"Tag.1.Key": "a", "Tag.1.Value": "b"})
    third = allocate(cloud)
    cloud.call("AssociateEipAddress", {"AllocationId": third, "InstanceId": instance(cloud)})
    address = {row["AllocationId"]: row["IpAddress"] for row in shown(cloud)}

    def found(**params: object) -> set[str]:
        return {row["AllocationId"] for row in shown(cloud, **params)}

    assert found() == {first, second, third}
    assert found(AllocationId=f"{first},{third}") == {first, third}
    assert found(EipAddress=address[second]) == {second}
    assert found(EipName="spa*") == found(**{"Tag.1.Key": "a"}) == {second}
    assert found(Status="InUse") == found(AssociatedInstanceId=instance_id) == {first}
    assert (found(Status="Available"), found(Status="Associating")) == ({second}, {third})
    assert found(Status="Unassociating") == found(Status="x") == found(ChargeType="PrePaid") == set()
    assert found(AssociatedInstanceType="EcsInstance") == {first, third}
    assert found(AssociatedInstanceType="NetworkInterface") == found(AssociatedInstanceType="Nat") == set()
    after = {"Filter.1.Key": "CreationStartTime", "Filter.1.Value": "2026-11-24T00:00Z"}
    assert (found(**after), found(ISP="BGP")) == (set(), {first, second, third})
    everywhere = cloud.call("DescribeInstances", {"EipAddresses": f'["{address[first]}"]'})["Instances"]["Instance"]
    assert [one["InstanceId"] for one in everywhere] == [instance_id]


def test_what_is_refused(cloud: Cloud) -> None:
    allocation_id, instance_id = bound(cloud)
    free, pending = allocate(cloud), instance(cloud)
    with cloud.store.write() as session:
        session.connection().exec_driver_sql("UPDATE instances SET status = 'Pending' WHERE id = ?", (pending,))
    for action, params, code in (
        ("AllocateEipAddress", {"Bandwidth": 0}, "InvalidBandwidth.Malformed"),
        ("AllocateEipAddress", {"InternetChargeType": "x"}, "InvalidParameter"),
        ("AllocateEipAddress", {"InstanceChargeType": "PrePaid"}, "UnsupportedParameter"),
        ("AllocateEipAddress", {"Name": "1"}, "InvalidName.Malformed"),
        ("AssociateEipAddress", {"AllocationId": "eip-x", "InstanceId": instance_id}, "InvalidAllocationId.NotFound"),
        ("AssociateEipAddress", {"AllocationId": free, "InstanceId": "i-x"}, "InvalidInstanceId.NotFound"),
        ("AssociateEipAddress", {"AllocationId": free, "InstanceId": instance_id}, "InvalidAssociation.Duplicated"),
        ("AssociateEipAddress", {"AllocationId": allocation_id, "InstanceId": instance_id}, "IncorrectEipStatus"),
        ("AssociateEipAddress", {"AllocationId": free, "InstanceId": pending}, "IncorrectInstanceStatus"),
        (
            "AssociateEipAddress",
            {"AllocationId": free, "InstanceId": instance_id, "InstanceType": "Nat"},
            "InvalidInstanceType.ValueNotSupported",
        ),
        (
            "AssociateEipAddress",
            {"AllocationId": free, "InstanceId": instance_id, "PrivateIpAddress": "10.0.0.1"},
            "InvalidPrivateIpAddress.NotFound",
        ),
        ("UnassociateEipAddress", {"AllocationId": allocation_id, "InstanceId": pending}, "IncorrectEipStatus"),
        ("UnassociateEipAddress", {"AllocationId": free}, "IncorrectEipStatus"),
        (
            "UnassociateEipAddress",
            {"AllocationId": allocation_id, "PrivateIpAddress": "172.16.0.99"},
            "IncorrectEipStatus",
        ),
    ):
        assert code_of(cloud, action, params, version=VPC) == code, (action, params)
    other = cloud.add_account()
    assert cloud.call("DescribeEipAddresses", account_id=other)["TotalCount"] == 0
    stolen = {"AllocationId": free}
    assert code_of(cloud, "ReleaseEipAddress", stolen, account_id=other) == "InvalidAllocationId.NotFound"


def test_a_secondary_address_has_an_address_of_its_own(cloud: Cloud) -> None:
    first, instance_id = bound(cloud)
    second = allocate(cloud)
    with cloud.store.write() as session:
        [interface] = cloud.interfaces()
        session.add(
            SecondaryAddress(vpc_id=interface.vpc_id, ip="172.16.0.77", interface_id=interface.id, created_at=START)
        )
    params = {"AllocationId": second, "InstanceId": interface.id, "InstanceType": "NetworkInterface"}
    cloud.call("AssociateEipAddress", {**params, "PrivateIpAddress": "172.16.0.77"}, version=VPC)
    row = next(row for row in shown(cloud) if row["AllocationId"] == second)
    assert (row["InstanceType"], row["InstanceId"], row["PrivateIpAddress"]) == (
        "NetworkInterface",
        interface.id,
        "172.16.0.77",
    )
    [found] = cloud.call("DescribeInstances")["Instances"]["Instance"]
    assert (found["InstanceId"], found["EipAddress"]["AllocationId"]) == (instance_id, first)


def test_quota_and_pool_have_an_end_and_a_token_gets_one_address(make_cloud) -> None:
    cloud: Cloud = make_cloud(quotas={"eips": 2}, public_addresses=["203.0.113.0/31"])
    once = {"ClientToken": "once"}
    assert cloud.call("AllocateEipAddress", once) == cloud.call("AllocateEipAddress", once)
    other = cloud.add_account()
    taken = cloud.call("AllocateEipAddress", {"IpAddress": "203.0.113.1"}, account_id=other, version=VPC)
    assert taken["EipAddress"] == "203.0.113.1"
    assert code_of(cloud, "AllocateEipAddress", {}, account_id=other) == "ReserveIpFail"
    cloud.call("ReleaseEipAddress", {"AllocationId": taken["AllocationId"]}, account_id=other)
    allocate(cloud)
    assert code_of(cloud, "AllocateEipAddress", {}) == "QuotaExceeded.Eip"


def test_it_is_kept_when_its_instance_is_released(cloud: Cloud) -> None:
    allocation_id, instance_id = bound(cloud)
    with cloud.store.write() as session:
        _delete_rows(session, instance_id, START)
    [row] = shown(cloud)
    assert (row["AllocationId"], row["Status"], row["InstanceId"]) == (allocation_id, "Available", "")


def test_tags(cloud: Cloud) -> None:
    allocation_id = allocate(cloud)
    params = {"ResourceType": "EIP", "ResourceId.1": allocation_id, "Tag.1.Key": "team", "Tag.1.Value": "shop"}
    cloud.call("TagResources", params, version=VPC)
    assert shown(cloud)[0]["Tags"] == {"Tag": [{"Key": "team", "Value": "shop"}]}
    cloud.call("ReleaseEipAddress", {"AllocationId": allocation_id})
    assert cloud.call("DescribeTags")["TotalCount"] == 0
