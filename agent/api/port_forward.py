"""Ports of the host that lead to instances: our own actions, for the public API has nothing like it."""

from __future__ import annotations

from typing import Any

from agent.api.caller import caller
from agent.api.common import effective_when_answered
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import Paged
from agent.api.edge.params import RegionParams
from agent.api.edge.registry import HOST, action
from agent.core.clock import iso_seconds
from agent.services import port_forward as service
from agent.store.schema import PortForward


class CreateParams(RegionParams):
    instance_id: str
    host_port: int
    port: int
    protocol: str = "tcp"
    host_address: str = ""
    description: str = ""


class DeleteParams(RegionParams):
    port_forward_id: str


class DescribeParams(RegionParams, Paged):
    port_forward_id: list[str] = []
    instance_id: str = ""
    protocol: str = ""
    host_port: int | None = None


@action(
    "CreatePortForward",
    version=HOST,
    params=CreateParams,
    resource=("portforward/*", "instance/{instance_id}"),
    access="write",
    idempotent=True,
    dry_run=True,
)
def create_port_forward(call: Call, p: CreateParams) -> dict[str, Any]:
    made, job = service.create(
        caller(call),
        p.instance_id,
        host_port=p.host_port,
        port=p.port,
        protocol=p.protocol.lower(),
        host_address=p.host_address,
        description=p.description,
    )
    effective_when_answered(call, job)
    return {"PortForwardId": made.id}


@action(
    "DeletePortForward", version=HOST, params=DeleteParams, resource="portforward/{port_forward_id}", access="write"
)
def delete_port_forward(call: Call, p: DeleteParams) -> dict[str, Any]:
    effective_when_answered(call, service.delete(caller(call), p.port_forward_id))
    return {}


@action(
    "DescribePortForwards", version=HOST, params=DescribeParams, resource="portforward/{port_forward_id}", access="read"
)
def describe_port_forwards(call: Call, p: DescribeParams) -> dict[str, Any]:
    found = service.find(
        caller(call),
        forward_ids=p.port_forward_id,
        instance_id=p.instance_id,
        protocol=p.protocol.lower(),
        host_port=p.host_port,
    )
    page = paging.page(call.session, found, p)
    return {"PortForwards": {"PortForward": [_shown(one) for one in page.items]}, **page.fields()}


def _shown(forward: PortForward) -> dict[str, Any]:
    return {
        "PortForwardId": forward.id,
        "Protocol": forward.protocol,
        "HostAddress": forward.host_address,
        "HostPort": forward.host_port,
        "InstanceId": forward.interface.instance_id or "",
        "PrivateIpAddress": forward.interface.ip,
        "Port": forward.port,
        "Description": forward.description,
        "CreationTime": iso_seconds(forward.created_at),
    }
