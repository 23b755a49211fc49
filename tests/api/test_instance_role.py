"""The RAM role and the metadata options of instances over the API (SPEC I11, I12)."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from agent.api.edge.registry import HOST, RAM
from agent.core.errors import ApiError
from agent.policy import trust
from agent.services.instance_credentials import RoleCredentials
from agent.store.schema import Instance
from tests.support.cloud import Cloud


@pytest.fixture
def pair(cloud: Cloud) -> list[str]:
    """Two instances, and the roles worker, other and (not of ECS) guest."""
    vpc_id, vswitch_id = cloud.default_vswitch()
    group = cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"]
    for name in ("worker", "other"):
        cloud.add_role(name, "AliyunECSReadOnlyAccess")
    cloud.add_role("guest", trust=trust.document([f"RAM:acs:ram::{cloud.account_id}:root"]))
    return [cloud.add_instance(vswitch_id, [group]) for _ in range(2)]


def attach(cloud: Cloud, ids: list[str], role: str = "worker", **more: Any) -> dict[str, Any]:
    return cloud.call("AttachInstanceRamRole", {"InstanceIds": json.dumps(ids), "RamRoleName": role, **more})


def detach(cloud: Cloud, ids: list[str], **more: Any) -> dict[str, Any]:
    return cloud.call("DetachInstanceRamRole", {"InstanceIds": json.dumps(ids), **more})


def roles_of(cloud: Cloud, ids: list[str]) -> list[str]:
    found = cloud.call("DescribeInstanceRamRole", {"InstanceIds": json.dumps(ids)})["InstanceRamRoleSets"]
    by_id = {one["InstanceId"]: one["RamRoleName"] for one in found["InstanceRamRoleSet"]}
    return [by_id[one] for one in ids]


def code_of(cloud: Cloud, action: str, params: dict[str, Any], **who: Any) -> str:
    with pytest.raises(ApiError) as caught:
        cloud.call(action, params, **who)
    return caught.value.code


def test_several_instances_get_and_lose_a_role(cloud: Cloud, pair: list[str]) -> None:
    answer = attach(cloud, pair)
    assert (answer["TotalCount"], answer["FailCount"], answer["RamRoleName"]) == (2, 0, "worker")
    results = answer["AttachInstanceRamRoleResults"]["AttachInstanceRamRoleResult"]
    assert [(one["InstanceId"], one["Success"], one["Code"]) for one in results] == [(i, True, "200") for i in pair]
    assert attach(cloud, pair)["FailCount"] == 0  # once more is the same
    assert roles_of(cloud, pair) == ["worker", "worker"]
    by_role = cloud.call("DescribeInstanceRamRole", {"RamRoleName": "worker", "PageSize": 1})
    assert (by_role["TotalCount"], len(by_role["InstanceRamRoleSets"]["InstanceRamRoleSet"])) == (2, 1)
    gone = detach(cloud, pair)["DetachInstanceRamRoleResults"]["DetachInstanceRamRoleResult"]
    assert gone[0]["InstanceRamRoleSets"]["InstanceRamRoleSet"] == [{"InstanceId": pair[0], "RamRoleName": "worker"}]
    assert roles_of(cloud, pair) == ["", ""]


def test_each_instance_has_its_own_result(cloud: Cloud, pair: list[str]) -> None:
    attach(cloud, pair[:1], "other")
    answer = attach(cloud, [*pair, "i-none"])
    codes = [one["Code"] for one in answer["AttachInstanceRamRoleResults"]["AttachInstanceRamRoleResult"]]
    assert codes == ["InvalidOperation.RamRoleAttached", "200", "InvalidInstanceId.NotFound"]
    assert (answer["TotalCount"], answer["FailCount"]) == (3, 2)
    assert roles_of(cloud, pair) == ["other", "worker"]
    answer = detach(cloud, [*pair, "i-none"], RamRoleName="worker")
    codes = [one["Code"] for one in answer["DetachInstanceRamRoleResults"]["DetachInstanceRamRoleResult"]]
    assert codes == ["InvalidRamRole.NotAttached", "200", "InvalidInstanceId.NotFound"]


def test_only_roles_that_trust_ecs(cloud: Cloud, pair: list[str]) -> None:
    named = {"InstanceIds": json.dumps(pair)}
    assert code_of(cloud, "AttachInstanceRamRole", named | {"RamRoleName": "guest"}) == "InvalidRamRole.NotEcsRole"
    assert code_of(cloud, "AttachInstanceRamRole", named | {"RamRoleName": "none"}) == "InvalidRamRole.NotFound"
    assert code_of(cloud, "AttachInstanceRamRole", {"InstanceIds": "[]", "RamRoleName": "worker"}) == "InvalidParameter"
    given = named | {"RamRoleName": "worker", "Policy": "{}"}
    assert code_of(cloud, "AttachInstanceRamRole", given) == "UnsupportedParameter"
    assert code_of(cloud, "DescribeInstanceRamRole", {}) == "MissingParameter"


def test_a_role_in_use_stays(cloud: Cloud, pair: list[str]) -> None:
    attach(cloud, pair, "other")
    policy = {"PolicyType": "System", "PolicyName": "AliyunECSReadOnlyAccess", "RoleName": "other"}
    cloud.call("DetachPolicyFromRole", policy, version=RAM)
    assert code_of(cloud, "DeleteRole", {"RoleName": "other"}, version=RAM) == "DeleteConflict.Role.Instance"
    detach(cloud, pair)
    cloud.call("DeleteRole", {"RoleName": "other"}, version=RAM)


def statement(*actions: str, resource: str = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}


def test_to_give_an_instance_a_role_one_must_be_allowed_to_pass_it(cloud: Cloud, pair: list[str]) -> None:
    cloud.add_image()
    cloud.add_role("operator", statement("ecs:*"))
    cloud.add_role("passer", statement("ecs:*"), statement("ram:PassRole", resource="acs:ram:*:*:role/worker"))
    operator, passer = cloud.assumed("operator"), cloud.assumed("passer")
    attaching = {"InstanceIds": json.dumps(pair), "RamRoleName": "worker"}
    running = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small", "RamRoleName": "worker"}
    for action, params in (
        ("AttachInstanceRamRole", attaching),
        ("RunInstances", running),
        ("CreateInstance", running),
    ):
        assert code_of(cloud, action, params, identity=operator) == "Forbidden.RAM", action
        assert code_of(cloud, action, params | {"RamRoleName": "other"}, identity=passer) == "Forbidden.RAM", action
        cloud.call(action, params, identity=passer)
    assert roles_of(cloud, pair) == ["worker", "worker"]


def test_instances_begin_with_a_role_and_metadata_options(cloud: Cloud, pair: list[str]) -> None:
    cloud.add_image()
    running = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small"}
    hardened = running | {"RamRoleName": "worker", "HttpTokens": "required", "HttpPutResponseHopLimit": 64}
    made = cloud.call("RunInstances", hardened)["InstanceIdSets"]["InstanceIdSet"][0]
    assert roles_of(cloud, [made]) == ["worker"]
    assert options(cloud, made) == ("enabled", "required")
    assert options(cloud, cloud.call("CreateInstance", running | {"HttpEndpoint": "disabled"})["InstanceId"]) == (
        "disabled",
        "optional",
    )
    assert code_of(cloud, "RunInstances", running | {"RamRoleName": "guest"}) == "InvalidRamRole.NotEcsRole"
    assert code_of(cloud, "RunInstances", running | {"HttpTokens": "maybe"}) == "InvalidParameter"
    assert code_of(cloud, "RunInstances", running | {"HttpPutResponseHopLimit": 1}) == "UnsupportedParameter"


def options(cloud: Cloud, instance_id: str) -> tuple[str, str]:
    found = cloud.call("DescribeInstances", {"InstanceIds": json.dumps([instance_id])})["Instances"]["Instance"][0]
    shown = found["MetadataOptions"]
    assert shown["HttpPutResponseHopLimit"] == 64
    return shown["HttpEndpoint"], shown["HttpTokens"]


def test_metadata_options_change(cloud: Cloud, pair: list[str]) -> None:
    def modify(**params: Any) -> None:
        cloud.call("ModifyInstanceMetadataOptions", {"InstanceId": pair[0], **params})

    assert options(cloud, pair[0]) == ("enabled", "optional")
    modify(HttpEndpoint="enabled", HttpTokens="required")
    assert options(cloud, pair[0]) == ("enabled", "required")
    modify(HttpEndpoint="disabled")
    assert options(cloud, pair[0]) == ("disabled", "required")
    modify(HttpTokens="optional", InstanceMetadataTags="disabled")
    assert options(cloud, pair[0]) == ("disabled", "optional")
    assert options(cloud, pair[1]) == ("enabled", "optional")
    for wrong, code in (
        ({"HttpEndpoint": "on"}, "InvalidParameter"),
        ({"HttpPutResponseHopLimit": 65}, "InvalidParameter"),
        ({"HttpPutResponseHopLimit": 2}, "UnsupportedParameter"),
        ({"InstanceMetadataTags": "enabled"}, "UnsupportedParameter"),
    ):
        assert code_of(cloud, "ModifyInstanceMetadataOptions", {"InstanceId": pair[0], **wrong}) == code
    assert code_of(cloud, "ModifyInstanceMetadataOptions", {"InstanceId": "i-none"}) == "InvalidInstanceId.NotFound"


# ------------------------------------------------------------------------------ what the metadata service hands out


def test_credentials_are_kept_until_it_is_time_for_new_ones(cloud: Cloud, pair: list[str]) -> None:
    kept = RoleCredentials(cloud.store, cloud.services.sealer, cloud.clock)
    assert kept.of(pair[0]) is None
    attach(cloud, pair)
    first, other = kept.of(pair[0]), kept.of(pair[1])
    assert first
    assert other
    assert first[0].access_key_id != other[0].access_key_id
    cloud.clock.advance(5.5 * 3600)
    assert kept.of(pair[0]) == first
    cloud.clock.advance(1)
    second = kept.of(pair[0])
    assert second
    assert second[0] != first[0]
    assert (second[0].expires_at - cloud.clock.now()).total_seconds() == 6 * 3600
    detach(cloud, pair)
    assert kept.of(pair[0]) is None
    attach(cloud, pair, "other")
    changed = kept.of(pair[0])
    assert changed
    assert changed[0] != second[0]
    assert kept.of("i-none") is None


def test_a_role_that_trusts_ecs_no_more_gives_none(cloud: Cloud, pair: list[str]) -> None:
    kept = RoleCredentials(cloud.store, cloud.services.sealer, cloud.clock)
    attach(cloud, pair)
    assert kept.of(pair[0])
    nobody = trust.document([f"RAM:acs:ram::{cloud.account_id}:root"])
    cloud.call("UpdateRole", {"RoleName": "worker", "NewAssumeRolePolicyDocument": nobody}, version=RAM)
    assert kept.of(pair[0]) is None


def test_a_released_instance_does_not_keep_its_role(cloud: Cloud, pair: list[str]) -> None:
    attach(cloud, pair[:1])
    with cloud.store.write() as session:
        session.get_one(Instance, pair[0]).releasing = True
    policy = {"PolicyType": "System", "PolicyName": "AliyunECSReadOnlyAccess", "RoleName": "worker"}
    cloud.call("DetachPolicyFromRole", policy, version=RAM)
    cloud.call("DeleteRole", {"RoleName": "worker"}, version=RAM)


def test_the_certificate_is_there_for_everybody(cloud: Cloud, address: str) -> None:
    certificate = cloud.call("DescribeInstanceIdentityCertificate", version=HOST)["Certificate"]
    assert certificate.startswith("-----BEGIN CERTIFICATE-----")
    with urllib.request.urlopen(f"http://{address}/instance-identity/certificate.pem") as answer:
        assert answer.read().decode() == certificate
