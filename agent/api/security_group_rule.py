"""Actions on the rules of security groups (SPEC F2, F6).

A rule is given in parameters of its own (`IpProtocol`, `PortRange`, …) or, several at once, as `Permissions.N.…`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from agent.api.caller import caller
from agent.api.common import effective_when_answered, refuse
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import Paged
from agent.api.edge.params import Params, RegionParams
from agent.api.edge.registry import ECS, action
from agent.api.security_group import shown_vpc
from agent.api.security_group_view import shown
from agent.core.errors import InvalidParameter
from agent.services import security_group_check as check
from agent.services import security_group_rule as service
from agent.services.security_group import get_security_group
from agent.services.security_group_check import EGRESS, INGRESS, RuleInput


class Permission(Params):
    """A rule on the wire; the source is read of a rule inwards, the destination of one outwards."""

    policy: str = ""
    ip_protocol: str = ""
    port_range: str = ""
    nic_type: str = ""
    priority: str = ""
    description: str | None = None
    source_cidr_ip: str = ""
    source_group_id: str = ""
    source_group_owner_id: str = ""
    source_group_owner_account: str = ""
    dest_cidr_ip: str = ""
    dest_group_id: str = ""
    dest_group_owner_id: str = ""
    dest_group_owner_account: str = ""
    # Public, but not offered here: given, they are refused.
    source_port_range: str = ""
    source_prefix_list_id: str = ""
    dest_prefix_list_id: str = ""
    port_range_list_id: str = ""
    ipv6_source_cidr_ip: str = ""
    ipv6_dest_cidr_ip: str = ""


class RulesParams(RegionParams, Permission):
    security_group_id: str
    permissions: list[Permission] = []


class RevokeParams(RulesParams):
    security_group_rule_id: list[str] = []


class ModifyRuleParams(RegionParams, Permission):
    security_group_id: str
    security_group_rule_id: str = ""


class DescribeAttributeParams(RegionParams, Paged):
    max_results: Annotated[int, Field(ge=1, le=1000)] | None = None
    security_group_id: str
    direction: Literal["all", "ingress", "egress"] = "all"
    nic_type: Literal["", "intranet", "internet"] = ""


def rule_of(call: Call, given: Permission, direction: str, prefix: str = "") -> RuleInput:
    inwards = direction == INGRESS
    refuse(
        call.action,
        **{
            f"{prefix}SourcePortRange": given.source_port_range.replace(check.ALL_PORTS, ""),
            f"{prefix}SourcePrefixListId": given.source_prefix_list_id,
            f"{prefix}DestPrefixListId": given.dest_prefix_list_id,
            f"{prefix}PortRangeListId": given.port_range_list_id,
            f"{prefix}Ipv6SourceCidrIp": given.ipv6_source_cidr_ip,
            f"{prefix}Ipv6DestCidrIp": given.ipv6_dest_cidr_ip,
            **_other_side(given, inwards, prefix),
        },
    )
    return RuleInput(
        policy=given.policy or None,
        protocol=given.ip_protocol or None,
        port_range=given.port_range or None,
        peer_cidr=(given.source_cidr_ip if inwards else given.dest_cidr_ip) or None,
        peer_group_id=(given.source_group_id if inwards else given.dest_group_id) or None,
        peer_group_owner_id=(given.source_group_owner_id if inwards else given.dest_group_owner_id) or None,
        peer_group_owner_account=(given.source_group_owner_account if inwards else given.dest_group_owner_account)
        or None,
        nic_type=given.nic_type or None,
        priority=given.priority or None,
        description=given.description,
        prefix=prefix,
    )


def _other_side(given: Permission, inwards: bool, prefix: str) -> dict[str, str]:
    """What a rule of this direction does not have: it has one peer."""
    if inwards:
        return {f"{prefix}DestCidrIp": given.dest_cidr_ip, f"{prefix}DestGroupId": given.dest_group_id}
    return {f"{prefix}SourceCidrIp": given.source_cidr_ip, f"{prefix}SourceGroupId": given.source_group_id}


def _rules(call: Call, p: RulesParams, direction: str) -> list[RuleInput]:
    flat = p.ip_protocol or p.port_range or p.source_cidr_ip or p.source_group_id or p.dest_cidr_ip or p.dest_group_id
    if not p.permissions:
        return [rule_of(call, p, direction)]
    if flat:
        raise InvalidParameter("Permissions", "...", "give either Permissions.N or one rule without it, not both.")
    return [rule_of(call, one, direction, f"Permissions.{n}.") for n, one in enumerate(p.permissions, 1)]


def _authorize(call: Call, p: RulesParams, direction: str) -> dict[str, Any]:
    job = service.authorize(caller(call), p.security_group_id, direction, _rules(call, p, direction))
    effective_when_answered(call, job)
    return {}


def _revoke(call: Call, p: RevokeParams, direction: str) -> dict[str, Any]:
    given = [] if p.security_group_rule_id else _rules(call, p, direction)
    job = service.revoke(caller(call), p.security_group_id, direction, rule_ids=p.security_group_rule_id, given=given)
    effective_when_answered(call, job)
    return {}


def _modify(call: Call, p: ModifyRuleParams, direction: str) -> dict[str, Any]:
    job = service.modify(
        caller(call),
        p.security_group_id,
        direction,
        rule_id=p.security_group_rule_id,
        given=rule_of(call, p, direction),
    )
    effective_when_answered(call, job)
    return {}


_GROUP = "securitygroup/{security_group_id}"


@action("AuthorizeSecurityGroup", version=ECS, params=RulesParams, resource=_GROUP, access="write", idempotent=True)
def authorize_security_group(call: Call, p: RulesParams) -> dict[str, Any]:
    return _authorize(call, p, INGRESS)


@action(
    "AuthorizeSecurityGroupEgress", version=ECS, params=RulesParams, resource=_GROUP, access="write", idempotent=True
)
def authorize_security_group_egress(call: Call, p: RulesParams) -> dict[str, Any]:
    return _authorize(call, p, EGRESS)


@action("RevokeSecurityGroup", version=ECS, params=RevokeParams, resource=_GROUP, access="write", idempotent=True)
def revoke_security_group(call: Call, p: RevokeParams) -> dict[str, Any]:
    return _revoke(call, p, INGRESS)


@action("RevokeSecurityGroupEgress", version=ECS, params=RevokeParams, resource=_GROUP, access="write", idempotent=True)
def revoke_security_group_egress(call: Call, p: RevokeParams) -> dict[str, Any]:
    return _revoke(call, p, EGRESS)


@action(
    "ModifySecurityGroupRule", version=ECS, params=ModifyRuleParams, resource=_GROUP, access="write", idempotent=True
)
def modify_security_group_rule(call: Call, p: ModifyRuleParams) -> dict[str, Any]:
    return _modify(call, p, INGRESS)


@action(
    "ModifySecurityGroupEgressRule",
    version=ECS,
    params=ModifyRuleParams,
    resource=_GROUP,
    access="write",
    idempotent=True,
)
def modify_security_group_egress_rule(call: Call, p: ModifyRuleParams) -> dict[str, Any]:
    return _modify(call, p, EGRESS)


@action(
    "DescribeSecurityGroupAttribute",
    version=ECS,
    params=DescribeAttributeParams,
    resource=_GROUP,
    access="read",
    ignored=("Attribute",),
)
def describe_security_group_attribute(call: Call, p: DescribeAttributeParams) -> dict[str, Any]:
    """All rules at once unless NextToken or MaxResults asks for pages."""
    group = get_security_group(caller(call), p.security_group_id)
    rules = [
        rule
        for rule in sorted(group.rules, key=lambda r: (r.direction != INGRESS, r.priority, r.created_at, r.id))
        if p.direction in ("all", rule.direction) and p.nic_type in ("", rule.nic_type)
    ]
    token: str | None = ""
    if p.next_token or p.max_results is not None:
        page = paging.page_list(rules, p)
        rules, token = list(page.items), page.token
    return {
        "RegionId": call.region_id,
        "SecurityGroupId": group.id,
        "SecurityGroupName": group.name,
        "Description": group.description,
        "VpcId": shown_vpc(group),
        "InnerAccessPolicy": "Accept" if group.inner_access else "Drop",
        "Permissions": {"Permission": [shown(call, rule) for rule in rules]},
        "SnapshotPolicyIds": {"SnapshotPolicyId": []},
        "NextToken": token,
    }
