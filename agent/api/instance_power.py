"""Instance actions: start, stop, reboot, release, one or many."""

from __future__ import annotations

from functools import partial
from typing import Any

from agent.api.caller import caller
from agent.api.edge.call import Call
from agent.api.edge.registry import ECS, action
from agent.api.instance_params import (
    BatchParams,
    InstanceParams,
    RebootManyParams,
    RebootParams,
    ReleaseManyParams,
    ReleaseParams,
    StopManyParams,
    StopParams,
)
from agent.core.errors import InvalidParameter
from agent.services import instance_power as service

ONE = "instance/{instance_id}"
OPTIMIZATIONS = ("AllTogether", "SuccessFirst")


@action("StartInstance", version=ECS, params=InstanceParams, resource=ONE, access="write", dry_run=True)
def start_instance(call: Call, p: InstanceParams) -> dict[str, Any]:
    service.start(caller(call), p.instance_id)
    call.after_commit(call.services.runner.wake)
    return {}


@action("StopInstance", version=ECS, params=StopParams, resource=ONE, access="write", dry_run=True)
def stop_instance(call: Call, p: StopParams) -> dict[str, Any]:
    service.stop(caller(call), p.instance_id, force=p.force_stop)
    call.after_commit(call.services.runner.wake)
    return {}


@action("RebootInstance", version=ECS, params=RebootParams, resource=ONE, access="write", dry_run=True)
def reboot_instance(call: Call, p: RebootParams) -> dict[str, Any]:
    service.reboot(caller(call), p.instance_id, force=p.force_stop)
    call.after_commit(call.services.runner.wake)
    return {}


@action("DeleteInstance", version=ECS, params=ReleaseParams, resource=ONE, access="write", dry_run=True)
def delete_instance(call: Call, p: ReleaseParams) -> dict[str, Any]:
    service.release(caller(call), p.instance_id, force=p.force)
    call.after_commit(call.services.runner.wake)
    return {}


@action("StartInstances", version=ECS, params=BatchParams, resource=ONE, access="write", dry_run=True)
def start_instances(call: Call, p: BatchParams) -> dict[str, Any]:
    return _batch(call, p, service.start)


@action("StopInstances", version=ECS, params=StopManyParams, resource=ONE, access="write", dry_run=True)
def stop_instances(call: Call, p: StopManyParams) -> dict[str, Any]:
    return _batch(call, p, partial(service.stop, force=p.force_stop))


@action("RebootInstances", version=ECS, params=RebootManyParams, resource=ONE, access="write", dry_run=True)
def reboot_instances(call: Call, p: RebootManyParams) -> dict[str, Any]:
    return _batch(call, p, partial(service.reboot, force=p.force_reboot))


@action(
    "DeleteInstances",
    version=ECS,
    params=ReleaseManyParams,
    resource=ONE,
    access="write",
    dry_run=True,
    idempotent=True,
)
def delete_instances(call: Call, p: ReleaseManyParams) -> dict[str, Any]:
    service.batch(caller(call), p.instance_id, partial(service.release, force=p.force))
    call.after_commit(call.services.runner.wake)
    return {}


def _batch(call: Call, p: BatchParams, operation: Any) -> dict[str, Any]:
    if p.batch_optimization not in OPTIMIZATIONS:
        raise InvalidParameter("BatchOptimization", p.batch_optimization, f"it is one of {', '.join(OPTIMIZATIONS)}.")
    outcomes = service.batch(
        caller(call), p.instance_id, operation, success_first=p.batch_optimization == "SuccessFirst"
    )
    call.after_commit(call.services.runner.wake)
    shown = [
        {
            "InstanceId": o.instance_id,
            "PreviousStatus": o.before,
            "CurrentStatus": o.after,
            "Code": o.code,
            "Message": o.message,
        }
        for o in outcomes
    ]
    return {"InstanceResponses": {"InstanceResponse": shown}}
