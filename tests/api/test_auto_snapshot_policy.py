"""Automatic snapshot policies over the API (SPEC S5)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.config import Config, ConfigError
from agent.core.errors import ApiError
from agent.services.auto_snapshot_policy import check_time_zone
from agent.store.schema import AutoSnapshotPolicy, Disk
from tests.support.cloud import Cloud
from tests.support.timetable import add_disk, running_instance

PLAN: dict[str, object] = {"timePoints": '["13","1"]', "repeatWeekdays": '["1","5","1"]', "retentionDays": 7}


def create(cloud: Cloud, **params: object) -> str:
    return str(cloud.call("CreateAutoSnapshotPolicy", {**PLAN, **params})["AutoSnapshotPolicyId"])


def listed(cloud: Cloud, **params: object) -> list[dict[str, Any]]:
    given = {name.replace("__", "."): value for name, value in params.items()}
    return cloud.call("DescribeAutoSnapshotPolicyEx", given)["AutoSnapshotPolicies"]["AutoSnapshotPolicy"]


def governed(cloud: Cloud, **params: object) -> dict[str, str]:
    """Policy by disk."""
    answer = cloud.call("DescribeAutoSnapshotPolicyAssociations", params)
    rows = answer["AutoSnapshotPolicyAssociations"]["AutoSnapshotPolicyAssociation"]
    return {row["DiskId"]: row["AutoSnapshotPolicyId"] for row in rows}


def refused(cloud: Cloud, action: str, params: dict[str, object]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        cloud.call(action, params)
    return caught.value


def test_a_policy_is_shown_whole(cloud: Cloud) -> None:
    policy_id = create(cloud, autoSnapshotPolicyName="nightly", **{"Tag.1.Key": "k"})
    assert policy_id.startswith("sp-")
    [shown] = listed(cloud)
    assert shown == {
        "AutoSnapshotPolicyId": policy_id,
        "AutoSnapshotPolicyName": "nightly",
        "RegionId": "local",
        "TimePoints": '["1","13"]',
        "RepeatWeekdays": '["1","5"]',
        "RetentionDays": 7,
        "TimeZone": "Asia/Shanghai",
        "OwnTimeZone": False,
        # It is Monday, 15:35 in Shanghai.
        "NextTimes": {"NextTime": ["2026-11-26T17:00:00Z", "2026-11-27T05:00:00Z", "2026-11-29T17:00:00Z"]},
        "Status": "Normal",
        "Type": "Custom",
        "AssociationType": "",
        "DiskNums": 0,
        "VolumeNums": 0,
        "EnableCrossRegionCopy": False,
        "TargetCopyRegions": "",
        "ResourceGroupId": "",
        "CreationTime": "2026-11-23T07:35:12Z",
        "Tags": {"Tag": [{"TagKey": "k", "TagValue": ""}]},
    }


def test_without_a_retention_it_is_thirty_days(cloud: Cloud) -> None:
    cloud.call("CreateAutoSnapshotPolicy", {"timePoints": '["0"]', "repeatWeekdays": '["7"]'})
    assert [policy["RetentionDays"] for policy in listed(cloud)] == [30]


def test_its_own_time_zone(make_cloud: Any) -> None:
    cloud: Cloud = make_cloud(time_zone="Europe/Berlin")
    policy_id = create(cloud, TimeZone="Asia/Tokyo", timePoints='["17"]', repeatWeekdays='["1"]')
    [shown] = listed(cloud)
    assert (shown["TimeZone"], shown["OwnTimeZone"]) == ("Asia/Tokyo", True)
    assert shown["NextTimes"]["NextTime"][0] == "2026-11-23T08:00:00Z"
    cloud.call("ModifyAutoSnapshotPolicyEx", {"autoSnapshotPolicyId": policy_id, "TimeZone": ""})
    [shown] = listed(cloud)
    assert (shown["TimeZone"], shown["OwnTimeZone"]) == ("Europe/Berlin", False)
    assert shown["NextTimes"]["NextTime"][0] == "2026-11-23T16:00:00Z"


@pytest.mark.parametrize(
    ("params", "code", "named"),
    [
        ({"timePoints": '["24"]'}, "ParameterInvalid", "timePoints"),
        ({"timePoints": '["-1"]'}, "ParameterInvalid", "timePoints"),
        ({"timePoints": '["01"]'}, "ParameterInvalid", "timePoints"),
        ({"timePoints": "[1]"}, "ParameterInvalid", "timePoints"),
        ({"timePoints": "1"}, "ParameterInvalid", "timePoints"),
        ({"timePoints": "[]"}, "MissingParameter", "timePoints"),
        ({"repeatWeekdays": '["0"]'}, "ParameterInvalid", "repeatWeekdays"),
        ({"repeatWeekdays": '["8"]'}, "ParameterInvalid", "repeatWeekdays"),
        ({"repeatWeekdays": "[]"}, "MissingParameter", "repeatWeekdays"),
        ({"retentionDays": 0}, "ParameterInvalid", "retentionDays"),
        ({"retentionDays": -2}, "ParameterInvalid", "retentionDays"),
        ({"retentionDays": 65537}, "ParameterInvalid", "retentionDays"),
        ({"retentionDays": "long"}, "ParameterInvalid", "retentionDays"),
        ({"TimeZone": "UTC+9"}, "ParameterInvalid", "TimeZone"),
        ({"autoSnapshotPolicyName": "1"}, "InvalidAutoSnapshotPolicyName.Malformed", "autoSnapshotPolicyName"),
        ({"EnableCrossRegionCopy": True}, "UnsupportedParameter", "EnableCrossRegionCopy"),
        ({"TargetCopyRegions": '["x"]'}, "UnsupportedParameter", "TargetCopyRegions"),
        ({"TargetTags.1.Key": "k"}, "UnsupportedParameter", "TargetTags"),
        ({"regionId": "elsewhere"}, "InvalidRegionId.NotFound", "RegionId"),
    ],
)
def test_what_is_refused(cloud: Cloud, params: dict[str, object], code: str, named: str) -> None:
    error = refused(cloud, "CreateAutoSnapshotPolicy", {**PLAN, **params})
    assert error.code == code
    assert named in error.message
    assert listed(cloud) == []


@pytest.mark.parametrize("missing", ["timePoints", "repeatWeekdays"])
def test_what_a_policy_must_say(cloud: Cloud, missing: str) -> None:
    error = refused(cloud, "CreateAutoSnapshotPolicy", {name: PLAN[name] for name in PLAN if name != missing})
    assert error.code == "MissingParameter"
    assert missing in error.message


@pytest.mark.parametrize("days", [-1, 1, 65536])
def test_the_ends_of_retention(cloud: Cloud, days: int) -> None:
    create(cloud, retentionDays=days)
    assert listed(cloud)[0]["RetentionDays"] == days


def test_the_quota(make_cloud: Any) -> None:
    cloud: Cloud = make_cloud(quotas={"auto_snapshot_policies": 2})
    create(cloud)
    create(cloud)
    assert refused(cloud, "CreateAutoSnapshotPolicy", PLAN).code == "AutoSnapshotPolicyLimitExceed"


def test_the_same_token_makes_no_second_one(cloud: Cloud) -> None:
    assert create(cloud, ClientToken="again") == create(cloud, ClientToken="again")
    assert len(listed(cloud)) == 1


def test_a_change_leaves_the_rest(cloud: Cloud) -> None:
    policy_id = create(cloud, autoSnapshotPolicyName="nightly")
    which = {"autoSnapshotPolicyId": policy_id}
    cloud.clock.advance(60)
    cloud.call("ModifyAutoSnapshotPolicyEx", {**which, "retentionDays": -1})
    [shown] = listed(cloud)
    assert (shown["RetentionDays"], shown["TimePoints"], shown["AutoSnapshotPolicyName"]) == (
        -1,
        '["1","13"]',
        "nightly",
    )
    with cloud.store.read() as session:
        assert session.get_one(AutoSnapshotPolicy, policy_id).last_hour is None
    cloud.call("ModifyAutoSnapshotPolicyEx", {**which, "timePoints": '["3"]', "autoSnapshotPolicyName": "late"})
    [shown] = listed(cloud)
    assert (shown["TimePoints"], shown["RepeatWeekdays"], shown["AutoSnapshotPolicyName"]) == (
        '["3"]',
        '["1","5"]',
        "late",
    )
    with cloud.store.read() as session:
        assert session.get_one(AutoSnapshotPolicy, policy_id).last_hour == cloud.clock.now()
    assert refused(cloud, "ModifyAutoSnapshotPolicyEx", {**which, "timePoints": '["25"]'}).code == "ParameterInvalid"
    assert refused(cloud, "ModifyAutoSnapshotPolicyEx", {**which, "timePoints": "[]"}).code == "ParameterInvalid"


def test_policies_are_found(cloud: Cloud) -> None:
    first = create(cloud, autoSnapshotPolicyName="daily")
    cloud.clock.advance(1)
    second = create(cloud, autoSnapshotPolicyName="weekly", **{"Tag.1.Key": "k", "Tag.1.Value": "v"})

    def found(**params: object) -> list[str]:
        return [policy["AutoSnapshotPolicyId"] for policy in listed(cloud, **params)]

    assert found() == [second, first]
    assert found(AutoSnapshotPolicyId=first) == [first]
    assert found(AutoSnapshotPolicyName="week*") == [second]
    assert found(Tag__1__Key="k", Tag__1__Value="v") == [second]
    assert found(PageSize=1, PageNumber=2) == [first]
    tagged: dict[str, object] = {"ResourceType": "snapshotpolicy", "ResourceId.1": first, "Tag.1.Key": "k"}
    cloud.call("TagResources", tagged)
    assert found(Tag__1__Key="k") == [second, first]
    counts = [row["ResourceTypeCount"]["SnapshotPolicy"] for row in cloud.call("DescribeTags")["Tags"]["Tag"]]
    assert sum(counts) == 2


def test_disks_get_and_lose_a_policy(cloud: Cloud) -> None:
    _, system = running_instance(cloud)
    data, spare = add_disk(cloud, name="data"), add_disk(cloud)
    daily, weekly = create(cloud), create(cloud)
    cloud.call("ApplyAutoSnapshotPolicy", {"autoSnapshotPolicyId": daily, "diskIds": json.dumps([system, data])})
    assert governed(cloud) == {system: daily, data: daily}
    assert {policy["AutoSnapshotPolicyId"]: policy["DiskNums"] for policy in listed(cloud)} == {daily: 2, weekly: 0}
    cloud.call("ApplyAutoSnapshotPolicy", {"autoSnapshotPolicyId": weekly, "diskIds": json.dumps([data, spare])})
    assert governed(cloud) == {system: daily, data: weekly, spare: weekly}
    assert governed(cloud, AutoSnapshotPolicyId=weekly) == {data: weekly, spare: weekly}
    assert governed(cloud, DiskId=data) == {data: weekly}
    assert len(governed(cloud, MaxResults=2)) == 2
    both = json.dumps([system, data])
    cloud.call("CancelAutoSnapshotPolicy", {"autoSnapshotPolicyId": daily, "diskIds": both})
    assert governed(cloud) == {data: weekly, spare: weekly}
    cloud.call("CancelAutoSnapshotPolicy", {"diskIds": json.dumps([system, data])})
    assert governed(cloud) == {spare: weekly}


def test_a_policy_that_is_deleted_leaves_its_disks(cloud: Cloud) -> None:
    data, policy_id = add_disk(cloud), create(cloud, **{"Tag.1.Key": "k"})
    cloud.call("ApplyAutoSnapshotPolicy", {"autoSnapshotPolicyId": policy_id, "diskIds": json.dumps([data])})
    with cloud.store.write() as session:
        session.get_one(Disk, data).auto_snapshot_skipped = "for some reason"
    cloud.call("DeleteAutoSnapshotPolicy", {"autoSnapshotPolicyId": policy_id})
    assert listed(cloud) == []
    assert governed(cloud) == {}
    assert cloud.call("DescribeTags")["TotalCount"] == 0
    with cloud.store.read() as session:
        assert session.get_one(Disk, data).auto_snapshot_skipped is None
    assert refused(cloud, "DeleteAutoSnapshotPolicy", {"autoSnapshotPolicyId": policy_id}).status == 404


def test_all_disks_or_none(cloud: Cloud) -> None:
    data, local, policy_id = add_disk(cloud), add_disk(cloud, category="ephemeral_ssd"), create(cloud)

    def applied(disks: str, policy: str = policy_id) -> str:
        return refused(cloud, "ApplyAutoSnapshotPolicy", {"autoSnapshotPolicyId": policy, "diskIds": disks}).code

    assert applied(json.dumps([data, "d-1"])) == "InvalidDiskId.NotFound"
    assert applied(json.dumps([data, local])) == "DiskCategory.OperationNotSupported"
    assert applied(json.dumps([data]), "sp-1") == "InvalidAutoSnapshotPolicyId.NotFound"
    assert applied("[]") == "MissingParameter"
    assert applied(data) == "ParameterInvalid"
    assert applied(json.dumps([f"d-{n}" for n in range(101)])) == "ParameterInvalid"
    assert governed(cloud) == {}
    assert refused(cloud, "CancelAutoSnapshotPolicy", {"diskIds": '["d-1"]'}).code == "InvalidDiskId.NotFound"
    missing: dict[str, object] = {"diskIds": json.dumps([data]), "autoSnapshotPolicyId": "sp-1"}
    assert refused(cloud, "CancelAutoSnapshotPolicy", missing).code == "InvalidAutoSnapshotPolicyId.NotFound"
    unknown: dict[str, object] = {"AutoSnapshotPolicyId": "sp-1"}
    assert refused(cloud, "DescribeAutoSnapshotPolicyAssociations", unknown).status == 404


def test_other_accounts_have_nothing_to_do_with_it(cloud: Cloud) -> None:
    data, policy_id, other = add_disk(cloud), create(cloud), cloud.add_account()
    assert cloud.call("DescribeAutoSnapshotPolicyEx", account_id=other)["TotalCount"] == 0
    with pytest.raises(ApiError) as caught:
        cloud.call("DeleteAutoSnapshotPolicy", {"autoSnapshotPolicyId": policy_id}, account_id=other)
    assert caught.value.code == "InvalidAutoSnapshotPolicyId.NotFound"
    theirs = str(cloud.call("CreateAutoSnapshotPolicy", PLAN, account_id=other)["AutoSnapshotPolicyId"])
    with pytest.raises(ApiError) as caught:
        applied: dict[str, object] = {"autoSnapshotPolicyId": theirs, "diskIds": json.dumps([data])}
        cloud.call("ApplyAutoSnapshotPolicy", applied, account_id=other)
    assert caught.value.code == "InvalidDiskId.NotFound"


def test_a_region_without_a_time_zone_is_none() -> None:
    check_time_zone(Config())
    with pytest.raises(ConfigError, match="time_zone: 'Mars/Olympus' is not the name of a time zone"):
        check_time_zone(Config(time_zone="Mars/Olympus", data_dir=Path("/x")))
