"""Security group actions (SPEC F1, F4). Their rules are in security_group_rule.py."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agent.api.caller import caller
from agent.api.common import ecs_tags, effective_when_answered, given_tags, refuse, tag_filters
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import Paged
from agent.api.edge.params import JsonList, RegionParams, Tag
from agent.api.edge.registry import ECS, action
from agent.core.clock import iso_seconds
from agent.core.errors import InvalidParameter, MissingParameter
from agent.core.ids import CLASSIC_VPC
from agent.services import classic, quota, tag, vpc
from agent.services import security_group as service
from agent.services.context import Caller
from agent.store.schema import SecurityGroup, Vpc

_IGNORED = ("ResourceGroupId", "IsQueryEcsCount")


class CreateSecurityGroupParams(RegionParams):
    vpc_id: str = ""
    network_type: str = ""
    security_group_name: str = ""
    description: str = ""
    security_group_type: str = "normal"
    service_managed: bool = False
    tag: list[Tag] = []


class DescribeSecurityGroupsParams(RegionParams, Paged):
    security_group_id: str = ""
    security_group_ids: JsonList = []
    security_group_name: str = ""
    security_group_type: str = ""
    fuzzy_query: bool = False
    network_type: str = ""
    service_managed: bool = False
    vpc_id: str = ""
    tag: list[Tag] = []


class SecurityGroupParams(RegionParams):
    security_group_id: str


class ModifySecurityGroupParams(SecurityGroupParams):
    security_group_name: str | None = None
    description: str | None = None


class ModifySecurityGroupPolicyParams(SecurityGroupParams):
    inner_access_policy: str


class ReferencesParams(RegionParams):
    security_group_id: Annotated[list[str], Field(max_length=10)]


@action(
    "CreateSecurityGroup",
    version=ECS,
    params=CreateSecurityGroupParams,
    resource="securitygroup/*",
    access="write",
    idempotent=True,
    dry_run=True,
    ignored=_IGNORED,
)
def create_security_group(call: Call, p: CreateSecurityGroupParams) -> dict[str, Any]:
    """Without VpcId the group is made in the account's default VPC, with our own NetworkType=classic in the classic
    network."""
    other_type = "" if p.security_group_type.lower() == "normal" else p.security_group_type
    refuse("CreateSecurityGroup", SecurityGroupType=other_type, ServiceManaged=p.service_managed)
    who = caller(call)
    network = network_of(who, p.vpc_id, is_classic(p.network_type))
    group = service.create_security_group(
        who, network, name=p.security_group_name, description=p.description, tags=given_tags(p.tag)
    )
    call.after_commit(call.services.runner.wake)  # the classic network may have been made for it
    return {"SecurityGroupId": group.id}


def is_classic(network_type: str) -> bool | None:
    """Whether NetworkType means the classic network; None: it says nothing."""
    if network_type.lower() not in ("", "vpc", classic.CLASSIC):
        raise InvalidParameter("NetworkType", network_type, "it must be vpc or classic.")
    return network_type.lower() == classic.CLASSIC if network_type else None


def network_of(who: Caller, vpc_id: str, in_classic: bool | None) -> Vpc:
    """Where a new group shall be; raises MissingParameter when nothing tells."""
    if not in_classic:
        network = vpc.get_vpc(who, vpc_id, code="InvalidVpcId.NotFound") if vpc_id else vpc.default_vpc(who)
        if network is None:
            raise MissingParameter("VpcId")
        return network
    if vpc_id:
        why = "the classic network has no VPC."
        raise InvalidParameter("VpcId", vpc_id, why, code="InvalidParameter.Conflict")
    return classic.network(who).vpc


def _named(call: Call, p: DescribeSecurityGroupsParams) -> list[str]:
    return [f"securitygroup/{group_id}" for group_id in _ids(p) or ["*"]]


def _ids(p: DescribeSecurityGroupsParams) -> list[str]:
    return [*p.security_group_ids, *([p.security_group_id] if p.security_group_id else [])]


@action(
    "DescribeSecurityGroups",
    version=ECS,
    params=DescribeSecurityGroupsParams,
    resource=_named,
    access="read",
    dry_run=True,
    ignored=_IGNORED,
)
def describe_security_groups(call: Call, p: DescribeSecurityGroupsParams) -> dict[str, Any]:
    who = caller(call)
    found = service.find_security_groups(
        who,
        ids=_ids(p),
        vpc_id=p.vpc_id,
        classic=is_classic(p.network_type),
        name=p.security_group_name,
        fuzzy=p.fuzzy_query,
        tags=tag_filters(p.tag),
    )
    if p.security_group_type.lower() == "enterprise" or p.service_managed:
        found = found.where(SecurityGroup.id.is_(None))  # there are none of these
    page = paging.page(call.session, found, p)
    ids = [group.id for group in page.items]
    members, rules = service.member_counts(call.session, ids), service.rule_counts(call.session, ids)
    tags = tag.tags_of(call.session, "securitygroup", ids)
    room = quota.limit(who, "instances_per_security_group")

    def shown(group: SecurityGroup) -> dict[str, Any]:
        total, to_groups = rules.get(group.id, (0, 0))
        return {
            "SecurityGroupId": group.id,
            "SecurityGroupName": group.name,
            "Description": group.description,
            "SecurityGroupType": "normal",
            "VpcId": shown_vpc(group),
            "EcsCount": members.get(group.id, 0),
            "AvailableInstanceAmount": max(0, room - members.get(group.id, 0)),
            "RuleCount": total,
            "GroupToGroupRuleCount": to_groups,
            "ServiceManaged": False,
            "ServiceID": 0,
            "ResourceGroupId": "",
            "CreationTime": iso_seconds(group.created_at),
            "Tags": ecs_tags(tags[group.id]),
        }

    groups = [shown(group) for group in page.items]
    return {"RegionId": call.region_id, "SecurityGroups": {"SecurityGroup": groups}, **page.fields()}


@action(
    "ModifySecurityGroupAttribute",
    version=ECS,
    params=ModifySecurityGroupParams,
    resource="securitygroup/{security_group_id}",
    access="write",
)
def modify_security_group_attribute(call: Call, p: ModifySecurityGroupParams) -> dict[str, Any]:
    service.modify_security_group(
        caller(call), p.security_group_id, name=p.security_group_name, description=p.description
    )
    return {}


@action(
    "ModifySecurityGroupPolicy",
    version=ECS,
    params=ModifySecurityGroupPolicyParams,
    resource="securitygroup/{security_group_id}",
    access="write",
    idempotent=True,
)
def modify_security_group_policy(call: Call, p: ModifySecurityGroupPolicyParams) -> dict[str, Any]:
    effective_when_answered(call, service.set_inner_access(caller(call), p.security_group_id, p.inner_access_policy))
    return {}


@action(
    "DeleteSecurityGroup",
    version=ECS,
    params=SecurityGroupParams,
    resource="securitygroup/{security_group_id}",
    access="write",
)
def delete_security_group(call: Call, p: SecurityGroupParams) -> dict[str, Any]:
    service.delete_security_group(caller(call), p.security_group_id)
    call.after_commit(call.services.runner.wake)
    return {}


@action(
    "DescribeSecurityGroupReferences",
    version=ECS,
    params=ReferencesParams,
    resource="securitygroup/{security_group_id}",
    access="read",
)
def describe_security_group_references(call: Call, p: ReferencesParams) -> dict[str, Any]:
    who = caller(call)
    ids = [service.get_security_group(who, group_id).id for group_id in dict.fromkeys(p.security_group_id)]
    found = service.references(call.session, ids)
    answer = [
        {
            "SecurityGroupId": group_id,
            "ReferencingSecurityGroups": {
                "ReferencingSecurityGroup": [
                    {"AliUid": other.account_id, "SecurityGroupId": other.id} for other in found[group_id]
                ]
            },
        }
        for group_id in ids
        if found[group_id]
    ]
    return {"SecurityGroupReferences": {"SecurityGroupReference": answer}}


def shown_vpc(group: SecurityGroup) -> str:
    """The classic network is shown to nobody as a VPC."""
    return "" if group.vpc_id == CLASSIC_VPC else group.vpc_id
