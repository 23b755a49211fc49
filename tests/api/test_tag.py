"""Tags over the API (SPEC T1-T5)."""

from __future__ import annotations

import pytest

from agent.api.edge.registry import VPC
from agent.core.errors import ApiError
from tests.support.cloud import Cloud


@pytest.fixture
def group(cloud: Cloud) -> str:
    cloud.default_vswitch()
    return cloud.call("CreateSecurityGroup", {"SecurityGroupName": "web"})["SecurityGroupId"]


def numbered(tags: dict[str, str | None]) -> dict[str, object]:
    params: dict[str, object] = {}
    for n, (key, value) in enumerate(tags.items(), 1):
        params[f"Tag.{n}.Key"] = key
        if value is not None:
            params[f"Tag.{n}.Value"] = value
    return params


def put(cloud: Cloud, resource_id: str, tags: dict[str, str | None], kind: str = "securitygroup") -> None:
    cloud.call("TagResources", {"ResourceType": kind, "ResourceId.1": resource_id, **numbered(tags)})


def shown(cloud: Cloud, group: str) -> dict[str, str]:
    [found] = cloud.call("DescribeSecurityGroups", {"SecurityGroupId": group})["SecurityGroups"]["SecurityGroup"]
    return {tag["TagKey"]: tag["TagValue"] for tag in found["Tags"]["Tag"]}


def code_of(cloud: Cloud, action: str, params: dict[str, object]) -> str:
    with pytest.raises(ApiError) as caught:
        cloud.call(action, params)
    return caught.value.code


def test_the_newer_value_wins_whatever_the_case_of_the_key(cloud: Cloud, group: str) -> None:
    put(cloud, group, {"Team": "a", "env": None})
    put(cloud, group, {"TEAM": "b"})
    assert shown(cloud, group) == {"TEAM": "b", "env": ""}


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"aliyun-x": "1"}, "InvalidTagKey.Malformed"),
        ({"ACS:x": "1"}, "InvalidTagKey.Malformed"),
        ({"http://x": "1"}, "InvalidTagKey.Malformed"),
        ({"k" * 65: "1"}, "InvalidTagKey.Malformed"),
        ({"k": "https://x"}, "InvalidTagValue.Malformed"),
        ({"k": "v" * 129}, "InvalidTagValue.Malformed"),
        ({str(n): "" for n in range(6)}, "NumberExceed.Tags"),
    ],
)
def test_wrong_tags_are_refused(cloud: Cloud, group: str, tags: dict[str, str | None], code: str) -> None:
    params = {"ResourceType": "securitygroup", "ResourceId.1": group, **numbered(tags)}
    assert code_of(cloud, "TagResources", params) == code
    assert code_of(cloud, "CreateSecurityGroup", numbered(tags)) == code
    assert shown(cloud, group) == {}


def test_longest_key_and_value_and_the_tenth_tag_fit(cloud: Cloud, group: str) -> None:
    put(cloud, group, {"k" * 64: "v" * 128, "b": "", "c": "", "d": "", "e": ""})
    put(cloud, group, {str(n): "" for n in range(5)})
    params = {"ResourceType": "securitygroup", "ResourceId.1": group, "Tag.1.Key": "eleventh"}
    assert code_of(cloud, "TagResources", params) == "QuotaExceed.TagsPerResource"
    put(cloud, group, {"B": "changed"})
    assert len(shown(cloud, group)) == 10


def test_all_resources_or_none(cloud: Cloud, group: str) -> None:
    params = {"ResourceType": "securitygroup", "ResourceId.1": group, "ResourceId.2": "sg-none", "Tag.1.Key": "k"}
    assert code_of(cloud, "TagResources", params) == "InvalidSecurityGroupId.NotFound"
    assert shown(cloud, group) == {}
    assert code_of(cloud, "TagResources", {**params, "ResourceType": "cat"}) == "InvalidResourceType.NotFound"
    many = {f"ResourceId.{n}": group for n in range(1, 52)}
    assert code_of(cloud, "TagResources", {**params, **many}) == "NumberExceed.ResourceIds"
    other = cloud.add_account()
    with pytest.raises(ApiError) as caught:
        cloud.call("TagResources", {**params, "ResourceId.2": group}, account_id=other)
    assert caught.value.status == 404


def test_tags_are_removed_by_key_by_value_or_all(cloud: Cloud, group: str) -> None:
    put(cloud, group, {"a": "1", "b": "2", "c": "3", "d": "4"})
    named = {"ResourceType": "securitygroup", "ResourceId.1": group}
    assert code_of(cloud, "UntagResources", named) == "MissingParameter"
    cloud.call("UntagResources", {**named, "TagKey.1": "A", "TagKey.2": "none"})
    assert shown(cloud, group) == {"b": "2", "c": "3", "d": "4"}
    old = {"ResourceType": "securitygroup", "ResourceId": group}
    cloud.call("RemoveTags", {**old, "Tag.1.Key": "b", "Tag.1.Value": "other"})
    cloud.call("RemoveTags", {**old, "Tag.1.Key": "c", "Tag.1.Value": "3"})
    assert shown(cloud, group) == {"b": "2", "d": "4"}
    cloud.call("UntagResources", {**named, "All": True})
    assert shown(cloud, group) == {}


def test_listing_by_resource_and_by_tag(cloud: Cloud, group: str) -> None:
    other = cloud.call("CreateSecurityGroup")["SecurityGroupId"]
    put(cloud, group, {"env": "prod", "team": "a"})
    put(cloud, other, {"env": "test"})

    def listed(**params: object) -> set[tuple[str, str]]:
        wire = {name.replace("_", "."): value for name, value in params.items()}
        answer = cloud.call("ListTagResources", {"ResourceType": "securitygroup", **wire})
        return {(one["ResourceId"], one["TagKey"]) for one in answer["TagResources"]["TagResource"]}

    assert listed(ResourceId_1=group) == {(group, "env"), (group, "team")}
    assert listed(Tag_1_Key="ENV") == {(group, "env"), (group, "team"), (other, "env")}
    assert listed(Tag_1_Key="env", Tag_1_Value="prod") == {(group, "env"), (group, "team")}
    assert listed(TagFilter_1_TagKey="env", TagFilter_1_TagValues_1="test") == {(other, "env")}
    assert listed(Tag_1_Key="env", Tag_2_Key="none") == set()
    assert code_of(cloud, "ListTagResources", {"ResourceType": "securitygroup"}) == "MissingParameter"
    first = cloud.call("ListTagResources", {"ResourceType": "securitygroup", "Tag.1.Key": "env", "MaxResults": 2})
    assert len(first["TagResources"]["TagResource"]) == 2
    assert first["NextToken"]


def test_key_pairs_are_tagged_by_name(cloud: Cloud) -> None:
    cloud.call("CreateKeyPair", {"KeyPairName": "mine"})
    put(cloud, "mine", {"k": "v"}, kind="keypair")
    answer = cloud.call("ListTagResources", {"ResourceType": "keypair", "ResourceId.1": "mine"})
    [found] = answer["TagResources"]["TagResource"]
    assert found == {"ResourceType": "keypair", "ResourceId": "mine", "TagKey": "k", "TagValue": "v"}
    assert cloud.call("DescribeKeyPairs", {"Tag.1.Key": "k"})["TotalCount"] == 1
    assert cloud.call("DescribeKeyPairs", {"Tag.1.Key": "k", "Tag.1.Value": "w"})["TotalCount"] == 0


def test_the_vpc_versions_types_are_written_in_capitals(cloud: Cloud) -> None:
    vpc_id, vswitch_id = cloud.default_vswitch()
    for kind, resource_id in (("VPC", vpc_id), ("VSWITCH", vswitch_id)):
        cloud.call("TagResources", {"ResourceType": kind, "ResourceId.1": resource_id, "Tag.1.Key": "k"}, version=VPC)
    assert cloud.call("DescribeVSwitches", {"Tag.1.Key": "k"})["TotalCount"] == 1


def test_a_tag_that_nothing_carries_is_gone(cloud: Cloud, group: str) -> None:
    put(cloud, group, {"k": "v"})
    [found] = cloud.call("DescribeTags")["Tags"]["Tag"]
    assert (found["TagKey"], found["TagValue"], found["ResourceTypeCount"]["Securitygroup"]) == ("k", "v", 1)
    assert found["ResourceTypeCount"]["Instance"] == 0
    carriers = cloud.call("DescribeResourceByTags", {"Tag.1.Key": "k"})["Resources"]["Resource"]
    assert [one["ResourceId"] for one in carriers] == [group]
    cloud.call("DeleteSecurityGroup", {"SecurityGroupId": group})
    assert cloud.call("DescribeTags")["TotalCount"] == 0


def test_the_older_family_adds_tags_too(cloud: Cloud, group: str) -> None:
    params = {"ResourceType": "securitygroup", "ResourceId": group, "Tag.1.Key": "k", "Tag.1.Value": "v"}
    cloud.call("AddTags", params)
    assert shown(cloud, group) == {"k": "v"}
