"""Instance types (SPEC I13): the guide's own, and a host's additions from a file of the same form."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

TOO_LARGE_FOR_32_BIT_MIB = 4096  # a 32-bit system needs less (SPEC section 0)
BUILT_IN = Path(__file__).with_name("instance_types.toml")


@dataclass(frozen=True)
class InstanceType:
    """One type. `generation` as DescribeInstanceTypes shows it; GPU types name the PCI GPU they pass through."""

    id: str
    family: str
    vcpus: int
    memory_mib: int
    generation: str = "ecs-1"
    gpu_spec: str = ""
    gpu_amount: int = 0


def load(*paths: Path) -> dict[str, InstanceType]:
    """The types of all `paths` that exist, later files overriding earlier ones, by id.

    Raises ValueError naming file and type for an entry that is incomplete or not positive.
    """
    types: dict[str, InstanceType] = {}
    for path in paths:
        if not path.exists():
            continue
        for name, entry in tomllib.loads(path.read_text()).items():
            try:
                kind = InstanceType(id=name, **entry)
            except TypeError as error:
                raise ValueError(f"{path}: instance type {name}: {error}") from None
            if kind.vcpus < 1 or kind.memory_mib < 1:
                raise ValueError(f"{path}: instance type {name}: vcpus and memory_mib must be positive")
            types[name] = kind
    return types
