"""Instance types (SPEC I13): which there are, which the host has the size for, and which an image runs on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.core.errors import InvalidParameter, NoStock, NotFound
from agent.core.instance_types import TOO_LARGE_FOR_32_BIT_MIB, InstanceType
from agent.services.context import Caller
from agent.store.schema import Image

MAX_VCPUS_OF_32_BIT_WINDOWS = 4


@dataclass(frozen=True)
class TypeFilter:
    """What DescribeInstanceTypes may narrow by; None: do not."""

    ids: Sequence[str] = ()
    families: Sequence[str] = ()
    vcpus: tuple[int | None, int | None] = (None, None)  # smallest, largest
    memory_gib: tuple[float | None, float | None] = (None, None)
    gpus: tuple[int | None, int | None] = (None, None)
    gpu_specs: Sequence[str] = ()


def find_types(caller: Caller, wanted: TypeFilter) -> list[InstanceType]:
    """The host's instance types, from small to large."""
    return sorted(
        (
            one
            for one in caller.services.instance_types.values()
            if (not wanted.ids or one.id in wanted.ids)
            and (not wanted.families or one.family in wanted.families)
            and (not wanted.gpu_specs or one.gpu_spec in wanted.gpu_specs)
            and _within(one.vcpus, wanted.vcpus)
            and _within(one.memory_mib / 1024, wanted.memory_gib)
            and _within(one.gpu_amount, wanted.gpus)
        ),
        key=lambda one: (one.vcpus, one.memory_mib, one.id),
    )


def get_type(caller: Caller, type_id: str) -> InstanceType:
    """Raises NotFound for a type the host does not have."""
    found = caller.services.instance_types.get(type_id)
    if found is None:
        raise NotFound("InvalidInstanceType.ValueNotSupported", "InstanceType", type_id)
    return found


def families(caller: Caller, generation: str = "") -> list[tuple[str, str]]:
    """(family, generation), in order, of the types there are."""
    types = caller.services.instance_types.values()
    return sorted({(one.family, one.generation) for one in types if not generation or one.generation == generation})


def fits_host(caller: Caller, one: InstanceType) -> bool:
    """Whether an empty host could run an instance of the type."""
    host, config = caller.services.hypervisor.capacity(), caller.services.config
    enough_memory = one.memory_mib <= host.memory_mib * config.memory_overcommit
    return enough_memory and one.vcpus <= host.vcpus * config.cpu_overcommit


def check_image(one: InstanceType, image: Image) -> None:
    """Raises InvalidParameter for a type that is too large for a 32-bit image (SPEC section 0)."""
    if image.architecture != "i386":
        return
    if one.memory_mib >= TOO_LARGE_FOR_32_BIT_MIB:
        raise _too_large(one, "32-bit images need a type with less than 4 GiB of memory.")
    if image.os_type == "windows" and one.vcpus > MAX_VCPUS_OF_32_BIT_WINDOWS:
        raise _too_large(one, f"32-bit Windows uses at most {MAX_VCPUS_OF_32_BIT_WINDOWS} vCPUs.")


def runs(one: InstanceType, image: Image) -> bool:
    """Whether the image runs on instances of the type."""
    try:
        check_image(one, image)
    except InvalidParameter:
        return False
    return True


def check_gpu(one: InstanceType) -> None:
    """Raises NoStock for a type whose GPU the host does not have."""
    if one.gpu_amount:
        raise NoStock(f'The instance type "{one.id}" needs a GPU ({one.gpu_spec}); this host has none to give.')


def _too_large(one: InstanceType, why: str) -> InvalidParameter:
    return InvalidParameter("InstanceType", one.id, why, code="InvalidInstanceType.ValueNotSupported")


def _within(value: float, limits: tuple[float | None, float | None]) -> bool:
    smallest, largest = limits
    return (smallest is None or value >= smallest) and (largest is None or value <= largest)
