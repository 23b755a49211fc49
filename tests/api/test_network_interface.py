"""Network interfaces, their addresses, and instances that move between networks, over the API (SPEC N2)."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import select

from agent.api.edge.registry import VPC
from agent.core.errors import ApiError
from agent.jobs.translate_network import port_spec
from agent.store.schema import Instance, NetworkInterface, PublicAddress, SecondaryAddress
from tests.support.cloud import START, Cloud


class One:
    """An instance in a small VSwitch of the default VPC, and calls about its interface."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.vpc_id, _ = cloud.default_vswitch()
        self.group = cloud.call("CreateSecurityGroup", {"VpcId": self.vpc_id})["SecurityGroupId"]
        self.vswitch_id = self.new_vswitch(self.vpc_id, "172.16.100.0/28")
        self.instance_id = cloud.add_instance(self.vswitch_id, [self.group])
        [interface] = cloud.interfaces()
        self.id, self.mac = interface.id, interface.mac

    def new_vswitch(self, vpc_id: str, cidr: str) -> str:
        params = {"VpcId": vpc_id, "ZoneId": "local-a", "CidrBlock": cidr}
        return self.cloud.call("CreateVSwitch", params)["VSwitchId"]

    def assign(self, *ips: str, count: int | None = None) -> list[str]:
        params: dict[str, object] = {f"PrivateIpAddress.{n}": ip for n, ip in enumerate(ips, 1)}
        if count is not None:
            params["SecondaryPrivateIpAddressCount"] = count
        answer = self.cloud.call("AssignPrivateIpAddresses", {"NetworkInterfaceId": self.id} | params)
        return answer["AssignedPrivateIpAddressesSet"]["PrivateIpSet"]["PrivateIpAddress"]

    def unassign(self, *ips: str) -> None:
        params: dict[str, object] = {f"PrivateIpAddress.{n}": ip for n, ip in enumerate(ips, 1)}
        self.cloud.call("UnassignPrivateIpAddresses", {"NetworkInterfaceId": self.id} | params)

    def move(self, vswitch_id: str, **params: object) -> None:
        given = {"InstanceId": self.instance_id, "VSwitchId": vswitch_id} | params
        self.cloud.call("ModifyInstanceVpcAttribute", given)

    def stop(self) -> None:
        with self.cloud.store.write() as session:
            session.get_one(Instance, self.instance_id).status = "Stopped"

    def shown(self) -> dict[str, Any]:
        answer = self.cloud.call("DescribeNetworkInterfaces", {"InstanceId": self.instance_id})
        [shown] = answer["NetworkInterfaceSets"]["NetworkInterfaceSet"]
        return shown

    def bind(self, private_ip: str | None) -> None:
        """A public address, as far as the store knows."""
        with self.cloud.store.write() as session:
            session.add(
                PublicAddress(
                    id="eip-1",
                    account_id=self.cloud.account_id,
                    kind="eip",
                    ip="100.125.0.9",
                    bandwidth_mbps=5,
                    interface_id=self.id,
                    private_ip=private_ip,
                    created_at=START,
                )
            )


@pytest.fixture
def one(cloud: Cloud) -> One:
    return One(cloud)


def code_of(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(ApiError) as caught:
        call(*arguments, **named)
    return caught.value.code


def test_further_addresses_come_and_go_live(cloud: Cloud, one: One) -> None:
    assert one.assign("172.16.100.7") == ["172.16.100.7"]
    job = cloud.jobs("interface.sync")[-1]
    assert (job.lock, job.resource_id, cloud.runner.waited) == (one.instance_id, one.id, [job.id])
    assert one.assign(count=2) == ["172.16.100.2", "172.16.100.3"]
    cloud.add_instance(one.vswitch_id, [])
    assert "172.16.100.4" in {each.ip for each in cloud.interfaces()}
    with cloud.store.read() as session:
        port = port_spec(session.get_one(Instance, one.instance_id), session.get_one(NetworkInterface, one.id))
    assert set(port.secondary_ips) == {"172.16.100.7", "172.16.100.2", "172.16.100.3"}
    sets = one.shown()["PrivateIpSets"]["PrivateIpSet"]
    assert [each["PrivateIpAddress"] for each in sets if each["Primary"]] == ["172.16.100.1"]
    assert len(sets) == 4
    [listed] = cloud.call("DescribeInstances", {"PrivateIpAddresses": '["172.16.100.1"]'})["Instances"]["Instance"]
    assert len(listed["NetworkInterfaces"]["NetworkInterface"][0]["PrivateIpSets"]["PrivateIpSet"]) == 4
    [vswitch] = cloud.call("DescribeVSwitches", {"VSwitchId": one.vswitch_id})["VSwitches"]["VSwitch"]
    assert vswitch["AvailableIpAddressCount"] == 12 - 5
    one.unassign("172.16.100.7", "172.16.100.2")
    assert [each["PrivateIpAddress"] for each in one.shown()["PrivateIpSets"]["PrivateIpSet"]] == [
        "172.16.100.1",
        "172.16.100.3",
    ]


def test_addresses_that_cannot_be_assigned(make_cloud: Any) -> None:
    one = One(make_cloud(quotas={"secondary_ips_per_interface": 3}))
    one.assign("172.16.100.5")
    for ips, code in {
        ("172.16.100.1",): "InvalidIPAddress.AlreadyUsed",  # its own primary one
        ("172.16.100.5",): "InvalidIPAddress.AlreadyUsed",
        ("172.16.100.6", "172.16.100.6"): "InvalidIp.IpRepeated",
        ("172.16.100.13",): "InvalidPrivateIpAddress",
        ("10.0.0.1",): "InvalidPrivateIpAddress",
        ("172.16.100.6", "172.16.100.7", "172.16.100.8"): "SecondaryPrivateIpCountLimitExceeded",
        (): "MissingParameter",
    }.items():
        assert (ips, code_of(one.assign, *ips)) == (ips, code)
    assert code_of(one.assign, "172.16.100.6", count=1) == "InvalidParameter"
    assert code_of(one.cloud.add_instance, one.vswitch_id, [], ip="172.16.100.5") == "InvalidIPAddress.AlreadyUsed"
    assert len(one.shown()["PrivateIpSets"]["PrivateIpSet"]) == 2  # all or none
    assert code_of(one.unassign, "172.16.100.5", "172.16.100.1") == "InvalidIp.IpUnassigned"
    one.bind("172.16.100.5")
    assert code_of(one.unassign, "172.16.100.5") == "InvalidOperation.EipBound"
    assert len(one.shown()["PrivateIpSets"]["PrivateIpSet"]) == 2
    with one.cloud.store.write() as session:
        session.get_one(Instance, one.instance_id).status = "Starting"
    assert code_of(one.assign, count=1) == "IncorrectInstanceStatus"


def test_a_full_vswitch_has_no_further_addresses(one: One) -> None:
    assert code_of(one.assign, count=12) == "QuotaExceeded.PrivateIpAddress"
    assert len(one.assign(count=11)) == 11


def test_many_at_once_never_get_the_same_address(cloud: Cloud, one: One) -> None:
    """Chosen, automatic and further ones: over the API, each in a transaction of its own."""
    cloud.add_image()
    run: dict[str, object] = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small", "VSwitchId": one.vswitch_id}
    chosen: dict[str, object] = {**run, "PrivateIpAddress": "172.16.100.3"}
    codes: list[str] = []

    def attempt(call: Any, *arguments: Any, **named: Any) -> None:
        try:
            call(*arguments, **named)
        except ApiError as error:
            codes.append(error.code)

    work = [(cloud.call, "RunInstances", params) for params in (run, chosen, run, chosen, run)]
    threads = [threading.Thread(target=attempt, args=each) for each in work]
    threads += [threading.Thread(target=attempt, args=(one.assign,), kwargs={"count": 2}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with cloud.store.read() as session:
        given = [*session.scalars(select(NetworkInterface.ip)), *session.scalars(select(SecondaryAddress.ip))]
    assert set(codes) == {"InvalidIPAddress.AlreadyUsed"}
    assert len(given) == len(set(given)) == 1 + 5 + 3 * 2 - len(codes)
    assert len(codes) in (1, 2)  # both lose when an automatic one was given it first


def test_interfaces_are_described_and_filtered(cloud: Cloud, one: One) -> None:
    one.assign("172.16.100.9")
    one.bind("172.16.100.9")
    other = cloud.add_instance(one.vswitch_id, [])

    def listed(**params: object) -> set[str]:
        given = {name.replace("_", "."): value for name, value in params.items()}
        found = cloud.call("DescribeNetworkInterfaces", given)["NetworkInterfaceSets"]["NetworkInterfaceSet"]
        return {each["InstanceId"] for each in found}

    both = {one.instance_id, other}
    assert listed() == listed(VpcId=one.vpc_id) == listed(VSwitchId=one.vswitch_id) == listed(Status="InUse") == both
    for params in (
        {"NetworkInterfaceId_1": one.id},
        {"InstanceId": one.instance_id},
        {"SecurityGroupId": one.group},
        {"PrimaryIpAddress": "172.16.100.1"},
        {"PrivateIpAddress_1": "172.16.100.9"},
    ):
        assert listed(**params) == {one.instance_id}, params
    for params in ({"Type": "Secondary"}, {"Status": "Available"}, {"Tag_1_Key": "x"}, {"NetworkInterfaceName": "x"}):
        assert listed(**params) == set(), params
    shown = one.shown()
    assert (shown["MacAddress"], shown["Type"], shown["SourceDestCheck"]) == (one.mac, "Primary", True)
    assert shown["AssociatedPublicIp"] == {}
    assert shown["PrivateIpSets"]["PrivateIpSet"][1]["AssociatedPublicIp"] == {
        "PublicIpAddress": "100.125.0.9",
        "AllocationId": "eip-1",
    }
    route = {"NextHopId": one.instance_id, "DestinationCidrBlock": "10.0.0.0/8"}
    [table] = cloud.call("DescribeRouteTables", {"VpcId": one.vpc_id}, version=VPC)["RouteTables"]["RouteTable"]
    cloud.call("CreateRouteEntry", route | {"RouteTableId": table["RouteTableId"]})
    assert one.shown()["SourceDestCheck"] is False
    stranger = cloud.add_account()
    assert cloud.call("DescribeNetworkInterfaces", account_id=stranger)["TotalCount"] == 0
    params = {"NetworkInterfaceId": one.id, "SecondaryPrivateIpAddressCount": 1}
    assert code_of(cloud.call, "AssignPrivateIpAddresses", params, account_id=stranger) == "InvalidEniId.NotFound"


def test_an_instance_moves_within_its_vpc(cloud: Cloud, one: One) -> None:
    target = one.new_vswitch(one.vpc_id, "172.16.101.0/24")
    assert code_of(one.move, target) == "IncorrectInstanceStatus"
    one.stop()
    one.move(target)
    shown = one.shown()
    assert (shown["VSwitchId"], shown["PrivateIpAddress"], shown["MacAddress"]) == (target, "172.16.101.1", one.mac)
    one.move(target, PrivateIpAddress="172.16.101.77")
    assert one.shown()["PrivateIpAddress"] == "172.16.101.77"
    one.move(target)  # nothing to change
    assert one.shown()["PrivateIpAddress"] == "172.16.101.77"
    assert one.shown()["SecurityGroupIds"]["SecurityGroupId"] == [one.group]
    assert code_of(one.move, target, PrivateIpAddress="172.16.100.1") == "InvalidPrivateIpAddress"
    assert code_of(one.move, target, **{"SecurityGroupId.1": one.group}) == "InvalidParameter"


def test_an_instance_moves_to_another_vpc_with_groups_of_it(cloud: Cloud, one: One) -> None:
    vpc_id = cloud.call("CreateVpc", {"CidrBlock": "172.16.0.0/12"})["VpcId"]
    target = one.new_vswitch(vpc_id, "172.16.100.0/24")  # the same addresses
    cloud.add_instance(target, [], ip="172.16.100.1")
    group = cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"]
    one.stop()
    there = {"VpcId": vpc_id, "SecurityGroupId.1": group}
    assert code_of(one.move, target) == "InvalidVSwitchId.Mismatch"
    assert code_of(one.move, target, VpcId=vpc_id) == "MissingParameter"
    assert code_of(one.move, target, **there | {"SecurityGroupId.1": one.group}) == "InvalidInstanceId.Mismatch"
    one.assign(count=1)
    assert code_of(one.move, target, **there) == "InvalidOperation.MultipleIps"
    one.unassign("172.16.100.2")
    one.move(target, **there)
    shown = one.shown()
    assert (shown["VpcId"], shown["PrivateIpAddress"]) == (vpc_id, "172.16.100.2")
    assert shown["SecurityGroupIds"]["SecurityGroupId"] == [group]
    assert {job.resource_id for job in cloud.jobs("vpc.sync")[-2:]} == {one.vpc_id, vpc_id}


def test_the_next_hop_of_a_route_stays_in_its_vpc(cloud: Cloud, one: One) -> None:
    [table] = cloud.call("DescribeRouteTables", {"VpcId": one.vpc_id}, version=VPC)["RouteTables"]["RouteTable"]
    params = {"RouteTableId": table["RouteTableId"], "DestinationCidrBlock": "10.0.0.0/8"}
    cloud.call("CreateRouteEntry", params | {"NextHopId": one.instance_id})
    vpc_id = cloud.call("CreateVpc", {"CidrBlock": "192.168.0.0/16"})["VpcId"]
    target = one.new_vswitch(vpc_id, "192.168.0.0/24")
    group = cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"]
    one.stop()
    there = {"VpcId": vpc_id, "SecurityGroupId.1": group}
    assert code_of(one.move, target, **there) == "InvalidOperation.RouteEntryExists"
    one.move(one.new_vswitch(one.vpc_id, "172.16.101.0/24"))  # the route follows within the VPC


def test_whether_a_vswitch_goes_out_by_the_host(cloud: Cloud, one: One) -> None:
    def nat() -> bool:
        [shown] = cloud.call("DescribeVSwitches", {"VSwitchId": one.vswitch_id})["VSwitches"]["VSwitch"]
        return shown["Nat"]

    assert nat()
    before = len(cloud.runner.waited)
    cloud.call("ModifyVSwitchAttribute", {"VSwitchId": one.vswitch_id, "Nat": False})
    assert not nat()
    cloud.call("ModifyVSwitchAttribute", {"VSwitchId": one.vswitch_id, "Nat": False, "VSwitchName": "inner"})
    assert len(cloud.runner.waited) == before + 1
