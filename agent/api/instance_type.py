"""Instance type actions (SPEC I13)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from agent.api.caller import caller
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import Paged
from agent.api.edge.params import RegionParams
from agent.api.edge.registry import ECS, action
from agent.core.instance_types import InstanceType
from agent.services import instance_type as service
from agent.services import quota

_IGNORED = ("AcceptLanguage", "AdditionalAttributes", "CpuArchitectures", "InstanceCategories", "InstanceCategory")


class DescribeInstanceTypesParams(RegionParams, Paged):
    max_results: Annotated[int, Field(ge=1, le=1600)] | None = None
    instance_types: list[str] = []
    instance_type_family: str = ""
    instance_type_families: list[str] = []
    cpu_architecture: Literal["", "X86", "ARM"] = ""
    minimum_cpu_core_count: int | None = None
    maximum_cpu_core_count: int | None = None
    minimum_memory_size: float | None = None
    maximum_memory_size: float | None = None
    minimum_gpu_amount: int | None = None
    maximum_gpu_amount: int | None = None
    gpu_spec: str = ""
    gpu_specs: list[str] = []


class DescribeFamiliesParams(RegionParams):
    generation: str = ""


@action(
    "DescribeInstanceTypes",
    version=ECS,
    params=DescribeInstanceTypesParams,
    resource="instancetype/*",
    access="read",
    ignored=_IGNORED,
)
def describe_instance_types(call: Call, p: DescribeInstanceTypesParams) -> dict[str, Any]:
    """All at once unless NextToken or MaxResults asks for pages. Memory is in GiB."""
    who = caller(call)
    families = [*p.instance_type_families, *([p.instance_type_family] if p.instance_type_family else [])]
    specs = [*p.gpu_specs, *([p.gpu_spec] if p.gpu_spec else [])]
    wanted = service.TypeFilter(
        ids=p.instance_types,
        families=families,
        vcpus=(p.minimum_cpu_core_count, p.maximum_cpu_core_count),
        memory_gib=(p.minimum_memory_size, p.maximum_memory_size),
        gpus=(p.minimum_gpu_amount, p.maximum_gpu_amount),
        gpu_specs=specs,
    )
    found = [] if p.cpu_architecture == "ARM" else service.find_types(who, wanted)
    token: str | None = ""
    if p.next_token or p.max_results is not None:
        page = paging.page_list(found, p)
        found, token = list(page.items), page.token
    disks = quota.limit(who, "data_disks_per_instance") + 1
    return {"InstanceTypes": {"InstanceType": [_shown(one, disks) for one in found]}, "NextToken": token}


def _shown(one: InstanceType, disks: int) -> dict[str, Any]:
    return {
        "InstanceTypeId": one.id,
        "InstanceTypeFamily": one.family,
        "InstanceFamilyLevel": "EntryLevel",
        "InstanceCategory": "Shared",
        "CpuArchitecture": "X86",
        "CpuCoreCount": one.vcpus,
        "CpuOptions": {"Core": one.vcpus, "ThreadsPerCore": 1, "HyperThreadingAdjustable": False},
        "MemorySize": one.memory_mib / 1024,
        "GPUAmount": one.gpu_amount,
        "GPUSpec": one.gpu_spec,
        "GPUMemorySize": 0.0,
        "DiskQuantity": disks,
        "EniQuantity": 1,
        "EniTotalQuantity": 1,
        "EniPrivateIpAddressQuantity": 1,
        "EniIpv6AddressQuantity": 0,
        "EniTrunkSupported": False,
        "EriQuantity": 0,
        "PrimaryEniQueueNumber": 1,
        "SecondaryEniQueueNumber": 0,
        "TotalEniQueueQuantity": 1,
        "LocalStorageCategory": "",
        "LocalStorageAmount": 0,
        "LocalStorageCapacity": 0,
        "NvmeSupport": "unsupported",
        "SupportedBootModes": {"SupportedBootMode": ["BIOS"]},
        "BaselineCredit": 0,
        "InitialCredit": 0,
        "NetworkEncryptionSupport": False,
        "JumboFrameSupport": False,
        "PhysicalProcessorModel": "",
        "Attributes": {"Attribute": []},
    }


@action(
    "DescribeInstanceTypeFamilies",
    version=ECS,
    params=DescribeFamiliesParams,
    resource="instancetype/*",
    access="read",
)
def describe_instance_type_families(call: Call, p: DescribeFamiliesParams) -> dict[str, Any]:
    found = [
        {"InstanceTypeFamilyId": family, "Generation": generation}
        for family, generation in service.families(caller(call), p.generation)
    ]
    return {"InstanceTypeFamilies": {"InstanceTypeFamily": found}}
