"""Policies (RAM), and their attachment to roles."""

from __future__ import annotations

from typing import Any, Literal

from agent.api.caller import caller
from agent.api.common import refuse
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import MarkedPages
from agent.api.edge.params import Params, Tag
from agent.api.edge.registry import RAM, action
from agent.core.clock import iso_seconds
from agent.services import policy as service
from agent.services import role as roles

PolicyType = Literal["System", "Custom"]


class CreatePolicyParams(Params):
    policy_name: str
    policy_document: str
    description: str = ""
    tag: list[Tag] = []


class PolicyParams(Params):
    policy_name: str
    policy_type: PolicyType


class ListPoliciesParams(MarkedPages):
    policy_type: PolicyType | None = None
    tag: list[Tag] = []


class DeletePolicyParams(Params):
    policy_name: str
    cascading_delete: bool = False


class AttachParams(PolicyParams):
    role_name: str


_BOTH = ("policy/{policy_name}", "role/{role_name}")


@action("CreatePolicy", version=RAM, params=CreatePolicyParams, resource="policy/{policy_name}", access="write")
def create_policy(call: Call, p: CreatePolicyParams) -> dict[str, Any]:
    refuse("CreatePolicy", **{"Tag.1": p.tag})
    made = service.create(caller(call), name=p.policy_name, document=p.policy_document, description=p.description)
    return {"Policy": _shown(call, made)}


@action("GetPolicy", version=RAM, params=PolicyParams, resource="policy/{policy_name}", access="read")
def get_policy(call: Call, p: PolicyParams) -> dict[str, Any]:
    found = service.get(caller(call), p.policy_type, p.policy_name)
    version = {
        "VersionId": service.VERSION,
        "IsDefaultVersion": True,
        "PolicyDocument": found.document,
        "CreateDate": iso_seconds(found.updated_at),
    }
    return {"Policy": _shown(call, found) | {"PolicyDocument": found.document}, "DefaultPolicyVersion": version}


@action("ListPolicies", version=RAM, params=ListPoliciesParams, resource="policy/*", access="read")
def list_policies(call: Call, p: ListPoliciesParams) -> dict[str, Any]:
    refuse("ListPolicies", **{"Tag.1": p.tag})
    page, fields = paging.page_by_marker(service.find(caller(call), p.policy_type or ""), p)
    return {"Policies": {"Policy": [_shown(call, policy) for policy in page]}, **fields}


@action("DeletePolicy", version=RAM, params=DeletePolicyParams, resource="policy/{policy_name}", access="write")
def delete_policy(call: Call, p: DeletePolicyParams) -> dict[str, Any]:
    refuse("DeletePolicy", CascadingDelete=p.cascading_delete)
    service.delete(caller(call), p.policy_name)
    return {}


@action("AttachPolicyToRole", version=RAM, params=AttachParams, resource=_BOTH, access="write")
def attach_policy_to_role(call: Call, p: AttachParams) -> dict[str, Any]:
    role = roles.get(caller(call), p.role_name)
    service.attach(caller(call), roles.PRINCIPAL, role.id, p.policy_type, p.policy_name)
    return {}


@action("DetachPolicyFromRole", version=RAM, params=AttachParams, resource=_BOTH, access="write")
def detach_policy_from_role(call: Call, p: AttachParams) -> dict[str, Any]:
    role = roles.get(caller(call), p.role_name)
    service.detach(caller(call), roles.PRINCIPAL, role.id, p.policy_type, p.policy_name)
    return {}


def _shown(call: Call, policy: service.Described) -> dict[str, Any]:
    return {
        "PolicyName": policy.name,
        "PolicyType": policy.type,
        "Description": policy.description,
        "DefaultVersion": service.VERSION,
        "AttachmentCount": service.attachments(caller(call), policy.type, policy.name),
        "CreateDate": iso_seconds(policy.created_at),
        "UpdateDate": iso_seconds(policy.updated_at),
    }
