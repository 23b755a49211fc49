"""JoinSecurityGroup and LeaveSecurityGroup (SPEC I10)."""

from __future__ import annotations

from typing import Any

from agent.api.caller import caller
from agent.api.common import effective_when_answered
from agent.api.edge.call import Call
from agent.api.edge.params import RegionParams
from agent.api.edge.registry import ECS, action
from agent.services import security_group_member as service


class MemberParams(RegionParams):
    security_group_id: str
    instance_id: str = ""
    network_interface_id: str = ""


def _both(call: Call, p: MemberParams) -> list[str]:
    """The instance by its own id, however it is named: policies know it by that."""
    instance = service.named(caller(call), p.instance_id, p.network_interface_id)
    return [f"instance/{instance.id}", f"securitygroup/{p.security_group_id}"]


@action("JoinSecurityGroup", version=ECS, params=MemberParams, resource=_both, access="write")
def join_security_group(call: Call, p: MemberParams) -> dict[str, Any]:
    """An interface's id stands for its instance: all of an instance's interfaces are in the same groups."""
    job = service.join(
        caller(call), p.security_group_id, instance_id=p.instance_id, interface_id=p.network_interface_id
    )
    effective_when_answered(call, job)
    return {}


@action("LeaveSecurityGroup", version=ECS, params=MemberParams, resource=_both, access="write")
def leave_security_group(call: Call, p: MemberParams) -> dict[str, Any]:
    job = service.leave(
        caller(call), p.security_group_id, instance_id=p.instance_id, interface_id=p.network_interface_id
    )
    effective_when_answered(call, job)
    return {}
