"""The RAM role of instances (SPEC I12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from agent.api.caller import caller
from agent.api.common import refuse
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import NumberedPagesOf50
from agent.api.edge.params import JsonList, RegionParams
from agent.api.edge.registry import ECS, action
from agent.core.errors import MissingParameter
from agent.services import instance_role as service

InstanceIds = Annotated[JsonList, Field(min_length=1, max_length=100)]


class AttachParams(RegionParams):
    instance_ids: InstanceIds
    ram_role_name: str
    policy: str = ""


class DetachParams(RegionParams):
    instance_ids: InstanceIds
    ram_role_name: str = ""


class DescribeParams(RegionParams, NumberedPagesOf50):
    instance_ids: InstanceIds | None = None
    ram_role_name: str = ""


def require_pass_role(call: Call, role_name: str) -> None:
    """Who gives an instance a role can do through it whatever the role may: that needs a permission of its own."""
    call.require("ram:PassRole", f"acs:ram:*:{call.account_id}:role/{role_name}")


@action("AttachInstanceRamRole", version=ECS, params=AttachParams, resource="instance/{instance_ids}", access="write")
def attach_instance_ram_role(call: Call, p: AttachParams) -> dict[str, Any]:
    refuse("AttachInstanceRamRole", Policy=p.policy)
    require_pass_role(call, p.ram_role_name)
    outcomes = service.attach(caller(call), p.instance_ids, p.ram_role_name)
    results = [_result(one) for one in outcomes]
    return {"AttachInstanceRamRoleResults": {"AttachInstanceRamRoleResult": results}, **_counts(p, outcomes)}


@action("DetachInstanceRamRole", version=ECS, params=DetachParams, resource="instance/{instance_ids}", access="write")
def detach_instance_ram_role(call: Call, p: DetachParams) -> dict[str, Any]:
    outcomes = service.detach(caller(call), p.instance_ids, p.ram_role_name)
    results = [_result(one) | _sets([(one.instance_id, one.role_name)] if one.success else []) for one in outcomes]
    return {"DetachInstanceRamRoleResults": {"DetachInstanceRamRoleResult": results}, **_counts(p, outcomes)}


@action(
    "DescribeInstanceRamRole", version=ECS, params=DescribeParams, resource="instance/{instance_ids}", access="read"
)
def describe_instance_ram_role(call: Call, p: DescribeParams) -> dict[str, Any]:
    if p.instance_ids is None and not p.ram_role_name:
        raise MissingParameter("InstanceIds")
    page = paging.page(call.session, service.find(caller(call), p.instance_ids, p.ram_role_name), p)
    pairs = [(instance.id, instance.ram_role_name or "") for instance in page.items]
    return {"RegionId": call.region_id, **_sets(pairs), **page.fields()}


def _sets(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    shown = [{"InstanceId": instance_id, "RamRoleName": role_name} for instance_id, role_name in pairs]
    return {"InstanceRamRoleSets": {"InstanceRamRoleSet": shown}}


def _result(outcome: service.Outcome) -> dict[str, Any]:
    return {
        "InstanceId": outcome.instance_id,
        "Success": outcome.success,
        "Code": outcome.code,
        "Message": outcome.message,
    }


def _counts(p: AttachParams | DetachParams, outcomes: Sequence[service.Outcome]) -> dict[str, Any]:
    failed = sum(not outcome.success for outcome in outcomes)
    return {"RamRoleName": p.ram_role_name, "TotalCount": len(outcomes), "FailCount": failed}
