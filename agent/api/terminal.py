"""The management terminal: the address of its page, and its password."""

from __future__ import annotations

from typing import Any

from agent.api.caller import caller
from agent.api.edge.call import Call
from agent.api.edge.params import RegionParams
from agent.api.edge.registry import ECS, action
from agent.services import instance as instances
from agent.services import terminal as service

ONE = "instance/{instance_id}"


class TerminalParams(RegionParams):
    instance_id: str


class ModifyVncPasswdParams(TerminalParams):
    vnc_password: str


@action("DescribeInstanceVncUrl", version=ECS, params=TerminalParams, resource=ONE, access="read")
def describe_instance_vnc_url(call: Call, p: TerminalParams) -> dict[str, Any]:
    instance = instances.get(caller(call), p.instance_id)
    return {"VncUrl": call.services.pages.url("vnc", instance.id, call.identity, call.host)}


@action("DescribeInstanceVncPasswd", version=ECS, params=TerminalParams, resource=ONE, access="write")
def describe_instance_vnc_passwd(call: Call, p: TerminalParams) -> dict[str, Any]:
    return {"VncPasswd": service.describe_password(caller(call), p.instance_id)}


@action("ModifyInstanceVncPasswd", version=ECS, params=ModifyVncPasswdParams, resource=ONE, access="write")
def modify_instance_vnc_passwd(call: Call, p: ModifyVncPasswdParams) -> dict[str, Any]:
    service.modify_password(caller(call), p.instance_id, p.vnc_password)
    return {}
