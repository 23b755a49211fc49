"""VPCs and VSwitches over the API, in both versions (SPEC N1, N2)."""

from __future__ import annotations

import threading

import pytest

from agent.api.edge.registry import ECS, VPC
from agent.core.errors import ApiError, DryRunOperation
from agent.core.ids import is_id
from agent.services import default_network
from agent.store.schema import Job, NetworkInterface, Vpc
from tests.support.cloud import Cloud

VERSIONS = pytest.mark.parametrize("version", [ECS, VPC])


def code_of(cloud: Cloud, action: str, params: dict[str, object]) -> str:
    with pytest.raises(ApiError) as caught:
        cloud.call(action, params)
    return caught.value.code


def new_vpc(cloud: Cloud, cidr: str = "192.168.0.0/16") -> str:
    return cloud.call("CreateVpc", {"CidrBlock": cidr})["VpcId"]


def new_vswitch(cloud: Cloud, vpc_id: str, cidr: str = "192.168.1.0/24") -> str:
    answer = cloud.call("CreateVSwitch", {"VpcId": vpc_id, "ZoneId": "local-a", "CidrBlock": cidr})
    return answer["VSwitchId"]


@VERSIONS
def test_a_vpc_lives_from_creation_to_deletion(cloud: Cloud, version: str) -> None:
    made = cloud.call("CreateVpc", {"VpcName": "prod", "Description": "the real one"}, version=version)
    assert is_id("vpc", made["VpcId"])
    assert is_id("vrouter", made["VRouterId"])
    assert is_id("routetable", made["RouteTableId"])
    assert cloud.runner.wakes == 1
    assert [job.resource_id for job in cloud.jobs("vpc.sync")] == [made["VpcId"]]
    [shown] = cloud.call("DescribeVpcs", {"VpcId": made["VpcId"]}, version=version)["Vpcs"]["Vpc"]
    assert (shown["CidrBlock"], shown["VpcName"], shown["Status"]) == ("172.16.0.0/12", "prod", "Available")
    assert (shown["IsDefault"], shown["CreationTime"]) == (False, "2026-11-23T07:35:12Z")
    cloud.call("ModifyVpcAttribute", {"VpcId": made["VpcId"], "VpcName": "test"}, version=version)
    attributes = cloud.call("DescribeVpcAttribute", {"VpcId": made["VpcId"]}, version=version)
    assert (attributes["VpcName"], attributes["Description"]) == ("test", "the real one")
    cloud.call("DeleteVpc", {"VpcId": made["VpcId"]}, version=version)
    assert cloud.call("DescribeVpcs", version=version)["TotalCount"] == 0
    assert [job.data for job in cloud.jobs("vpc.remove")] == [{"link": 1}]


@pytest.mark.parametrize(
    "cidr", ["192.168.0.0/16", "172.16.0.0/12", "172.31.4.0/24", "10.0.0.0/8", "192.168.255.240/28"]
)
def test_blocks_a_vpc_may_have(cloud: Cloud, cidr: str) -> None:
    assert is_id("vpc", new_vpc(cloud, cidr))


@pytest.mark.parametrize(
    "cidr", ["192.0.2.0/24", "172.0.0.0/8", "192.168.0.0/29", "192.168.0.1/16", "0.0.0.0/0", "fd00::/8", "x"]
)
def test_blocks_a_vpc_may_not_have(cloud: Cloud, cidr: str) -> None:
    assert code_of(cloud, "CreateVpc", {"CidrBlock": cidr}) == "InvalidCidrBlock.Malformed"
    assert cloud.jobs("vpc.sync") == []


def test_vpcs_with_the_same_block_live_side_by_side_with_links_of_their_own(cloud: Cloud) -> None:
    first, second = new_vpc(cloud), new_vpc(cloud)
    new_vswitch(cloud, first)
    new_vswitch(cloud, second)
    with cloud.caller() as caller:
        assert {vpc.link for vpc in caller.session.query(Vpc)} == {1, 2}


def test_a_link_is_not_given_again_before_its_router_is_gone(cloud: Cloud) -> None:
    def links() -> set[int]:
        with cloud.store.read() as session:
            return {vpc.link for vpc in session.query(Vpc)}

    first, _ = new_vpc(cloud), new_vpc(cloud)
    cloud.call("DeleteVpc", {"VpcId": first})
    new_vpc(cloud)
    assert links() == {2, 3}
    with cloud.store.write() as session:
        session.query(Job).filter_by(kind="vpc.remove").update({"state": "succeeded"})
    new_vpc(cloud)
    assert links() == {1, 2, 3}


def test_quotas_of_vpcs_and_vswitches_hold_against_many_at_once(make_cloud) -> None:
    cloud: Cloud = make_cloud(quotas={"vswitches_per_vpc": 3})
    codes: list[str] = []

    def attempt(action: str, params: dict[str, object]) -> None:
        try:
            cloud.call(action, params)
        except ApiError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=attempt, args=("CreateVpc", {"CidrBlock": "192.168.0.0/16"})) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == ["QuotaExceeded.Vpc"] * 4
    vpc_id = cloud.call("DescribeVpcs")["Vpcs"]["Vpc"][0]["VpcId"]
    for number in range(5):
        attempt("CreateVSwitch", {"VpcId": vpc_id, "ZoneId": "local-a", "CidrBlock": f"192.168.{number}.0/24"})
    assert codes[4:] == ["QuotaExceeded.VSwitch"] * 2


def test_a_dry_run_leaves_nothing(cloud: Cloud) -> None:
    with pytest.raises(DryRunOperation):
        cloud.call("CreateVpc", {"DryRun": True}, version=VPC)
    assert cloud.call("DescribeVpcs")["TotalCount"] == 0
    assert cloud.jobs("vpc.sync") == []
    assert cloud.runner.wakes == 0


def test_the_same_token_makes_one_vpc(cloud: Cloud) -> None:
    params: dict[str, object] = {"ClientToken": "once", "CidrBlock": "192.168.0.0/16"}
    assert cloud.call("CreateVpc", params) == cloud.call("CreateVpc", params)
    assert cloud.call("DescribeVpcs")["TotalCount"] == 1
    assert code_of(cloud, "CreateVpc", {**params, "CidrBlock": "10.0.0.0/8"}) == "IdempotentParameterMismatch"


@VERSIONS
def test_a_vswitch_lives_from_creation_to_deletion(cloud: Cloud, version: str) -> None:
    vpc_id = new_vpc(cloud)
    params = {"VpcId": vpc_id, "ZoneId": "local-a", "CidrBlock": "192.168.1.0/24", "VSwitchName": "web"}
    vswitch_id = cloud.call("CreateVSwitch", params, version=version)["VSwitchId"]
    assert is_id("vswitch", vswitch_id)
    [shown] = cloud.call("DescribeVSwitches", {"VpcId": vpc_id}, version=version)["VSwitches"]["VSwitch"]
    assert (shown["VSwitchId"], shown["VSwitchName"], shown["ZoneId"]) == (vswitch_id, "web", "local-a")
    assert (shown["AvailableIpAddressCount"], shown["Status"]) == (252, "Available")
    assert cloud.call("DescribeVpcs")["Vpcs"]["Vpc"][0]["VSwitchIds"] == {"VSwitchId": [vswitch_id]}
    cloud.call("ModifyVSwitchAttribute", {"VSwitchId": vswitch_id, "Description": "for web"}, version=version)
    attributes = cloud.call("DescribeVSwitchAttributes", {"VSwitchId": vswitch_id}, version=version)
    assert attributes["Description"] == "for web"
    assert attributes["RouteTable"]["RouteTableType"] == "System"
    [table] = cloud.call("DescribeRouteTables", {"RouteTableId": attributes["RouteTable"]["RouteTableId"]})[
        "RouteTables"
    ]["RouteTable"]
    assert [entry["DestinationCidrBlock"] for entry in table["RouteEntrys"]["RouteEntry"]] == [
        "192.168.1.0/24",
        "100.64.0.0/10",
    ]
    cloud.call("DeleteVSwitch", {"VSwitchId": vswitch_id}, version=version)
    assert cloud.call("DescribeVSwitches")["TotalCount"] == 0


def test_vswitches_must_fit_and_not_overlap(cloud: Cloud) -> None:
    vpc_id = new_vpc(cloud)
    new_vswitch(cloud, vpc_id, "192.168.0.0/20")

    def code(cidr: str, **other: object) -> str:
        params = {"VpcId": vpc_id, "ZoneId": "local-a", "CidrBlock": cidr, **other}
        return code_of(cloud, "CreateVSwitch", params)

    assert code("192.168.15.0/24") == "InvalidCidrBlock.Overlapped"
    assert code("192.168.0.0/16") == "InvalidCidrBlock.Overlapped"
    assert code("192.168.16.0/30") == "InvalidCidrBlock.Malformed"
    assert code("10.0.0.0/24") == "InvalidCidrBlock.Malformed"
    assert code("192.168.16.0/24", ZoneId="other") == "InvalidZoneId.NotFound"
    assert code("192.168.16.0/24", VpcId="vpc-none") == "InvalidVpcID.NotFound"
    assert code("192.168.16.0/24", VSwitchName="http://x") == "InvalidVSwitchName.Malformed"
    assert is_id("vswitch", new_vswitch(cloud, vpc_id, "192.168.16.0/24"))


def test_nothing_in_use_is_deleted(cloud: Cloud) -> None:
    vpc_id, vswitch_id = cloud.default_vswitch()
    assert code_of(cloud, "DeleteVpc", {"VpcId": vpc_id}) == "DependencyViolation"
    group = cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"]
    cloud.add_instance(vswitch_id, [group])
    assert code_of(cloud, "DeleteVSwitch", {"VSwitchId": vswitch_id}) == "DependencyViolation"
    with cloud.store.write() as session:
        session.delete(session.query(NetworkInterface).one())
    cloud.call("DeleteVSwitch", {"VSwitchId": vswitch_id})
    assert code_of(cloud, "DeleteVpc", {"VpcId": vpc_id}) == "DependencyViolation"
    cloud.call("DeleteSecurityGroup", {"SecurityGroupId": group})
    cloud.call("DeleteVpc", {"VpcId": vpc_id})  # with the system's own group
    assert cloud.call("DescribeSecurityGroups")["TotalCount"] == 0


def test_the_default_network_is_made_once(cloud: Cloud) -> None:
    vpc_id, vswitch_id = cloud.default_vswitch()
    assert cloud.default_vswitch() == (vpc_id, vswitch_id)
    [shown] = cloud.call("DescribeVpcs", {"IsDefault": True})["Vpcs"]["Vpc"]
    assert (shown["CidrBlock"], shown["VpcName"]) == ("172.16.0.0/16", "default")
    [vswitch] = cloud.call("DescribeVSwitches", {"IsDefault": True})["VSwitches"]["VSwitch"]
    assert (vswitch["CidrBlock"], vswitch["AvailableIpAddressCount"]) == ("172.16.0.0/20", 4092)
    cloud.call("DeleteVSwitch", {"VSwitchId": vswitch_id})
    cloud.call("DeleteVpc", {"VpcId": vpc_id})
    with cloud.caller() as caller:  # the next start of the agent
        assert default_network.ensure_default_network(caller) is None
    assert cloud.call("DescribeVpcs")["TotalCount"] == 0


@pytest.mark.parametrize(
    ("action", "parameter"),
    [
        ("DescribeVpcAttribute", "VpcId"),
        ("ModifyVpcAttribute", "VpcId"),
        ("DeleteVpc", "VpcId"),
        ("DescribeVSwitchAttributes", "VSwitchId"),
        ("ModifyVSwitchAttribute", "VSwitchId"),
        ("DeleteVSwitch", "VSwitchId"),
    ],
)
def test_accounts_do_not_see_each_other(cloud: Cloud, action: str, parameter: str) -> None:
    vpc_id, vswitch_id = cloud.default_vswitch()
    other = cloud.add_account()
    with pytest.raises(ApiError) as caught:
        cloud.call(action, {parameter: vpc_id if parameter == "VpcId" else vswitch_id}, account_id=other)
    assert caught.value.status == 404
    assert cloud.call("DescribeVpcs", account_id=other)["TotalCount"] == 0
    assert cloud.call("DescribeVSwitches", account_id=other)["TotalCount"] == 0


def test_lists_filter_by_several_ids_name_and_tags(cloud: Cloud) -> None:
    ids = [
        cloud.call("CreateVpc", {"VpcName": name, "Tag.1.Key": "env", "Tag.1.Value": name}, version=VPC)["VpcId"]
        for name in ("one", "two", "three")
    ]

    def listed(**params: object) -> list[str]:
        params = {name.replace("_", "."): value for name, value in params.items()}
        return [vpc["VpcName"] for vpc in cloud.call("DescribeVpcs", params, version=VPC)["Vpcs"]["Vpc"]]

    assert set(listed(VpcId=f"{ids[0]},{ids[2]}")) == {"one", "three"}
    assert listed(VpcName="two") == ["two"]
    assert set(listed(VpcName="t*")) == {"two", "three"}
    assert listed(Tag_1_Key="env", Tag_1_Value="three") == ["three"]
    assert len(listed(Tag_1_Key="ENV")) == 3
    assert len(listed(PageSize=2)) == 2
    shown = cloud.call("DescribeVpcs", {"VpcId": ids[0]}, version=VPC)["Vpcs"]["Vpc"][0]
    assert shown["Tags"] == {"Tag": [{"Key": "env", "Value": "one"}]}


def test_what_is_not_offered_is_refused_not_ignored(cloud: Cloud) -> None:
    assert code_of(cloud, "CreateVpc", {"UserCidr": "10.1.0.0/16"}) == "UnsupportedParameter"
    assert code_of(cloud, "CreateVpc", {"EnableIpv6": True}) == "UnsupportedParameter"
    vpc_id = new_vpc(cloud)
    for action, params in (
        ("CreateVpc", {"Ipv4IpamPoolId": "ipam-1", "Ipv4CidrMask": 16}),
        ("CreateVpc", {"Ipv6CidrBlock": "fd00::/56"}),
        ("ModifyVpcAttribute", {"VpcId": vpc_id, "EnableIPv6": True}),
        ("CreateVSwitch", {"VpcId": vpc_id, "ZoneId": "local-a", "CidrBlock": "192.168.0.0/24", "CidrMask": 24}),
    ):
        assert code_of(cloud, action, params) == "UnsupportedParameter", params
    new_vswitch(cloud, vpc_id)
    assert code_of(cloud, "DeleteVpc", {"VpcId": vpc_id, "ForceDelete": True}) == "DependencyViolation"
