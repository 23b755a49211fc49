"""Instance actions: create, list, show, change."""

from __future__ import annotations

import base64
from typing import Any

from agent.api import instance_view as view
from agent.api.caller import caller
from agent.api.common import effective_when_answered
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.registry import ECS, HOST, action
from agent.api.instance_params import (
    MEANINGLESS,
    CreateParams,
    DescribeParams,
    DescribeStatusParams,
    InstanceParams,
    ModifyParams,
    ResetPasswordsParams,
    RunParams,
    changes_of,
    network_type,
    request_of,
)
from agent.api.instance_role import require_pass_role
from agent.services import instance as service
from agent.services import instance_change, instance_login, instance_query
from agent.store.schema import Instance


@action(
    "RunInstances",
    version=ECS,
    params=RunParams,
    resource=("instance/*", "image/{image_id}", "vswitch/{v_switch_id}", "securitygroup/{security_group_id}"),
    access="write",
    idempotent=True,
    dry_run=True,
    ignored=MEANINGLESS,
)
def run_instances(call: Call, p: RunParams) -> dict[str, Any]:
    made = _create(call, p, start=True)
    call.after_commit(call.services.runner.wake)
    return {"InstanceIdSets": {"InstanceIdSet": [i.id for i in made]}, "OrderId": "", "TradePrice": 0.0}


@action(
    "CreateInstance",
    version=ECS,
    params=CreateParams,
    resource="instance/*",
    access="write",
    idempotent=True,
    dry_run=True,
    ignored=MEANINGLESS,
)
def create_instance(call: Call, p: CreateParams) -> dict[str, Any]:
    made = _create(call, p, start=False)
    call.after_commit(call.services.runner.wake)
    return {"InstanceId": made[0].id, "OrderId": "", "TradePrice": 0.0}


def _create(call: Call, p: CreateParams, *, start: bool) -> list[Instance]:
    request = request_of(p)
    if request.ram_role_name:
        require_pass_role(call, request.ram_role_name)
    return service.create(caller(call), request, start=start)


@action("DescribeInstances", version=ECS, params=DescribeParams, resource="instance/{instance_ids}", access="read")
def describe_instances(call: Call, p: DescribeParams) -> dict[str, Any]:
    filters = instance_query.Filters(
        ids=p.instance_ids,
        name=p.instance_name,
        status=p.status,
        image_id=p.image_id,
        instance_type=p.instance_type,
        family=p.instance_type_family,
        key_pair_name=p.key_pair_name,
        zone_id=p.zone_id,
        vpc_id=p.vpc_id,
        vswitch_id=p.v_switch_id,
        network_type=network_type(p.instance_network_type),
        security_group_id=p.security_group_id,
        private_ips=p.private_ip_addresses,
        inner_ips=p.inner_ip_addresses,
        public_ips=p.public_ip_addresses,
        eips=p.eip_addresses,
        internet_charge_type=p.internet_charge_type,
        tags=tuple((t.key, t.value) for t in p.tag),
    )
    page = paging.page(call.session, instance_query.find(caller(call), filters), p)
    return {"Instances": {"Instance": view.listed(call, page.items)}, **page.fields()}


@action(
    "DescribeInstanceStatus",
    version=ECS,
    params=DescribeStatusParams,
    resource="instance/{instance_id}",
    access="read",
)
def describe_instance_status(call: Call, p: DescribeStatusParams) -> dict[str, Any]:
    filters = instance_query.Filters(ids=p.instance_id, zone_id=p.zone_id)
    page = paging.page(call.session, instance_query.find(caller(call), filters), p)
    states = [{"InstanceId": i.id, "Status": i.status} for i in page.items]
    return {"InstanceStatuses": {"InstanceStatus": states}, **page.fields()}


@action(
    "DescribeInstanceAttribute", version=ECS, params=InstanceParams, resource="instance/{instance_id}", access="read"
)
def describe_instance_attribute(call: Call, p: InstanceParams) -> dict[str, Any]:
    return view.attribute(call, service.get(caller(call), p.instance_id))


def _changed(call: Call, p: ModifyParams) -> list[str]:
    return [f"instance/{p.instance_id}", *(f"securitygroup/{group_id}" for group_id in p.security_group_ids)]


@action("ModifyInstanceAttribute", version=ECS, params=ModifyParams, resource=_changed, access="write")
def modify_instance_attribute(call: Call, p: ModifyParams) -> dict[str, Any]:
    if job := instance_change.modify(caller(call), p.instance_id, changes_of(p)):
        effective_when_answered(call, job)
    return {}


@action(
    "ResetInstancePasswords",
    version=HOST,
    params=ResetPasswordsParams,
    resource="instance/{instance_id}",
    access="write",
    ram="ecs:ModifyInstanceAttribute",
)
def reset_instance_passwords(call: Call, p: ResetPasswordsParams) -> dict[str, Any]:
    """What the public API lacks: several instances at once, all or none (SPEC I6); with Now also at once."""
    if not p.now:
        instance_login.reset_passwords(caller(call), p.instance_id, p.password)
        return {"JobIds": {"JobId": []}}
    jobs = instance_login.reset_passwords_now(caller(call), p.instance_id, p.password)
    call.after_commit(call.services.runner.wake)
    return {"JobIds": {"JobId": jobs}}


@action("DescribeUserData", version=ECS, params=InstanceParams, resource="instance/{instance_id}", access="read")
def describe_user_data(call: Call, p: InstanceParams) -> dict[str, Any]:
    instance = service.get(caller(call), p.instance_id)
    return {
        "InstanceId": instance.id,
        "RegionId": call.services.config.region_id,
        "UserData": base64.b64encode(instance.user_data).decode(),
    }
