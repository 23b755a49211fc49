"""Cloning and restoring security groups (SPEC F8, F9): actions of our own, as the public console has them."""

from __future__ import annotations

from typing import Any, Literal

from agent.api.caller import caller
from agent.api.common import effective_when_answered, given_tags
from agent.api.edge.call import Call
from agent.api.edge.params import RegionParams, Tag
from agent.api.edge.registry import HOST, action
from agent.api.security_group import is_classic, network_of
from agent.api.security_group_rule import Permission, rule_of
from agent.api.security_group_view import said, shown
from agent.core.errors import InvalidParameter
from agent.core.ids import CLASSIC_VPC
from agent.services import security_group_clone as clones
from agent.services import security_group_restore as restores
from agent.services.context import Caller
from agent.services.security_group import get_security_group
from agent.services.security_group_check import LeftOut
from agent.store.schema import Vpc


class CloneParams(RegionParams):
    security_group_id: str
    destination_region_id: str = ""
    vpc_id: str = ""
    network_type: str = ""
    security_group_name: str = ""
    description: str = ""
    tag: list[Tag] = []


class ReceivedPermission(Permission):
    direction: Literal["ingress", "egress"]


class ReceiveParams(RegionParams):
    security_group_id: str
    network_type: str
    vpc_id: str = ""
    security_group_name: str = ""
    description: str = ""
    inner_access_policy: Literal["Accept", "Drop"]
    permissions: list[ReceivedPermission] = []
    tag: list[Tag] = []


class RestoreParams(RegionParams):
    security_group_id: str
    source_security_group_id: str
    restore_type: Literal["Full", "Partial"] = "Full"


_NEW = ("securitygroup/{security_group_id}", "securitygroup/*")


@action(
    "CloneSecurityGroup",
    version=HOST,
    params=CloneParams,
    resource=_NEW,
    access="write",
    idempotent=True,
    dry_run=True,
)
def clone_security_group(call: Call, p: CloneParams) -> dict[str, Any]:
    """VpcId and NetworkType are of the destination; without both: as the source, in another region its default VPC."""
    who, in_classic = caller(call), is_classic(p.network_type)
    if in_classic and p.vpc_id:
        raise InvalidParameter("VpcId", p.vpc_id, "the classic network has no VPC.", code="InvalidParameter.Conflict")
    named = clones.Named(p.security_group_name, p.description, given_tags(p.tag))
    if p.destination_region_id and p.destination_region_id != call.region_id:
        if in_classic is None:
            in_classic = not p.vpc_id and get_security_group(who, p.security_group_id).vpc_id == CLASSIC_VPC
        made = clones.clone_to_region(
            who, p.security_group_id, p.destination_region_id, classic=in_classic, vpc_id=p.vpc_id, named=named
        )
    else:
        made = clones.clone(who, p.security_group_id, _destination(who, p, in_classic), named)
    call.after_commit(call.services.runner.wake)
    return {
        "SecurityGroupId": made.group_id,
        "RegionId": p.destination_region_id or call.region_id,
        "JobId": made.job.id if made.job else "",
        "LeftOut": _left_out(call, made.left_out),
    }


def _destination(who: Caller, p: CloneParams, in_classic: bool | None) -> Vpc | None:
    """None: where its source is."""
    same = in_classic is False and get_security_group(who, p.security_group_id).vpc_id != CLASSIC_VPC
    return None if not p.vpc_id and (in_classic is None or same) else network_of(who, p.vpc_id, in_classic)


@action("ReceiveSecurityGroup", version=HOST, params=ReceiveParams, resource="securitygroup/*", access="write")
def receive_security_group(call: Call, p: ReceiveParams) -> dict[str, Any]:
    """Another region's agent clones a group to here, with an id that it chose."""
    who = caller(call)
    coming = clones.Coming(
        group_id=p.security_group_id,
        network=network_of(who, p.vpc_id, is_classic(p.network_type)),
        inner_access=p.inner_access_policy == "Accept",
        rules=[
            (one.direction, rule_of(call, one, one.direction, f"Permissions.{n}."))
            for n, one in enumerate(p.permissions, 1)
        ],
        named=clones.Named(p.security_group_name, p.description, given_tags(p.tag)),
    )
    group = clones.receive(who, coming)
    call.after_commit(call.services.runner.wake)  # the classic network may have been made for it
    return {"SecurityGroupId": group.id}


def _both(call: Call, p: RestoreParams) -> list[str]:
    return [f"securitygroup/{p.security_group_id}", f"securitygroup/{p.source_security_group_id}"]


@action(
    "RestoreSecurityGroup",
    version=HOST,
    params=RestoreParams,
    resource=_both,
    access="write",
    idempotent=True,
    dry_run=True,
)
def restore_security_group(call: Call, p: RestoreParams) -> dict[str, Any]:
    """Full: the group has the source's rules and no others afterwards. Partial: it gets those that it lacks."""
    found, job = restores.restore(
        caller(call), p.security_group_id, p.source_security_group_id, partial=p.restore_type == "Partial"
    )
    effective_when_answered(call, job)
    return _difference(call, found)


@action("DescribeSecurityGroupRestoration", version=HOST, params=RestoreParams, resource=_both, access="read")
def describe_security_group_restoration(call: Call, p: RestoreParams) -> dict[str, Any]:
    """What RestoreSecurityGroup would do."""
    found = restores.compare(
        caller(call), p.security_group_id, p.source_security_group_id, partial=p.restore_type == "Partial"
    )
    return _difference(call, found)


def _difference(call: Call, found: restores.Difference) -> dict[str, Any]:
    return {
        "Added": {"Permission": [said(call, rule) for rule in found.added]},
        "Removed": {"Permission": [shown(call, rule) for rule in found.removed]},
        "LeftOut": _left_out(call, found.left_out),
    }


def _left_out(call: Call, found: tuple[LeftOut, ...]) -> dict[str, Any]:
    return {"Permission": [said(call, one.rule) | {"Reason": one.reason} for one in found]}
