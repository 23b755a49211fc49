"""Parameters of the instance actions, and their translation for the service."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from pydantic import Field

from agent.api.common import refuse
from agent.api.edge.errors import UnsupportedParameter
from agent.api.edge.paging import Paged
from agent.api.edge.params import ErrorCode, JsonList, Params, RegionParams, Tag
from agent.api.instance_metadata import HopLimit, check_hop_limit
from agent.core.errors import InvalidParameter
from agent.services import classic, disk_plan, public_address
from agent.services import instance as service
from agent.services.disk_plan import Wanted
from agent.services.instance_change import Changes
from agent.services.instance_disks import SystemDisk
from agent.services.internet import Internet
from agent.services.metadata_options import Endpoint, Options, Tokens

# Public parameters that have no meaning on a host of one's own: accepted, without effect.
MEANINGLESS = (
    "Affinity", "Arn", "AutoPay", "ClockOptions", "ClusterId", "CpuOptions", "CreditSpecification", "DedicatedHostId",
    "DeploymentSetGroupNo", "DeploymentSetId", "HibernationOptions", "HpcClusterId", "ImageOptions", "IoOptimized",
    "Isp", "ManagedHostId", "NetworkInterfaceQueueNumber", "NetworkOptions", "PasswordInherit", "PrivateDnsNameOptions",
    "PrivatePoolOptions", "ResourceGroupId", "SchedulerOptions", "SecurityEnhancementStrategy", "SecurityOptions",
    "SpotDuration", "SpotInterruptionBehavior", "SpotPriceLimit", "SpotStrategy", "StorageSetId",
    "StorageSetPartitionNumber", "Tenancy", "UseAdditionalService", "VlanId", "NodeControllerId", "InnerIpAddress",
)  # fmt: skip


class SystemDiskParams(Params):
    category: str = "cloud_efficiency"
    size: int | None = None
    disk_name: str = ""
    description: str = ""


class DataDiskParams(Params):
    category: str = disk_plan.CLOUD
    size: int | None = None
    snapshot_id: str = ""
    disk_name: str = ""
    description: str = ""
    device: str = ""
    delete_with_instance: bool = True
    encrypted: bool = False
    auto_snapshot_policy_id: str = ""

    def wanted(self, number: int) -> Wanted:
        """For the service; raises UnsupportedParameter for what cannot be done here."""
        head = f"DataDisk.{number}"
        given = {f"{head}.Encrypted": self.encrypted, f"{head}.AutoSnapshotPolicyId": self.auto_snapshot_policy_id}
        refuse("RunInstances", **given)
        return Wanted(
            category=self.category,
            size_gib=self.size,
            snapshot_id=self.snapshot_id,
            name=self.disk_name,
            description=self.description,
            device=self.device,
            delete_with_instance=self.delete_with_instance,
        )


class CreateParams(RegionParams):
    """What RunInstances and CreateInstance have in common."""

    image_id: str
    instance_type: str
    zone_id: str | None = None
    v_switch_id: str | None = None
    instance_network_type: str = ""  # our own, here: `classic` where nothing else tells
    security_group_id: str | None = None
    private_ip_address: str | None = None
    instance_name: str = ""
    host_name: str = ""
    description: str = ""
    system_disk: SystemDiskParams = SystemDiskParams()
    data_disk: list[DataDiskParams] = []
    key_pair_name: str = ""
    password: str = ""
    user_data: str = ""
    deletion_protection: bool = False
    tag: list[Tag] = []
    ram_role_name: str = ""
    http_endpoint: Endpoint | None = None
    http_tokens: Tokens | None = None
    http_put_response_hop_limit: HopLimit | None = None
    internet_charge_type: str = public_address.BY_TRAFFIC
    internet_max_bandwidth_in: int | None = None
    internet_max_bandwidth_out: int = 0
    # Parts of the public action that this agent cannot do yet: refused, never misread.
    instance_charge_type: str = "PostPaid"


class RunParams(CreateParams):
    amount: Annotated[int, Field(ge=1, le=100), ErrorCode("InvalidAmount.NotSupported")] = 1
    min_amount: Annotated[int, Field(ge=1, le=100), ErrorCode("InvalidMinAmount.NotSupported")] | None = None
    security_group_ids: list[str] = []
    unique_suffix: bool = False
    auto_release_time: str = ""
    launch_template_id: str = ""


def request_of(params: CreateParams) -> service.Request:
    """The service's request; raises UnsupportedParameter for what cannot be done here yet."""
    _refuse_unsupported(params)
    groups = [params.security_group_id] if params.security_group_id else []
    run = params if isinstance(params, RunParams) else None
    if run and run.security_group_ids:
        if groups:
            given = ", ".join(run.security_group_ids)
            raise InvalidParameter("SecurityGroupIds", given, "give SecurityGroupId or SecurityGroupIds, not both.")
        groups = run.security_group_ids
    disk = params.system_disk
    return service.Request(
        image_id=params.image_id,
        instance_type=params.instance_type,
        zone_id=params.zone_id,
        vswitch_id=params.v_switch_id,
        network_type=network_type(params.instance_network_type),
        security_group_ids=tuple(groups),
        private_ip=params.private_ip_address,
        name=params.instance_name,
        unique_suffix=run.unique_suffix if run else False,
        host_name=params.host_name,
        description=params.description,
        data_disks=tuple(one.wanted(number) for number, one in enumerate(params.data_disk, 1)),
        system_disk=SystemDisk(disk.category, disk.size, disk.disk_name, disk.description),
        key_pair_name=params.key_pair_name,
        password=params.password,
        user_data=_decoded(params.user_data),
        deletion_protection=params.deletion_protection,
        tags=tuple((tag.key, tag.value or "") for tag in params.tag),
        ram_role_name=params.ram_role_name,
        metadata_options=Options(params.http_endpoint, params.http_tokens),
        internet=Internet(
            params.internet_max_bandwidth_in, params.internet_max_bandwidth_out, params.internet_charge_type
        ),
        amount=run.amount if run else 1,
    )


def network_type(value: str) -> str:
    """`vpc`, `classic` or empty; raises InvalidParameter."""
    if value.lower() not in ("", classic.VPC, classic.CLASSIC):
        raise InvalidParameter("InstanceNetworkType", value, "it must be vpc or classic.")
    return value.lower()


def _refuse_unsupported(params: CreateParams) -> None:
    given = {
        "InstanceChargeType": params.instance_charge_type != "PostPaid" and params.instance_charge_type,
        "AutoReleaseTime": getattr(params, "auto_release_time", ""),
        "LaunchTemplateId": getattr(params, "launch_template_id", ""),
    }
    for name, value in given.items():
        if value:
            raise UnsupportedParameter(f'The parameter {name} "{value}" is not supported by this version.')
    check_hop_limit(params.http_put_response_hop_limit)


def _decoded(user_data: str) -> bytes:
    try:
        return base64.b64decode(user_data, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidParameter(
            "UserData", user_data[:40], "it must be Base64.", code="InvalidUserData.Base64FormatInvalid"
        ) from None


class RemoteConnectionParams(Params):
    password: str = ""
    type: str = ""


class InstanceParams(RegionParams):
    instance_id: str


class StopParams(InstanceParams):
    force_stop: bool = False


class RebootParams(InstanceParams):
    force_stop: bool = False


class ReleaseParams(InstanceParams):
    force: bool = False


class BatchParams(RegionParams):
    instance_id: Annotated[list[str], Field(min_length=1, max_length=100)]
    batch_optimization: str = "AllTogether"


class ResetPasswordsParams(RegionParams):
    instance_id: Annotated[list[str], Field(min_length=1, max_length=100)]
    password: str
    now: bool = False


class StopManyParams(BatchParams):
    force_stop: bool = False


class RebootManyParams(BatchParams):
    force_reboot: bool = False


class ReleaseManyParams(RegionParams):
    instance_id: Annotated[list[str], Field(min_length=1, max_length=100)]
    force: bool = False


class ModifyParams(InstanceParams):
    instance_name: str | None = None
    description: str | None = None
    deletion_protection: bool | None = None
    password: str = ""
    host_name: str = ""
    user_data: str | None = None  # empty: no user data any more
    security_group_ids: list[str] = []
    # A later capability: refused, never misread.
    remote_connection_options: RemoteConnectionParams = RemoteConnectionParams()


def changes_of(params: ModifyParams) -> Changes:
    """The service's changes; raises UnsupportedParameter for what cannot be done here yet."""
    remote = params.remote_connection_options
    if remote.password or remote.type:
        raise UnsupportedParameter("The parameter RemoteConnectionOptions is not supported by this version.")
    return Changes(
        name=params.instance_name,
        description=params.description,
        host_name=params.host_name or None,
        password=params.password or None,
        user_data=None if params.user_data is None else _decoded(params.user_data),
        deletion_protection=params.deletion_protection,
        security_group_ids=tuple(params.security_group_ids),
    )


class DescribeParams(RegionParams, Paged):
    instance_ids: JsonList | None = None
    instance_name: str = ""
    status: str = ""
    image_id: str = ""
    instance_type: str = ""
    instance_type_family: str = ""
    key_pair_name: str = ""
    zone_id: str = ""
    vpc_id: str = ""
    v_switch_id: str = ""
    instance_network_type: str = ""
    security_group_id: str = ""
    private_ip_addresses: JsonList | None = None
    inner_ip_addresses: JsonList | None = None
    public_ip_addresses: JsonList | None = None
    eip_addresses: JsonList | None = None
    internet_charge_type: str = ""
    tag: list[Tag] = []


class DescribeStatusParams(RegionParams, Paged):
    instance_id: list[str] | None = None
    zone_id: str = ""
