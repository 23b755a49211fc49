"""Sample actions with the public names and shapes that the SDKs know, on a table of the store."""

from __future__ import annotations

import threading
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import select

from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.params import ErrorCode, JsonList, Params, RegionParams, Tag
from agent.api.edge.registry import ECS, HOST, VPC, Registry
from agent.core.errors import DriverError, NotFound
from agent.core.ids import new_id
from agent.store.schema import Setting


class Sample:
    """The sample's services: what handlers saw."""

    def __init__(self) -> None:
        self.hooks: list[str] = []
        self.seen: list[Any] = []
        self.lock = threading.Lock()


class DataDisk(Params):
    size: Annotated[int, Field(ge=5, le=32768)]
    category: Literal["cloud", "cloud_ssd"] = "cloud"


class RunInstancesParams(RegionParams):
    image_id: str
    amount: Annotated[int, Field(ge=1, le=100), ErrorCode("InvalidAmount.ValueNotSupported")] = 1
    instance_name: str = ""
    password: str | None = None
    user_data: str = ""
    data_disk: list[DataDisk] = []
    tag: list[Tag] = []
    security_group_ids: list[str] = []
    deletion_protection: bool = False


class DescribeInstancesParams(RegionParams, paging.Paged):
    instance_ids: JsonList = []
    tag: list[Tag] = []


class InstanceParams(Params):
    instance_id: str


def run_instances(call: Call, p: RunInstancesParams) -> dict[str, Any]:
    call.services.seen.append(p)
    ids = [new_id("instance") for _ in range(p.amount)]
    for number, instance_id in enumerate(ids):
        call.session.add(Setting(name=instance_id, value=f"{p.instance_name}{number}"))
    call.after_commit(lambda: call.services.hooks.append(call.request_id))
    return {"InstanceIdSets": {"InstanceIdSet": ids}, "TradePrice": None}


def describe_instances(call: Call, p: DescribeInstancesParams) -> dict[str, Any]:
    call.services.seen.append(p)
    statement = select(Setting).where(Setting.name.like("i-%")).order_by(Setting.name)
    if p.instance_ids:
        statement = statement.where(Setting.name.in_(p.instance_ids))
    page = paging.page(call.session, statement, p)
    rows = [
        {
            "InstanceId": row.name,
            "InstanceName": row.value,
            "DeletionProtection": False,
            "Cpu": 2,
            "Description": None,
            "SecurityGroupIds": {"SecurityGroupId": ["sg-1", "sg-2"]},
            "OperationLocks": {"LockReason": []},
        }
        for row in page.items
    ]
    return {"Instances": {"Instance": rows}, **page.fields()}


def delete_instance(call: Call, p: InstanceParams) -> dict[str, Any]:
    row = call.session.get(Setting, p.instance_id)
    if row is None:
        raise NotFound("InvalidInstanceId.NotFound", "InstanceId", p.instance_id)
    call.session.delete(row)
    return {}


def describe_vpcs(call: Call, p: paging.NumberedPagesOf50) -> dict[str, Any]:
    page = paging.page_list(["vpc-a", "vpc-b"], p)
    return {"Vpcs": {"Vpc": [{"VpcId": item, "IsDefault": True} for item in page.items]}, **page.fields()}


def describe_regions(call: Call, p: Params) -> dict[str, Any]:
    return {"Regions": {"Region": [{"RegionId": "local", "LocalName": "一 <&> \x01 \ud800"}]}}


def fail_unexpectedly(call: Call, p: Params) -> dict[str, Any]:
    raise ZeroDivisionError("the secret detail")


def fail_in_driver(call: Call, p: Params) -> dict[str, Any]:
    raise DriverError("cannot reach libvirt at qemu:///system: start libvirtd", transient=True)


def sample_registry() -> Registry:
    registry = Registry()
    declare = registry.action
    declare(
        "RunInstances",
        version=ECS,
        params=RunInstancesParams,
        resource="instance/*",
        access="write",
        idempotent=True,
        dry_run=True,
    )(run_instances)
    declare(
        "DescribeInstances",
        version=ECS,
        params=DescribeInstancesParams,
        resource="instance/{instance_ids}",
        access="read",
    )(describe_instances)
    declare("DeleteInstance", version=ECS, params=InstanceParams, resource="instance/{instance_id}", access="write")(
        delete_instance
    )
    for version in (ECS, VPC):
        declare("DescribeVpcs", version=version, params=paging.NumberedPagesOf50, resource="vpc/*", access="read")(
            describe_vpcs
        )
    declare("DescribeRegions", version=ECS, params=Params, resource="*", access="read")(describe_regions)
    declare("FailUnexpectedly", version=HOST, params=Params, resource="*", access="write")(fail_unexpectedly)
    declare("FailInDriver", version=HOST, params=Params, resource="*", access="read")(fail_in_driver)
    return registry
