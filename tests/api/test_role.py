"""Roles and policies over the API (SPEC R3, I12)."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from agent.api.edge.registry import RAM
from agent.core.errors import ApiError
from agent.policy import trust
from tests.support.cloud import Cloud

TRUST = trust.document([trust.ECS_SERVICE])
READING = json.dumps({"Version": "1", "Statement": [{"Effect": "Allow", "Action": "ecs:Describe*", "Resource": "*"}]})


def ram(cloud: Cloud, action: str, **params: Any) -> dict[str, Any]:
    return cloud.call(action, params, version=RAM)


def refused(cloud: Cloud, action: str, **params: Any) -> tuple[str, int, str]:
    with pytest.raises(ApiError) as caught:
        ram(cloud, action, **params)
    return caught.value.code, caught.value.status, caught.value.message


def create_role(cloud: Cloud, name: str = "worker", **params: Any) -> dict[str, Any]:
    return ram(cloud, "CreateRole", **{"RoleName": name, "AssumeRolePolicyDocument": TRUST} | params)["Role"]


def test_a_role_from_creation_to_deletion(cloud: Cloud) -> None:
    made = create_role(cloud, Description="does the work", MaxSessionDuration=7200)
    assert re.fullmatch(r"[0-9]{18}", made["RoleId"])
    assert made["Arn"] == f"acs:ram::{cloud.account_id}:role/worker"
    assert (made["MaxSessionDuration"], made["CreateDate"]) == (7200, "2026-11-23T07:35:12Z")
    assert ram(cloud, "GetRole", RoleName="worker")["Role"] == made
    listed = ram(cloud, "ListRoles")["Roles"]["Role"]
    assert listed == [{name: value for name, value in made.items() if name != "AssumeRolePolicyDocument"}]
    other = trust.document(["RAM:acs:ram::1000000000000002:root"])
    cloud.clock.advance(60)
    changed = ram(cloud, "UpdateRole", RoleName="worker", NewAssumeRolePolicyDocument=other, NewDescription="")["Role"]
    assert (changed["AssumeRolePolicyDocument"], changed["Description"]) == (other, "")
    assert (changed["MaxSessionDuration"], changed["UpdateDate"]) == (7200, "2026-11-23T07:36:12Z")
    ram(cloud, "DeleteRole", RoleName="worker")
    assert refused(cloud, "GetRole", RoleName="worker")[:2] == ("EntityNotExist.Role", 404)


@pytest.mark.parametrize(
    ("params", "code", "status"),
    [
        ({"RoleName": "Worker"}, "EntityAlreadyExists.Role", 409),
        ({"RoleName": "a b"}, "InvalidParameter.RoleName.InvalidChars", 400),
        ({"RoleName": "x" * 65}, "InvalidParameter.RoleName.InvalidChars", 400),
        ({"Description": "x" * 1025}, "InvalidParameter.Description.Length", 400),
        ({"MaxSessionDuration": 3599}, "InvalidParameter.MaxSessionDuration", 400),
        ({"MaxSessionDuration": 43201}, "InvalidParameter.MaxSessionDuration", 400),
        ({"AssumeRolePolicyDocument": READING}, "MalformedPolicyDocument", 400),
        ({"AllowConsoleLogin": True}, "UnsupportedParameter", 400),
        ({"Tag.1.Key": "a"}, "UnsupportedParameter", 400),
    ],
)
def test_roles_that_cannot_be(cloud: Cloud, params: dict[str, Any], code: str, status: int) -> None:
    create_role(cloud)
    given = {"RoleName": "other", "AssumeRolePolicyDocument": TRUST} | params
    assert refused(cloud, "CreateRole", **given)[:2] == (code, status)
    assert len(ram(cloud, "ListRoles")["Roles"]["Role"]) == 1


def test_a_document_is_refused_with_the_place_that_is_wrong(cloud: Cloud) -> None:
    wrong = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "ecs", "Resource": "*"}]}
    code, status, message = refused(cloud, "CreatePolicy", PolicyName="p", PolicyDocument=json.dumps(wrong))
    assert (code, status) == ("MalformedPolicyDocument", 400)
    assert "Statement[0].Action: 'ecs' is no action" in message


def test_a_policy_from_creation_to_deletion(cloud: Cloud) -> None:
    create_role(cloud)
    made = ram(cloud, "CreatePolicy", PolicyName="reading", PolicyDocument=READING, Description="look only")["Policy"]
    assert (made["PolicyType"], made["DefaultVersion"], made["AttachmentCount"]) == ("Custom", "v1", 0)
    custom = {"PolicyName": "reading", "PolicyType": "Custom"}
    ram(cloud, "AttachPolicyToRole", RoleName="worker", **custom)
    ram(cloud, "AttachPolicyToRole", RoleName="worker", PolicyName="AliyunVPCFullAccess", PolicyType="System")
    held = ram(cloud, "ListPoliciesForRole", RoleName="worker")["Policies"]["Policy"]
    assert [(one["PolicyType"], one["PolicyName"]) for one in held] == [
        ("Custom", "reading"),
        ("System", "AliyunVPCFullAccess"),
    ]
    found = ram(cloud, "GetPolicy", **custom)
    assert found["DefaultPolicyVersion"]["PolicyDocument"] == READING
    assert found["Policy"]["AttachmentCount"] == 1
    assert refused(cloud, "AttachPolicyToRole", RoleName="worker", **custom)[:2] == (
        "EntityAlreadyExists.Role.Policy",
        409,
    )
    assert refused(cloud, "DeletePolicy", PolicyName="reading")[:2] == ("DeleteConflict.Policy.Role", 409)
    assert refused(cloud, "DeleteRole", RoleName="worker")[:2] == ("DeleteConflict.Role.Policy", 409)
    ram(cloud, "DetachPolicyFromRole", RoleName="worker", **custom)
    assert refused(cloud, "DetachPolicyFromRole", RoleName="worker", **custom)[0] == "EntityNotExist.Role.Policy"
    ram(cloud, "DeletePolicy", PolicyName="reading")
    assert refused(cloud, "GetPolicy", **custom)[:2] == ("EntityNotExist.Policy", 404)
    ram(cloud, "DetachPolicyFromRole", RoleName="worker", PolicyName="AliyunVPCFullAccess", PolicyType="System")
    ram(cloud, "DeleteRole", RoleName="worker")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"PolicyName": "a_b"}, "InvalidParameter.PolicyName.InvalidChars"),
        ({"PolicyName": "Reading"}, "EntityAlreadyExists.Policy"),
        ({"PolicyName": "readonlyaccess"}, "EntityAlreadyExists.Policy"),
        ({"PolicyDocument": TRUST}, "MalformedPolicyDocument"),
        ({"PolicyDocument": READING + " " * 6144}, "MalformedPolicyDocument"),
    ],
)
def test_policies_that_cannot_be(cloud: Cloud, params: dict[str, Any], code: str) -> None:
    ram(cloud, "CreatePolicy", PolicyName="reading", PolicyDocument=READING)
    assert refused(cloud, "CreatePolicy", **{"PolicyName": "new", "PolicyDocument": READING} | params)[0] == code


def test_system_policies_are_there_and_stay(cloud: Cloud) -> None:
    listed = {one["PolicyName"] for one in ram(cloud, "ListPolicies", PolicyType="System")["Policies"]["Policy"]}
    assert {"AdministratorAccess", "AliyunECSFullAccess", "AliyunECSReadOnlyAccess"} <= listed
    assert refused(cloud, "DeletePolicy", PolicyName="AdministratorAccess")[0] == "EntityNotExist.Policy"
    found = ram(cloud, "GetPolicy", PolicyName="AdministratorAccess", PolicyType="System")
    assert json.loads(found["Policy"]["PolicyDocument"])["Statement"][0]["Effect"] == "Allow"


def test_lists_come_in_pages(cloud: Cloud) -> None:
    for number in range(5):
        create_role(cloud, f"role-{number}")
    seen, marker = [], ""
    while True:
        answer = ram(cloud, "ListRoles", MaxItems=2, Marker=marker)
        seen += [role["RoleName"] for role in answer["Roles"]["Role"]]
        if not answer["IsTruncated"]:
            break
        marker = answer["Marker"]
    assert seen == [f"role-{number}" for number in range(5)]
    assert refused(cloud, "ListRoles", Marker="made up")[0] == "InvalidParameter.Marker"


def test_a_principal_has_at_most_20_policies(cloud: Cloud) -> None:
    create_role(cloud)
    for number in range(21):
        ram(cloud, "CreatePolicy", PolicyName=f"p{number}", PolicyDocument=READING)
    for number in range(20):
        ram(cloud, "AttachPolicyToRole", RoleName="worker", PolicyName=f"p{number}", PolicyType="Custom")
    last = {"RoleName": "worker", "PolicyName": "p20", "PolicyType": "Custom"}
    assert refused(cloud, "AttachPolicyToRole", **last)[0] == "LimitExceeded.Role.Policy"


def test_another_account_sees_nothing_of_it(cloud: Cloud) -> None:
    other = cloud.add_account()
    create_role(cloud)
    ram(cloud, "CreatePolicy", PolicyName="reading", PolicyDocument=READING)
    assert cloud.call("ListRoles", version=RAM, account_id=other)["Roles"]["Role"] == []
    own = cloud.call("ListPolicies", {"PolicyType": "Custom"}, version=RAM, account_id=other)
    assert own["Policies"]["Policy"] == []
    with pytest.raises(ApiError) as caught:
        cloud.call("GetRole", {"RoleName": "worker"}, version=RAM, account_id=other)
    assert caught.value.code == "EntityNotExist.Role"
    # Names are the account's own.
    cloud.call("CreateRole", {"RoleName": "worker", "AssumeRolePolicyDocument": TRUST}, version=RAM, account_id=other)


def test_names_are_told_apart_by_case_when_they_are_looked_up(cloud: Cloud) -> None:
    # Or a Deny on role/worker would not hold for one who says role/WORKER.
    create_role(cloud)
    assert refused(cloud, "GetRole", RoleName="WORKER")[0] == "EntityNotExist.Role"
    assert refused(cloud, "DeleteRole", RoleName="WORKER")[0] == "EntityNotExist.Role"
