"""An instance's own public address and its bandwidth (SPEC N3, I8)."""

from __future__ import annotations

from typing import Any

from agent.api.caller import caller
from agent.api.common import effective_when_answered, refuse
from agent.api.edge.call import Call
from agent.api.edge.params import RegionParams
from agent.api.edge.registry import ECS, action
from agent.services import instance_network as service
from agent.services.instance_network import Changes

ONE = "instance/{instance_id}"


class AllocateParams(RegionParams):
    instance_id: str
    ip_address: str = ""


class ReleaseParams(RegionParams):
    public_ip_address: str
    instance_id: str = ""


class NetworkSpecParams(RegionParams):
    instance_id: str
    internet_max_bandwidth_in: int | None = None
    internet_max_bandwidth_out: int | None = None
    network_charge_type: str | None = None
    allocate_public_ip: bool = False
    # For a time only: of subscriptions, which there are none of yet.
    start_time: str = ""
    end_time: str = ""


@action(
    "AllocatePublicIpAddress", version=ECS, params=AllocateParams, resource=ONE, access="write", ignored=("VlanId",)
)
def allocate_public_ip_address(call: Call, p: AllocateParams) -> dict[str, Any]:
    made, job = service.allocate(caller(call), p.instance_id, p.ip_address)
    effective_when_answered(call, job)
    return {"IpAddress": made.ip}


def _released(call: Call, p: ReleaseParams) -> list[str]:
    """The instance that loses it, whether it is named or not: policies know it by its id."""
    return [f"instance/{service.find_own(caller(call), p.public_ip_address, p.instance_id)[1]}"]


@action("ReleasePublicIpAddress", version=ECS, params=ReleaseParams, resource=_released, access="write", dry_run=True)
def release_public_ip_address(call: Call, p: ReleaseParams) -> dict[str, Any]:
    effective_when_answered(call, service.release(caller(call), p.public_ip_address, p.instance_id))
    return {"RemainTimes": ""}


@action(
    "ModifyInstanceNetworkSpec",
    version=ECS,
    params=NetworkSpecParams,
    resource=ONE,
    access="write",
    idempotent=True,
    ignored=("AutoPay", "ISP"),
)
def modify_instance_network_spec(call: Call, p: NetworkSpecParams) -> dict[str, Any]:
    refuse(call.action, StartTime=p.start_time, EndTime=p.end_time)
    wanted = Changes(
        in_mbps=p.internet_max_bandwidth_in,
        out_mbps=p.internet_max_bandwidth_out,
        charge_type=p.network_charge_type,
        allocate=p.allocate_public_ip,
    )
    change(call, p.instance_id, wanted)
    return {"OrderId": ""}


def change(call: Call, instance_id: str, changes: Changes) -> None:
    """Answered when it is so, where the instance has an address that it concerns."""
    job = service.modify(caller(call), instance_id, changes)
    if job is not None:
        effective_when_answered(call, job)
