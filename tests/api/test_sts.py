"""Temporary credentials: given to those whom a role trusts, worth what its policies say, for their time (SPEC I12)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from alibabacloud_ecs20140526 import models
from alibabacloud_ecs20140526.client import Client
from alibabacloud_tea_openapi.models import Config
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.auth.credentials import StsTokenCredential
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest
from darabonba.exceptions import DaraException

from agent.api.edge.registry import HOST, RAM, STS
from agent.api.edge.server import MAX_HEADER
from agent.core.errors import ApiError
from agent.core.identity import Identity
from agent.policy import trust
from tests.support.cloud import Cloud

START_ONE = {"Effect": "Allow", "Action": "ecs:StartInstance", "Resource": "acs:ecs:*:*:instance/i-one"}


@pytest.fixture
def reader(cloud: Cloud) -> str:
    """The ARN of a role that may read ECS and start one instance."""
    cloud.add_role("reader", "AliyunECSReadOnlyAccess", START_ONE)
    return f"acs:ram::{cloud.account_id}:role/reader"


def assume(cloud: Cloud, arn: str, account_id: str = "", **params: Any) -> dict[str, Any]:
    given = {"RoleArn": arn, "RoleSessionName": "test"} | params
    return cloud.call("AssumeRole", given, version=STS, account_id=account_id)


def code_of(cloud: Cloud, arn: str, account_id: str = "", **params: Any) -> str:
    with pytest.raises(ApiError) as caught:
        assume(cloud, arn, account_id, **params)
    return caught.value.code


def may(cloud: Cloud, identity: Identity, action: str, params: dict[str, object] | None = None) -> bool:
    """Whether the call is let through, whatever becomes of it."""
    try:
        cloud.call(action, params, identity=identity)
    except ApiError as error:
        return error.code != "Forbidden.RAM"
    return True


def test_what_is_given(cloud: Cloud, reader: str) -> None:
    made = assume(cloud, reader, DurationSeconds=900)
    credentials = made["Credentials"]
    assert credentials["AccessKeyId"].startswith("STS.")
    assert credentials["Expiration"] == "2026-11-23T07:50:12Z"
    assert credentials["AccessKeySecret"] not in credentials["SecurityToken"]
    role_id = cloud.call("GetRole", {"RoleName": "reader"}, version=RAM)["Role"]["RoleId"]
    assert made["AssumedRoleUser"] == {"Arn": f"{reader}/test", "AssumedRoleId": f"{role_id}:test"}
    # Nothing of it is stored.
    for kept in credentials.values():
        assert kept.encode() not in cloud.store.path.read_bytes()


def test_a_session_may_do_what_the_policies_of_its_role_say(cloud: Cloud, reader: str) -> None:
    identity = cloud.assumed("reader")
    assert may(cloud, identity, "DescribeInstances")
    assert may(cloud, identity, "StartInstance", {"InstanceId": "i-one"})
    assert not may(cloud, identity, "StartInstance", {"InstanceId": "i-two"})
    assert not may(cloud, identity, "StopInstance", {"InstanceId": "i-one"})
    detached = {"PolicyType": "System", "PolicyName": "AliyunECSReadOnlyAccess", "RoleName": "reader"}
    cloud.call("DetachPolicyFromRole", detached, version=RAM)
    assert not may(cloud, identity, "DescribeInstances")


def test_every_resource_of_a_call_must_be_allowed(cloud: Cloud, reader: str) -> None:
    batch: dict[str, object] = {"InstanceId.1": "i-one", "InstanceId.2": "i-two"}
    cloud.add_role("starter", {"Effect": "Allow", "Action": "ecs:Start*", "Resource": "acs:ecs:*:*:instance/i-one"})
    assert not may(cloud, cloud.assumed("starter"), "StartInstances", batch)
    assert may(cloud, cloud.assumed("starter"), "StartInstances", {"InstanceId.1": "i-one"})


def test_a_policy_of_the_session_only_narrows(cloud: Cloud, reader: str) -> None:
    wide = json.dumps({"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    assert not may(cloud, cloud.assumed("reader", Policy=wide), "StopInstance", {"InstanceId": "i-one"})
    narrow = {"Effect": "Allow", "Action": "ecs:DescribeVpcs", "Resource": "*"}
    policy = json.dumps({"Version": "1", "Statement": [narrow]})
    identity = cloud.assumed("reader", Policy=policy)
    assert may(cloud, identity, "DescribeVpcs")
    assert not may(cloud, identity, "DescribeInstances")
    assert not may(cloud, identity, "StartInstance", {"InstanceId": "i-one"})


def test_full_access_to_ecs_is_not_to_the_host(cloud: Cloud) -> None:
    cloud.add_role("operator", "AliyunECSFullAccess")
    operator = cloud.assumed("operator")
    assert may(cloud, operator, "DescribeInstances")
    for action, params in (("StopHostInstances", {}), ("BuildImage", {"ImageId": "tiny_x64"})):
        with pytest.raises(ApiError) as caught:
            cloud.call(action, params, version=HOST, identity=operator)
        assert caught.value.code == "Forbidden.RAM"


def test_the_longest_policy_of_a_session_fits_a_header(cloud: Cloud, reader: str) -> None:
    text = json.dumps({"Version": "1", "Statement": [START_ONE | {"Sid": ""}]}, ensure_ascii=False)
    longest = text.replace('"Sid": ""', f'"Sid": "{chr(0x1F600) * (2048 - len(text))}"')
    assert len(longest) == 2048
    assert len(assume(cloud, reader, Policy=longest)["Credentials"]["SecurityToken"]) < MAX_HEADER


def test_the_conditions_see_the_request(cloud: Cloud) -> None:
    near = {"IpAddress": {"acs:SourceIp": "10.1.0.0/16"}}
    cloud.add_role("local", {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": near})
    identity = cloud.assumed("local")
    inside = Identity(**vars(identity) | {"source_ip": "10.1.2.3"})
    assert may(cloud, inside, "DescribeInstances")
    assert not may(cloud, identity, "DescribeInstances")
    assert not may(cloud, Identity(**vars(identity) | {"source_ip": ""}), "DescribeInstances")


def test_who_a_session_is(cloud: Cloud, reader: str) -> None:
    cloud.add_role("nobody")
    found = cloud.call("GetCallerIdentity", version=STS, identity=cloud.assumed("nobody"))
    role_id = cloud.call("GetRole", {"RoleName": "nobody"}, version=RAM)["Role"]["RoleId"]
    assert found == {
        "AccountId": cloud.account_id,
        "Arn": f"acs:ram::{cloud.account_id}:assumed-role/nobody/test",
        "IdentityType": "AssumedRoleUser",
        "PrincipalId": f"{role_id}:test",
        "UserId": "",
        "RoleId": role_id,
    }


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"DurationSeconds": 899}, "InvalidParameter.DurationSeconds"),
        ({"DurationSeconds": 3601}, "InvalidParameter.DurationSeconds"),
        ({"RoleSessionName": "x"}, "InvalidParameter.RoleSessionName"),
        ({"RoleSessionName": "a b"}, "InvalidParameter.RoleSessionName"),
        ({"RoleArn": "reader"}, "InvalidParameter.RoleArn"),
        ({"Policy": "{}"}, "InvalidParameter.PolicyGrammar"),
        ({"Policy": "x" * 2049}, "InvalidParameter.PolicySize"),
        ({"SourceIdentity": "x"}, "UnsupportedParameter"),
    ],
)
def test_what_cannot_be_asked_for(cloud: Cloud, reader: str, params: dict[str, Any], code: str) -> None:
    assert code_of(cloud, reader, **params) == code


def test_only_those_who_are_trusted_get_it(cloud: Cloud, reader: str) -> None:
    other = cloud.add_account()
    assert code_of(cloud, reader, other) == "NoPermission"
    assert code_of(cloud, f"acs:ram::{cloud.account_id}:role/none") == "EntityNotExist.Role"
    # Whether there is such a role is not told to strangers.
    assert code_of(cloud, f"acs:ram::{cloud.account_id}:role/none", other) == "NoPermission"
    cloud.add_role("shared", "ReadOnlyAccess", trust=trust.document([f"RAM:acs:ram::{other}:root"]))
    shared = f"acs:ram::{cloud.account_id}:role/shared"
    assert code_of(cloud, shared) == "NoPermission"
    assert assume(cloud, shared, other)["AssumedRoleUser"]["Arn"] == f"{shared}/test"


def test_an_external_id_that_the_trust_asks_for(cloud: Cloud) -> None:
    document = json.loads(trust.document([f"RAM:acs:ram::{cloud.account_id}:root"]))
    document["Statement"][0]["Condition"] = {"StringEquals": {"sts:ExternalId": "agreed"}}
    cloud.add_role("partner", trust=json.dumps(document))
    arn = f"acs:ram::{cloud.account_id}:role/partner"
    assert code_of(cloud, arn) == "NoPermission"
    assert code_of(cloud, arn, ExternalId="guessed") == "NoPermission"
    assume(cloud, arn, ExternalId="agreed")


def test_a_session_assumes_another_role_if_both_sides_say_so(cloud: Cloud) -> None:
    first = f"RAM:acs:ram::{cloud.account_id}:role/first"
    cloud.add_role("second", "ReadOnlyAccess", trust=trust.document([first]))
    second = {"RoleArn": f"acs:ram::{cloud.account_id}:role/second", "RoleSessionName": "on"}
    cloud.add_role("first")
    with pytest.raises(ApiError) as caught:
        cloud.call("AssumeRole", second, version=STS, identity=cloud.assumed("first"))
    assert caught.value.code == "Forbidden.RAM"
    attached = {"PolicyType": "System", "PolicyName": "AliyunSTSAssumeRoleAccess", "RoleName": "first"}
    cloud.call("AttachPolicyToRole", attached, version=RAM)
    cloud.call("AssumeRole", second, version=STS, identity=cloud.assumed("first"))
    cloud.add_role("third", "AliyunSTSAssumeRoleAccess")
    with pytest.raises(ApiError) as caught:
        cloud.call("AssumeRole", second, version=STS, identity=cloud.assumed("third"))
    assert caught.value.code == "NoPermission"


# ------------------------------------------------------------------------------ over the wire, with both SDKs

Ask = Callable[[dict[str, str]], str]


def first_sdk(address: str) -> Ask:
    """`DescribeInstances` with given credentials; the error's code, or nothing."""

    def ask(credentials: dict[str, str]) -> str:
        given = StsTokenCredential(
            credentials["AccessKeyId"], credentials["AccessKeySecret"], credentials["SecurityToken"]
        )
        client = AcsClient(region_id="local", credential=given, timeout=20, auto_retry=False)
        request = CommonRequest(product="Ecs", version="2014-05-26", action_name="DescribeInstances")
        request.set_endpoint(address)
        try:
            client.do_action_with_exception(request)
        except ServerException as error:
            return str(error.get_error_code())
        return ""

    return ask


def current_sdk(address: str) -> Ask:
    def ask(credentials: dict[str, str]) -> str:
        config = Config(
            access_key_id=credentials["AccessKeyId"],
            access_key_secret=credentials["AccessKeySecret"],
            security_token=credentials["SecurityToken"],
            endpoint=address,
            protocol="http",
        )
        try:
            Client(config).describe_instances(models.DescribeInstancesRequest(region_id="local"))
        except DaraException as error:
            return str(error.code)
        return ""

    return ask


@pytest.fixture(params=[first_sdk, current_sdk])
def ask(request: pytest.FixtureRequest, address: str) -> Ask:
    made: Ask = request.param(address)
    return made


def test_an_sdk_calls_with_temporary_credentials(cloud: Cloud, reader: str, ask: Ask) -> None:
    credentials = assume(cloud, reader, DurationSeconds=900)["Credentials"]
    assert ask(credentials) == ""
    cloud.clock.advance(899)
    assert ask(credentials) == ""
    cloud.clock.advance(1)
    assert ask(credentials) == "InvalidSecurityToken.Expired"


def test_an_sdk_is_refused_what_no_policy_allows(cloud: Cloud, ask: Ask) -> None:
    cloud.add_role("nobody")
    credentials = assume(cloud, f"acs:ram::{cloud.account_id}:role/nobody")["Credentials"]
    assert ask(credentials) == "Forbidden.RAM"


def test_credentials_die_with_their_role(cloud: Cloud, ask: Ask) -> None:
    cloud.add_role("short")
    credentials = assume(cloud, f"acs:ram::{cloud.account_id}:role/short")["Credentials"]
    cloud.call("DeleteRole", {"RoleName": "short"}, version=RAM)
    assert ask(credentials) == "InvalidSecurityToken.Expired"
    # Also when there is another of that name.
    cloud.add_role("short", "AdministratorAccess")
    assert ask(credentials) == "InvalidSecurityToken.Expired"


def test_what_does_not_belong_together_is_refused(cloud: Cloud, reader: str, ask: Ask, key: tuple[str, str]) -> None:
    one, other = (assume(cloud, reader)["Credentials"] for _ in range(2))
    assert ask(one | {"SecurityToken": other["SecurityToken"]}) == "InvalidSecurityToken.MismatchWithAccessKey"
    assert ask(one | {"SecurityToken": "x" + one["SecurityToken"]}) == "InvalidSecurityToken.Malformed"
    assert ask(one | {"SecurityToken": ""}) == "MissingSecurityToken"
    lasting = {"AccessKeyId": key[0], "AccessKeySecret": key[1]}
    assert ask(one | lasting) == "InvalidSecurityToken.MismatchWithAccessKey"
    sealed = cloud.services.sealer.seal(one["AccessKeySecret"]).decode()
    assert ask(one | {"SecurityToken": sealed}) == "InvalidSecurityToken.Malformed"
    wrong = ask(one | {"AccessKeySecret": "wrong"})
    assert wrong in ("SignatureDoesNotMatch", "InvalidAccessKeySecret")  # as the first SDK calls it
