"""Categories of disks: the sizes they come in, and what a guest gets of them (SPEC section 0, D10). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final, NamedTuple

KIB = 1024

# Smallest and largest size of a data disk in GiB.
SIZES_GIB: Final[dict[str, tuple[int, int]]] = {
    "cloud": (5, 2000),
    "cloud_efficiency": (20, 2048),
    "cloud_ssd": (20, 2048),
    "ephemeral": (20, 1024),
    "ephemeral_ssd": (5, 800),
}
# Those of one kind that an instance may have in sum, in GiB.
SUMS_GIB: Final[dict[str, int]] = {"ephemeral": 2048, "ephemeral_ssd": 1024}
# Of a system disk, by the operating system.
SYSTEM_SIZES_GIB: Final[dict[str, tuple[int, int]]] = {"linux": (20, 500), "windows": (40, 500)}


@dataclass(frozen=True)
class Performance:
    """`iops` and `iops_per_gib` for each GiB, at most `iops_max`; 0 IOPS are no limit at all. Throughput is in
    proportion: `bytes_per_io` for each of them."""

    iops: int
    iops_per_gib: int
    iops_max: int
    bytes_per_io: int


class Limits(NamedTuple):
    iops: int
    bytes_per_second: int


# The sizes of an I/O give the throughput that the provider names for the largest disks.
PERFORMANCE: Final[dict[str, Performance]] = {
    "cloud": Performance(300, 0, 300, 128 * KIB),
    "cloud_efficiency": Performance(1800, 8, 5000, 28 * KIB),
    "cloud_ssd": Performance(1800, 30, 25000, 12 * KIB),
    "cloud_essd": Performance(1800, 30, 25000, 12 * KIB),
}
UNLIMITED: Final = Performance(0, 0, 0, 0)
SETTINGS: Final = tuple(field.name for field in fields(Performance))


def limits(category: str, size_gib: int, overrides: Mapping[str, Mapping[str, int]]) -> Limits | None:
    """What a guest can get of such a disk; None: all that the host has. `overrides`: SETTINGS by category."""
    base = PERFORMANCE.get(category, UNLIMITED)
    wanted = replace(base, **overrides.get(category, {}))
    iops = wanted.iops + wanted.iops_per_gib * size_gib
    if not wanted.iops:
        return None
    iops = min(iops, wanted.iops_max) if wanted.iops_max else iops
    return Limits(iops, iops * wanted.bytes_per_io)


def is_cloud(category: str) -> bool:
    """Whether such a disk lives apart from its instance: it can be detached, and outlive it."""
    return not category.startswith("ephemeral")
