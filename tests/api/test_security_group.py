"""Security groups and their rules over the API (SPEC F1, F2, F4)."""

from __future__ import annotations

import threading

import pytest

from agent.core.errors import ApiError
from agent.core.ids import is_id
from tests.support.cloud import Cloud

SSH: dict[str, object] = {"IpProtocol": "tcp", "PortRange": "22/22", "SourceCidrIp": "10.0.0.0/8"}


@pytest.fixture
def group(cloud: Cloud) -> str:
    vpc_id, _ = cloud.default_vswitch()
    return cloud.call("CreateSecurityGroup", {"VpcId": vpc_id, "SecurityGroupName": "web"})["SecurityGroupId"]


def code_of(cloud: Cloud, action: str, params: dict[str, object]) -> str:
    with pytest.raises(ApiError) as caught:
        cloud.call(action, params)
    return caught.value.code


def rules(cloud: Cloud, group: str, **params: object) -> list[dict[str, str]]:
    answer = cloud.call("DescribeSecurityGroupAttribute", {"SecurityGroupId": group, **params})
    return answer["Permissions"]["Permission"]


def authorize(cloud: Cloud, group: str, way: str = "", **params: object) -> None:
    cloud.call(f"AuthorizeSecurityGroup{way}", {"SecurityGroupId": group, **params})


def test_a_group_lives_from_creation_to_deletion(cloud: Cloud, group: str) -> None:
    assert is_id("securitygroup", group)
    assert rules(cloud, group) == []  # everything out, nothing in: no rule says so
    cloud.call("ModifySecurityGroupAttribute", {"SecurityGroupId": group, "Description": "for web"})
    [shown] = cloud.call("DescribeSecurityGroups", {"SecurityGroupId": group})["SecurityGroups"]["SecurityGroup"]
    assert (shown["SecurityGroupName"], shown["Description"]) == ("web", "for web")
    assert (shown["EcsCount"], shown["AvailableInstanceAmount"], shown["RuleCount"]) == (0, 1000, 0)
    cloud.call("DeleteSecurityGroup", {"SecurityGroupId": group})
    assert code_of(cloud, "DeleteSecurityGroup", {"SecurityGroupId": group}) == "InvalidSecurityGroupId.NotFound"


def test_without_a_vpc_the_default_one_is_meant(cloud: Cloud) -> None:
    assert code_of(cloud, "CreateSecurityGroup", {}) == "MissingParameter"
    vpc_id, _ = cloud.default_vswitch()
    made = cloud.call("CreateSecurityGroup")["SecurityGroupId"]
    assert cloud.call("DescribeSecurityGroupAttribute", {"SecurityGroupId": made})["VpcId"] == vpc_id
    assert code_of(cloud, "CreateSecurityGroup", {"VpcId": "vpc-x"}) == "InvalidVpcId.NotFound"


def test_the_systems_group_has_the_guides_rules_at_priority_110(cloud: Cloud) -> None:
    cloud.default_vswitch()
    [shown] = cloud.call("DescribeSecurityGroups", {"SecurityGroupName": "default"})["SecurityGroups"]["SecurityGroup"]
    found = rules(cloud, shown["SecurityGroupId"])
    assert {rule["Priority"] for rule in found} == {"110"}
    opened = {(r["Direction"], r["IpProtocol"], r["PortRange"], r["SourceCidrIp"] or r["DestCidrIp"]) for r in found}
    assert opened == {
        ("ingress", "ICMP", "-1/-1", "0.0.0.0/0"),
        ("ingress", "TCP", "22/22", "0.0.0.0/0"),
        ("ingress", "TCP", "3389/3389", "0.0.0.0/0"),
        ("ingress", "ALL", "-1/-1", "172.16.0.0/16"),
        ("egress", "ALL", "-1/-1", "0.0.0.0/0"),
    }


def test_a_rule_is_shown_with_every_field_and_in_force_when_answered(cloud: Cloud, group: str) -> None:
    authorize(cloud, group, **SSH, Priority=5, Policy="Drop", NicType="intranet", Description="no ssh")
    assert cloud.runner.waited == [cloud.jobs("vpc.filter")[-1].id]
    [rule] = rules(cloud, group)
    assert is_id("securitygrouprule", rule.pop("SecurityGroupRuleId"))
    assert {name: value for name, value in rule.items() if value} == {
        "Direction": "ingress",
        "Policy": "Drop",
        "IpProtocol": "TCP",
        "PortRange": "22/22",
        "NicType": "intranet",
        "Priority": "5",
        "SourceCidrIp": "10.0.0.0/8",
        "Description": "no ssh",
        "CreateTime": "2026-11-23T07:35:12Z",
    }


def test_several_rules_at_once_and_the_same_again_changes_nothing(cloud: Cloud, group: str) -> None:
    params = {f"Permissions.{n}.{name}": value for n in (1, 2) for name, value in SSH.items()}
    params |= {"Permissions.2.IpProtocol": "UDP", "Permissions.2.PortRange": "1/65535"}
    authorize(cloud, group, **params)
    authorize(cloud, group, **params)
    authorize(cloud, group, **SSH, Description="the same rule")
    assert sorted(rule["IpProtocol"] for rule in rules(cloud, group)) == ["TCP", "UDP"]
    mixed = {"SecurityGroupId": group, **params, **SSH}
    assert code_of(cloud, "AuthorizeSecurityGroup", mixed) == "InvalidParameter"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"IpProtocol": "sctp"}, "InvalidIpProtocol.ValueNotSupported"),
        ({"IpProtocol": ""}, "MissingParameter"),
        ({"PortRange": "22"}, "InvalidIpPortRange.Malformed"),
        ({"PortRange": "23/22"}, "InvalidIpPortRange.Malformed"),
        ({"PortRange": "0/22"}, "InvalidIpPortRange.Malformed"),
        ({"PortRange": "1/65536"}, "InvalidIpPortRange.Malformed"),
        ({"PortRange": "-1/-1"}, "InvalidIpPortRange.Malformed"),
        ({"PortRange": ""}, "MissingParameter"),
        ({"IpProtocol": "icmp"}, "InvalidIpPortRange.Malformed"),
        ({"IpProtocol": "all"}, "InvalidIpPortRange.Malformed"),
        ({"Policy": "reject"}, "InvalidPolicy.Malformed"),
        ({"NicType": "wlan"}, "InvalidNicType.ValueNotSupported"),
        ({"Priority": "first"}, "InvalidPriority.Malformed"),
        ({"Priority": "0"}, "InvalidPriority.ValueNotSupported"),
        ({"Priority": "101"}, "InvalidPriority.ValueNotSupported"),
        ({"Priority": "110"}, "InvalidPriority.ValueNotSupported"),
        ({"SourceCidrIp": "10.0.0.1/8"}, "InvalidSourceCidrIp.Malformed"),
        ({"SourceCidrIp": "fd00::/8"}, "InvalidSourceCidrIp.Malformed"),
        ({"SourceCidrIp": ""}, "MissingParameter.Source"),
        ({"SourceCidrIp": "", "SourceGroupId": "sg-none"}, "InvalidSourceGroupId.NotFound"),
        ({"Description": "x"}, "InvalidSecurityGroupDiscription.Malformed"),
        ({"SourcePortRange": "1/2"}, "UnsupportedParameter"),
        ({"DestCidrIp": "10.0.0.0/8"}, "UnsupportedParameter"),
        ({"DestGroupId": "sg-none"}, "UnsupportedParameter"),
        ({"SecurityGroupId": "sg-none"}, "InvalidSecurityGroupId.NotFound"),
    ],
)
def test_wrong_rules_are_refused_and_nothing_is_added(
    cloud: Cloud, group: str, wrong: dict[str, object], code: str
) -> None:
    assert code_of(cloud, "AuthorizeSecurityGroup", {"SecurityGroupId": group, **SSH, **wrong}) == code
    good = {f"Permissions.1.{name}": value for name, value in SSH.items()}
    bad = {f"Permissions.2.{n}": value for n, value in (SSH | wrong).items() if n != "SecurityGroupId"}
    if "SecurityGroupId" not in wrong:
        assert code_of(cloud, "AuthorizeSecurityGroup", {"SecurityGroupId": group, **good, **bad}) == code
    assert rules(cloud, group) == []


def test_peers_are_other_groups_of_the_same_vpc_and_account(cloud: Cloud, group: str) -> None:
    vpc_id, _ = cloud.default_vswitch()
    peer = cloud.call("CreateSecurityGroup", {"VpcId": vpc_id, "SecurityGroupName": "db"})["SecurityGroupId"]
    params = {"IpProtocol": "all", "PortRange": "-1/-1"}
    authorize(cloud, group, **params, SourceGroupId=peer, SourceGroupOwnerId=cloud.account_id)
    authorize(cloud, group, "Egress", **params, DestGroupId=peer)
    inwards, outwards = rules(cloud, group)
    assert (inwards["SourceGroupId"], inwards["SourceGroupName"]) == (peer, "db")
    assert (inwards["SourceCidrIp"], inwards["DestGroupId"]) == ("", "")
    assert (outwards["Direction"], outwards["DestGroupId"], outwards["SourceGroupId"]) == ("egress", peer, "")
    both = cloud.call("DescribeSecurityGroups", {"SecurityGroupId": group})["SecurityGroups"]["SecurityGroup"][0]
    assert (both["RuleCount"], both["GroupToGroupRuleCount"]) == (2, 2)

    def code(**other: object) -> str:
        return code_of(cloud, "AuthorizeSecurityGroup", {"SecurityGroupId": group, **params, **other})

    elsewhere = cloud.call("CreateVpc")["VpcId"]
    foreign = cloud.call("CreateSecurityGroup", {"VpcId": elsewhere})["SecurityGroupId"]
    assert code(SourceGroupId=foreign) == "InvalidSourceGroupId.Mismatch"
    assert code(SourceGroupId=group) == "InvalidParamter.Conflict"
    assert code(SourceGroupId=peer, SourceGroupOwnerId="1") == "InvalidSourceGroupId.NotFound"


def test_a_group_in_use_is_not_deleted(cloud: Cloud, group: str) -> None:
    vpc_id, vswitch_id = cloud.default_vswitch()
    peer = cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"]
    authorize(cloud, group, IpProtocol="all", PortRange="-1/-1", SourceGroupId=peer)
    [found] = cloud.call("DescribeSecurityGroupReferences", {"SecurityGroupId.1": peer, "SecurityGroupId.2": group})[
        "SecurityGroupReferences"
    ]["SecurityGroupReference"]
    assert found["SecurityGroupId"] == peer
    [referencing] = found["ReferencingSecurityGroups"]["ReferencingSecurityGroup"]
    assert referencing == {"AliUid": cloud.account_id, "SecurityGroupId": group}
    assert code_of(cloud, "DeleteSecurityGroup", {"SecurityGroupId": peer}) == "DependencyViolation"
    cloud.call(
        "RevokeSecurityGroup",
        {"SecurityGroupId": group, "IpProtocol": "all", "PortRange": "-1/-1", "SourceGroupId": peer},
    )
    cloud.add_instance(vswitch_id, [peer])
    assert code_of(cloud, "DeleteSecurityGroup", {"SecurityGroupId": peer}) == "DependencyViolation"
    cloud.call("DeleteSecurityGroup", {"SecurityGroupId": group})


def test_rules_are_revoked_by_what_they_say(cloud: Cloud, group: str) -> None:
    authorize(cloud, group, **SSH)
    authorize(cloud, group, **SSH, Priority=50)
    authorize(cloud, group, "Egress", IpProtocol="tcp", PortRange="22/22", DestCidrIp="10.0.0.0/8")

    def revoke(**params: object) -> int:
        cloud.call("RevokeSecurityGroup", {"SecurityGroupId": group, **SSH, **params})
        return len(rules(cloud, group))

    assert revoke(PortRange="23/23") == 3  # not there: no error, as with the provider
    assert revoke(Policy="drop") == 3
    assert revoke(Priority=50) == 2
    assert revoke() == 1
    assert cloud.runner.waited[-1] == cloud.jobs("vpc.filter")[-1].id
    assert rules(cloud, group)[0]["Direction"] == "egress"


def test_an_opening_is_closed_whatever_its_priority(cloud: Cloud, group: str) -> None:
    for priority in (1, 7, 100):
        authorize(cloud, group, **SSH, Priority=priority)
    cloud.call("RevokeSecurityGroup", {"SecurityGroupId": group, **SSH})
    assert rules(cloud, group) == []


def test_rules_are_revoked_by_id(cloud: Cloud, group: str) -> None:
    authorize(cloud, group, **SSH)
    authorize(cloud, group, **SSH, Priority=2)
    [first, second] = [rule["SecurityGroupRuleId"] for rule in rules(cloud, group)]
    both = {"SecurityGroupId": group, "SecurityGroupRuleId.1": first, "SecurityGroupRuleId.2": "sgr-none"}
    assert code_of(cloud, "RevokeSecurityGroup", both) == "InvalidSecurityGroupRule.RuleNotExist"
    assert len(rules(cloud, group)) == 2
    other_way = {"SecurityGroupId": group, "SecurityGroupRuleId.1": first}
    assert code_of(cloud, "RevokeSecurityGroupEgress", other_way) == "InvalidSecurityGroupRule.RuleNotExist"
    cloud.call("RevokeSecurityGroup", {**both, "SecurityGroupRuleId.2": second})
    assert rules(cloud, group) == []


def test_the_systems_own_rules_can_be_revoked(cloud: Cloud) -> None:
    cloud.default_vswitch()
    [shown] = cloud.call("DescribeSecurityGroups")["SecurityGroups"]["SecurityGroup"]
    group = shown["SecurityGroupId"]
    params = {"IpProtocol": "tcp", "PortRange": "3389/3389", "SourceCidrIp": "0.0.0.0/0", "Priority": 110}
    cloud.call("RevokeSecurityGroup", {"SecurityGroupId": group, **params})
    assert "3389/3389" not in {rule["PortRange"] for rule in rules(cloud, group)}


def test_a_rule_is_changed_in_what_is_given(cloud: Cloud, group: str) -> None:
    authorize(cloud, group, **SSH, Description="ssh")
    [rule] = rules(cloud, group)
    named: dict[str, object] = {"SecurityGroupId": group, "SecurityGroupRuleId": rule["SecurityGroupRuleId"]}
    cloud.call("ModifySecurityGroupRule", {**named, "PortRange": "2222/2222", "Priority": 9})
    [changed] = rules(cloud, group)
    expected = rule | {"PortRange": "2222/2222", "Priority": "9"}
    assert changed == expected
    cloud.call("ModifySecurityGroupRule", {**named, "IpProtocol": "icmp", "SourceCidrIp": "10.1.2.3"})
    [changed] = rules(cloud, group)
    assert (changed["PortRange"], changed["SourceCidrIp"]) == ("-1/-1", "10.1.2.3")
    authorize(cloud, group, **SSH)
    back = {**named, **SSH, "Priority": 1}
    assert code_of(cloud, "ModifySecurityGroupRule", back) == "InvalidSecurityGroupRule.RuleExist"
    gone = {**named, "SecurityGroupRuleId": "sgr-none", "Priority": 2}
    assert code_of(cloud, "ModifySecurityGroupRule", gone) == "InvalidSecurityGroupRule.RuleNotExist"


def test_without_an_id_only_the_description_is_changed(cloud: Cloud, group: str) -> None:
    authorize(cloud, group, "Egress", IpProtocol="gre", PortRange="-1/-1", DestCidrIp="10.0.0.0/8")
    params = {"SecurityGroupId": group, "IpProtocol": "gre", "PortRange": "-1/-1", "DestCidrIp": "10.0.0.0/8"}
    cloud.call("ModifySecurityGroupEgressRule", {**params, "Description": "tunnel"})
    cloud.call("ModifySecurityGroupEgressRule", dict(params))
    assert rules(cloud, group)[0]["Description"] == "tunnel"
    wrong = {**params, "DestCidrIp": "10.0.0.0/9"}
    assert code_of(cloud, "ModifySecurityGroupEgressRule", wrong) == "InvalidSecurityGroupRule.RuleNotExist"


def test_inner_access_is_switched(cloud: Cloud, group: str) -> None:
    def policy() -> str:
        return cloud.call("DescribeSecurityGroupAttribute", {"SecurityGroupId": group})["InnerAccessPolicy"]

    assert policy() == "Accept"
    cloud.call("ModifySecurityGroupPolicy", {"SecurityGroupId": group, "InnerAccessPolicy": "drop"})
    assert policy() == "Drop"
    wrong = {"SecurityGroupId": group, "InnerAccessPolicy": "maybe"}
    assert code_of(cloud, "ModifySecurityGroupPolicy", wrong) == "InvalidPolicy.Malformed"


def test_rules_are_filtered_by_direction_and_paged_on_demand(cloud: Cloud, group: str) -> None:
    for port in range(1, 6):
        authorize(cloud, group, **{**SSH, "PortRange": f"{port}/{port}"}, Priority=port)
    authorize(cloud, group, "Egress", IpProtocol="all", DestCidrIp="0.0.0.0/0")
    assert len(rules(cloud, group)) == 6
    assert len(rules(cloud, group, Direction="ingress")) == 5
    assert len(rules(cloud, group, Direction="egress", NicType="intranet")) == 1
    assert rules(cloud, group, NicType="internet") == []
    seen, token = [], ""
    while token or not seen:
        params = {"SecurityGroupId": group, "MaxResults": 4, "NextToken": token}
        answer = cloud.call("DescribeSecurityGroupAttribute", params)
        seen += [rule["SecurityGroupRuleId"] for rule in answer["Permissions"]["Permission"]]
        token = answer["NextToken"]
    assert seen == [rule["SecurityGroupRuleId"] for rule in rules(cloud, group)]


def test_a_hundred_rules_and_no_more_however_many_ask(cloud: Cloud, group: str) -> None:
    params = {}
    for n in range(1, 97):
        params |= {f"Permissions.{n}.{name}": value for name, value in SSH.items()}
        params[f"Permissions.{n}.PortRange"] = f"{n}/{n}"
    authorize(cloud, group, **params)
    codes: list[str] = []

    def add(port: int) -> None:
        try:
            authorize(cloud, group, **{**SSH, "PortRange": f"{port}/{port}"})
        except ApiError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=add, args=(1000 + n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == ["AuthorizationLimitExceed"] * 4
    assert len(rules(cloud, group)) == 100


def test_the_quota_of_groups(make_cloud) -> None:
    cloud: Cloud = make_cloud(quotas={"security_groups": 2})
    vpc_id, _ = cloud.default_vswitch()
    cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})
    assert code_of(cloud, "CreateSecurityGroup", {"VpcId": vpc_id}) == "QuotaExceed.SecurityGroup"


def test_listing_filters(cloud: Cloud, group: str) -> None:
    vpc_id, _ = cloud.default_vswitch()
    other = cloud.call("CreateSecurityGroup", {"SecurityGroupName": "database", "Tag.1.Key": "tier"})["SecurityGroupId"]

    def listed(**params: object) -> set[str]:
        answer = cloud.call("DescribeSecurityGroups", dict(params))
        return {one["SecurityGroupName"] for one in answer["SecurityGroups"]["SecurityGroup"]}

    assert listed(VpcId=vpc_id) == {"default", "web", "database"}
    assert listed(SecurityGroupName="web") == {"web"}
    assert listed(SecurityGroupName="bas") == set()
    assert listed(SecurityGroupName="bas", FuzzyQuery=True) == {"database"}
    assert listed(SecurityGroupIds=f'["{group}","{other}"]') == {"web", "database"}
    assert listed(NetworkType="classic") == set()
    assert listed(**{"Tag.1.Key": "Tier"}) == {"database"}
    assert len(listed(MaxResults=2)) == 2
    with pytest.raises(ApiError):
        cloud.call("DescribeSecurityGroups", {"SecurityGroupIds": group})


def test_accounts_do_not_see_each_other(cloud: Cloud, group: str) -> None:
    other = cloud.add_account()
    assert cloud.call("DescribeSecurityGroups", account_id=other)["TotalCount"] == 0
    for action, params in (
        ("DescribeSecurityGroupAttribute", {}),
        ("DeleteSecurityGroup", {}),
        ("AuthorizeSecurityGroup", SSH),
        ("ModifySecurityGroupPolicy", {"InnerAccessPolicy": "Drop"}),
    ):
        with pytest.raises(ApiError) as caught:
            cloud.call(action, {"SecurityGroupId": group, **params}, account_id=other)
        assert caught.value.code == "InvalidSecurityGroupId.NotFound"
