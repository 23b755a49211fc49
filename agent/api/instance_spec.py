"""Changing the type of an instance, and its bandwidth along with it (SPEC I8)."""

from __future__ import annotations

from typing import Any

from agent.api import instance_network
from agent.api.caller import caller
from agent.api.common import refuse
from agent.api.edge.call import Call
from agent.api.edge.params import Params, RegionParams
from agent.api.edge.registry import ECS, action
from agent.core.errors import MissingParameter
from agent.services import instance_change as service
from agent.services.instance_network import Changes

ONE = "instance/{instance_id}"
_IGNORED = ("AllowMigrateAcrossZone", "Async", "AutoPay", "MigrateAcrossZone", "ModifyMode", "OperatorType")


class DiskParams(Params):
    disk_id: str = ""
    category: str = ""
    performance_level: str = ""


class TemporaryParams(Params):
    start_time: str = ""
    end_time: str = ""
    internet_max_bandwidth_out: str = ""


class SpecParams(RegionParams):
    """What both actions have in common. What they could change beside the type is refused, never misread."""

    instance_id: str
    instance_type: str = ""
    system_disk: DiskParams = DiskParams()
    disk: list[DiskParams] = []


class ModifyInstanceSpecParams(SpecParams):
    internet_max_bandwidth_in: int | None = None
    internet_max_bandwidth_out: int | None = None
    temporary: TemporaryParams = TemporaryParams()


class ModifyPrepayInstanceSpecParams(SpecParams):
    instance_type: str
    end_time: str = ""
    reboot_time: str = ""
    reboot_when_finished: bool = False


@action(
    "ModifyInstanceSpec",
    version=ECS,
    params=ModifyInstanceSpecParams,
    resource=ONE,
    access="write",
    idempotent=True,
    dry_run=True,
    ignored=_IGNORED,
)
def modify_instance_spec(call: Call, p: ModifyInstanceSpecParams) -> dict[str, Any]:
    refuse(
        call.action,
        Temporary=p.temporary.start_time or p.temporary.end_time or p.temporary.internet_max_bandwidth_out,
        **_of_disks(p),
    )
    bandwidth = Changes(in_mbps=p.internet_max_bandwidth_in, out_mbps=p.internet_max_bandwidth_out)
    if not p.instance_type and bandwidth == Changes():
        raise MissingParameter("InstanceType")
    if p.instance_type:
        service.change_type(caller(call), p.instance_id, p.instance_type)
    if bandwidth != Changes():
        instance_network.change(call, p.instance_id, bandwidth)
    return {}


@action(
    "ModifyPrepayInstanceSpec",
    version=ECS,
    params=ModifyPrepayInstanceSpecParams,
    resource=ONE,
    access="write",
    idempotent=True,
    ignored=_IGNORED,
)
def modify_prepay_instance_spec(call: Call, p: ModifyPrepayInstanceSpecParams) -> dict[str, Any]:
    refuse(
        call.action,
        EndTime=p.end_time,
        RebootTime=p.reboot_time,
        RebootWhenFinished=p.reboot_when_finished,
        **_of_disks(p),
    )
    service.change_type(caller(call), p.instance_id, p.instance_type, charge_type="PrePaid")
    return {"OrderId": ""}


def _of_disks(p: SpecParams) -> dict[str, object]:
    return {
        "SystemDisk.Category": p.system_disk.category,
        "Disk.1": next((one.disk_id or one.category or one.performance_level for one in p.disk), ""),
    }
