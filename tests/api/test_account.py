"""Access keys and the caller's identity over the API."""

from __future__ import annotations

import dataclasses
import re

import pytest

from agent.api.edge.registry import HOST, RAM, STS
from agent.core.clock import SystemClock
from agent.core.errors import ApiError
from agent.services.account import AccessKeys, ensure_default_account
from tests.support.cloud import Cloud


def test_the_default_account_is_made_once(cloud: Cloud) -> None:
    assert re.fullmatch(r"[1-9][0-9]{15}", cloud.account_id)
    with cloud.store.write() as session:
        assert ensure_default_account(session, SystemClock()).id == cloud.account_id


def test_a_key_lives_from_creation_to_deletion(cloud: Cloud) -> None:
    made = cloud.call("CreateAccessKey", version=RAM)["AccessKey"]
    assert re.fullmatch(r"LTAI[A-Za-z0-9]{20}", made["AccessKeyId"])
    assert re.fullmatch(r"[A-Za-z0-9]{30}", made["AccessKeySecret"])
    assert (made["Status"], made["CreateDate"]) == ("Active", "2026-11-23T07:35:12Z")
    [listed] = cloud.call("ListAccessKeys", version=RAM)["AccessKeys"]["AccessKey"]
    assert listed == {name: value for name, value in made.items() if name != "AccessKeySecret"}
    named = {"UserAccessKeyId": made["AccessKeyId"]}
    cloud.call("UpdateAccessKey", {**named, "Status": "Inactive"}, version=RAM)
    assert cloud.call("ListAccessKeys", version=RAM)["AccessKeys"]["AccessKey"][0]["Status"] == "Inactive"
    cloud.call("DeleteAccessKey", named, version=RAM)
    assert cloud.call("ListAccessKeys", version=RAM)["AccessKeys"]["AccessKey"] == []
    with pytest.raises(ApiError) as caught:
        cloud.call("DeleteAccessKey", named, version=RAM)
    assert (caught.value.code, caught.value.status) == ("EntityNotExist.User.AccessKey", 404)


def test_the_secret_is_sealed_and_opens_for_signatures(cloud: Cloud) -> None:
    made = cloud.call("CreateAccessKey", version=RAM)["AccessKey"]
    assert made["AccessKeySecret"].encode() not in cloud.store.path.read_bytes()
    credentials = AccessKeys(cloud.store, cloud.services.sealer)
    found = credentials.find(made["AccessKeyId"], "")
    assert credentials.find("LTAInone", "") is None
    assert found is not None
    assert (found.secret, found.active, found.account_id) == (made["AccessKeySecret"], True, cloud.account_id)


def test_what_is_wrong_is_refused(cloud: Cloud) -> None:
    key = cloud.call("CreateAccessKey", version=RAM)["AccessKey"]["AccessKeyId"]
    with pytest.raises(ApiError) as status:
        cloud.call("UpdateAccessKey", {"UserAccessKeyId": key, "Status": "Sleepy"}, version=RAM)
    assert status.value.status == 400
    with pytest.raises(ApiError) as user:
        cloud.call("CreateAccessKey", {"UserName": "nobody"}, version=RAM)
    assert (user.value.code, user.value.status) == ("EntityNotExist.User", 404)
    other = cloud.add_account()
    with pytest.raises(ApiError) as foreign:
        cloud.call("DeleteAccessKey", {"UserAccessKeyId": key}, version=RAM, account_id=other)
    assert foreign.value.status == 404


def test_who_is_calling(cloud: Cloud) -> None:
    found = cloud.call("GetCallerIdentity", version=STS)
    assert found["AccountId"] == cloud.account_id
    assert found["Arn"] == f"acs:ram::{cloud.account_id}:root"
    assert found["IdentityType"] == "Account"


def test_what_is_wrong_with_the_host_is_told_to_its_owner(cloud: Cloud) -> None:
    """It may name what other accounts have."""
    cloud.services = dataclasses.replace(cloud.services, problems=lambda: ["vpc-x of somebody has no router"])
    for account_id, told in ((cloud.account_id, 1), (cloud.add_account(), 0)):
        found = cloud.call("DescribeHost", version=HOST, account_id=account_id)["Host"]
        assert len(found["Problems"]["Problem"]) == told
