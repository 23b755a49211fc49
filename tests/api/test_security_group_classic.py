"""Security groups of the classic network, and their peers of other accounts (SPEC F1, F2, F4)."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.errors import ApiError
from tests.support.cloud import Cloud

ALL: dict[str, object] = {"IpProtocol": "all", "PortRange": "-1/-1"}


def create(cloud: Cloud, name: str, account_id: str = "") -> str:
    params: dict[str, object] = {"NetworkType": "classic", "SecurityGroupName": name}
    return str(cloud.call("CreateSecurityGroup", params, account_id=account_id)["SecurityGroupId"])


@pytest.fixture
def group(cloud: Cloud) -> str:
    cloud.default_vswitch()
    return create(cloud, "shared")


def rules(cloud: Cloud, group: str, account_id: str = "", **params: object) -> list[dict[str, Any]]:
    answer = cloud.call("DescribeSecurityGroupAttribute", {"SecurityGroupId": group, **params}, account_id=account_id)
    found: list[dict[str, Any]] = answer["Permissions"]["Permission"]
    return found


def refused(cloud: Cloud, group: str, way: str = "", **params: object) -> str:
    with pytest.raises(ApiError) as caught:
        cloud.call(f"AuthorizeSecurityGroup{way}", {"SecurityGroupId": group, **ALL, **params})
    return caught.value.code


def test_it_is_shown_without_a_vpc_and_found_by_its_network_type(cloud: Cloud, group: str) -> None:
    def listed(**params: object) -> set[str]:
        answer = cloud.call("DescribeSecurityGroups", params)
        return {one["SecurityGroupName"] for one in answer["SecurityGroups"]["SecurityGroup"]}

    [shown] = cloud.call("DescribeSecurityGroups", {"SecurityGroupId": group})["SecurityGroups"]["SecurityGroup"]
    assert shown["VpcId"] == ""
    assert cloud.call("DescribeSecurityGroupAttribute", {"SecurityGroupId": group})["VpcId"] == ""
    assert listed() == {"default", "shared"}
    assert listed(NetworkType="classic") == {"shared"}
    assert listed(NetworkType="vpc") == {"default"}
    assert listed(VpcId="vpc-classic") == set()
    for params, code in (
        ({"NetworkType": "token-ring"}, "InvalidParameter"),
        ({"NetworkType": "classic", "VpcId": cloud.default_vswitch()[0]}, "InvalidParameter.Conflict"),
        ({"VpcId": "vpc-classic"}, "InvalidVpcId.NotFound"),
    ):
        with pytest.raises(ApiError) as caught:
            cloud.call("CreateSecurityGroup", dict(params))
        assert caught.value.code == code


def test_the_internet_is_meant_where_no_nic_type_is_said(cloud: Cloud, group: str) -> None:
    ssh = {"SecurityGroupId": group, "IpProtocol": "tcp", "PortRange": "22/22", "SourceCidrIp": "0.0.0.0/0"}
    cloud.call("AuthorizeSecurityGroup", dict(ssh))
    single = {**ssh, "SourceCidrIp": "10.1.2.3", "NicType": "intranet"}
    cloud.call("AuthorizeSecurityGroup", dict(single))
    cloud.call("AuthorizeSecurityGroup", {**single, "NicType": "internet"})
    assert sorted(one["NicType"] for one in rules(cloud, group)) == ["internet", "internet", "intranet"]
    assert len(rules(cloud, group, NicType="internet")) == 2
    cloud.call("RevokeSecurityGroup", {**single, "NicType": "internet"})
    cloud.call("RevokeSecurityGroup", dict(ssh))
    [left] = rules(cloud, group)
    assert (left["NicType"], left["SourceCidrIp"]) == ("intranet", "10.1.2.3")
    changed = {"SecurityGroupId": group, "SecurityGroupRuleId": left["SecurityGroupRuleId"], "NicType": "internet"}
    cloud.call("ModifySecurityGroupRule", {**changed, "SourceCidrIp": "10.0.0.0/8"})
    [left] = rules(cloud, group)
    assert (left["NicType"], left["SourceCidrIp"]) == ("internet", "10.0.0.0/8")


def test_intranet_peers_by_address_are_single_ones(cloud: Cloud, group: str) -> None:
    inwards = {"NicType": "intranet", "SourceCidrIp": "10.1.2.0/24"}
    assert refused(cloud, group, **inwards) == "InvalidSourceCidrIp.Malformed"
    assert refused(cloud, group, **{**inwards, "Policy": "drop"}) == "InvalidSourceCidrIp.Malformed"
    cloud.call("AuthorizeSecurityGroup", {"SecurityGroupId": group, **ALL, **inwards, "SourceCidrIp": "10.1.2.3/32"})
    outwards = {"SecurityGroupId": group, **ALL, "NicType": "intranet", "DestCidrIp": "10.0.0.0/8"}
    cloud.call("AuthorizeSecurityGroupEgress", outwards)
    assert len(rules(cloud, group)) == 2


def test_peers_of_another_account_are_named_with_their_owner(cloud: Cloud, group: str) -> None:
    other = cloud.add_account()
    theirs = create(cloud, "theirs", other)
    peer = {"SourceGroupId": theirs, "NicType": "intranet"}
    assert refused(cloud, group, **peer) == "InvalidSourceGroupId.NotFound"
    assert refused(cloud, group, **peer, SourceGroupOwnerId="1") == "InvalidSourceGroupId.NotFound"
    assert refused(cloud, group, **peer, SourceGroupOwnerAccount="nobody") == "InvalidSourceGroupId.NotFound"
    assert refused(cloud, group, SourceGroupId=theirs, SourceGroupOwnerId=other) == "InvalidSourceGroupId.Mismatch"
    named = {"SecurityGroupId": group, **ALL, **peer, "SourceGroupOwnerAccount": f"account {other}"}
    cloud.call("AuthorizeSecurityGroup", dict(named))
    cloud.call("AuthorizeSecurityGroup", {**named, "SourceGroupOwnerAccount": "", "SourceGroupOwnerId": other})
    [rule] = rules(cloud, group)
    assert (rule["SourceGroupId"], rule["SourceGroupOwnerAccount"], rule["SourceGroupName"]) == (theirs, other, "")
    cloud.call(
        "ModifySecurityGroupRule",
        {"SecurityGroupId": group, "SecurityGroupRuleId": rule["SecurityGroupRuleId"], "Priority": 7},
    )
    assert rules(cloud, group) == [rule | {"Priority": "7"}]
    # Its owner learns who names it, and keeps it until the rule is gone.
    asked = {"SecurityGroupId.1": theirs}
    [found] = cloud.call("DescribeSecurityGroupReferences", asked, account_id=other)["SecurityGroupReferences"][
        "SecurityGroupReference"
    ]
    assert found["ReferencingSecurityGroups"]["ReferencingSecurityGroup"] == [
        {"AliUid": cloud.account_id, "SecurityGroupId": group}
    ]
    with pytest.raises(ApiError) as caught:
        cloud.call("DeleteSecurityGroup", {"SecurityGroupId": theirs}, account_id=other)
    assert caught.value.code == "DependencyViolation"
    cloud.call("RevokeSecurityGroup", dict(named))
    cloud.call("DeleteSecurityGroup", {"SecurityGroupId": theirs}, account_id=other)


def test_groups_of_vpcs_are_met_in_their_own_vpc_only(cloud: Cloud, group: str) -> None:
    """Nobody learns whether another account has a group in some VPC."""
    other = cloud.add_account()
    vpc_id = cloud.call("CreateVpc", account_id=other)["VpcId"]
    theirs = cloud.call("CreateSecurityGroup", {"VpcId": vpc_id}, account_id=other)["SecurityGroupId"]
    own = cloud.call("CreateSecurityGroup")["SecurityGroupId"]
    classic = create(cloud, "theirs", other)
    for mine in (group, own):
        peer = {"SourceGroupId": theirs, "SourceGroupOwnerId": other, "NicType": "intranet"}
        assert refused(cloud, mine, **peer) == "InvalidSourceGroupId.NotFound"
    foreign = {"SourceGroupId": classic, "SourceGroupOwnerId": other, "NicType": "intranet"}
    assert refused(cloud, own, **foreign) == "InvalidSourceGroupId.NotFound"
    assert refused(cloud, own, SourceGroupId=group) == "InvalidSourceGroupId.Mismatch"
