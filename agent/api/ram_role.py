"""Roles (RAM)."""

from __future__ import annotations

from typing import Any

from agent.api.caller import caller
from agent.api.common import refuse
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import MarkedPages
from agent.api.edge.params import Params, Tag
from agent.api.edge.registry import RAM, action
from agent.core.clock import iso_seconds
from agent.services import policy as policies
from agent.services import role as service
from agent.store.schema import Role


class RoleParams(Params):
    role_name: str


class CreateRoleParams(RoleParams):
    assume_role_policy_document: str
    description: str = ""
    max_session_duration: int = service.MIN_SESSION
    allow_console_login: bool = False
    tag: list[Tag] = []


class UpdateRoleParams(RoleParams):
    new_assume_role_policy_document: str | None = None
    new_description: str | None = None
    new_max_session_duration: int | None = None
    new_allow_console_login: bool = False


class ListRolesParams(MarkedPages):
    tag: list[Tag] = []


@action("CreateRole", version=RAM, params=CreateRoleParams, resource="role/{role_name}", access="write")
def create_role(call: Call, p: CreateRoleParams) -> dict[str, Any]:
    refuse("CreateRole", AllowConsoleLogin=p.allow_console_login, **{"Tag.1": p.tag})
    role = service.create(
        caller(call),
        name=p.role_name,
        trust_policy=p.assume_role_policy_document,
        description=p.description,
        max_session_seconds=p.max_session_duration,
    )
    return {"Role": _full(role)}


@action("GetRole", version=RAM, params=RoleParams, resource="role/{role_name}", access="read")
def get_role(call: Call, p: RoleParams) -> dict[str, Any]:
    return {"Role": _full(service.get(caller(call), p.role_name))}


@action("ListRoles", version=RAM, params=ListRolesParams, resource="role/*", access="read")
def list_roles(call: Call, p: ListRolesParams) -> dict[str, Any]:
    refuse("ListRoles", **{"Tag.1": p.tag})
    page, fields = paging.page_by_marker(call.session.scalars(service.find(caller(call))).all(), p)
    return {"Roles": {"Role": [_shown(role) for role in page]}, **fields}


@action("UpdateRole", version=RAM, params=UpdateRoleParams, resource="role/{role_name}", access="write")
def update_role(call: Call, p: UpdateRoleParams) -> dict[str, Any]:
    refuse("UpdateRole", NewAllowConsoleLogin=p.new_allow_console_login)
    role = service.update(
        caller(call),
        p.role_name,
        trust_policy=p.new_assume_role_policy_document,
        description=p.new_description,
        max_session_seconds=p.new_max_session_duration,
    )
    return {"Role": _full(role)}


@action("DeleteRole", version=RAM, params=RoleParams, resource="role/{role_name}", access="write")
def delete_role(call: Call, p: RoleParams) -> dict[str, Any]:
    service.delete(caller(call), p.role_name)
    return {}


@action("ListPoliciesForRole", version=RAM, params=RoleParams, resource="role/{role_name}", access="read")
def list_policies_for_role(call: Call, p: RoleParams) -> dict[str, Any]:
    role = service.get(caller(call), p.role_name)
    shown = [
        {
            "PolicyName": policy.name,
            "PolicyType": policy.type,
            "Description": policy.description,
            "DefaultVersion": policies.VERSION,
            "AttachDate": iso_seconds(since),
        }
        for policy, since in policies.attached(caller(call), service.PRINCIPAL, role.id)
    ]
    return {"Policies": {"Policy": shown}}


def _shown(role: Role) -> dict[str, Any]:
    return {
        "RoleId": role.id,
        "RoleName": role.name,
        "Arn": service.arn(role),
        "Description": role.description,
        "MaxSessionDuration": role.max_session_seconds,
        "AllowConsoleLogin": False,
        "CreateDate": iso_seconds(role.created_at),
        "UpdateDate": iso_seconds(role.updated_at),
    }


def _full(role: Role) -> dict[str, Any]:
    return _shown(role) | {"AssumeRolePolicyDocument": role.trust_policy}
