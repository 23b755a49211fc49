"""Disks: what there is (SPEC D12, its reading side)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select

from agent.services import tag
from agent.services.context import Caller
from agent.services.matching import like
from agent.store.schema import Disk

# Smallest and largest size of a data disk in GiB (SPEC section 0).
SIZES_GIB: dict[str, tuple[int, int]] = {
    "cloud": (5, 2000),
    "cloud_efficiency": (20, 2048),
    "cloud_ssd": (20, 2048),
    "ephemeral": (20, 1024),
    "ephemeral_ssd": (5, 800),
}
SYSTEM_SIZES_GIB: dict[str, tuple[int, int]] = {"linux": (20, 500), "windows": (40, 500)}
STATUSES = ("Creating", "Available", "In_use", "Attaching", "Detaching")


@dataclass(frozen=True)
class DiskFilter:
    """What DescribeDisks may narrow by; None: do not."""

    ids: Sequence[str] = ()
    instance_id: str | None = None
    name: str | None = None
    kind: str | None = None  # system | data
    category: str | None = None
    status: str | None = None
    zone_id: str | None = None
    portable: bool | None = None
    delete_with_instance: bool | None = None
    delete_auto_snapshot: bool | None = None
    tags: Sequence[tag.TagFilter] = ()


def find_disks(caller: Caller, wanted: DiskFilter) -> Select[Disk]:
    """The caller's disks, newest first."""
    found = select(Disk).where(Disk.account_id == caller.account_id)
    if wanted.ids:
        found = found.where(Disk.id.in_(wanted.ids))
    for column, value in (
        (Disk.instance_id, wanted.instance_id),
        (Disk.kind, wanted.kind),
        (Disk.category, wanted.category),
        (Disk.status, wanted.status),
        (Disk.zone_id, wanted.zone_id),
    ):
        if value:
            found = found.where(column == value)
    if wanted.name:
        found = found.where(like(Disk.name, wanted.name))
    if wanted.delete_with_instance is not None:
        found = found.where(Disk.delete_with_instance == wanted.delete_with_instance)
    if wanted.delete_auto_snapshot is not None:
        found = found.where(Disk.delete_auto_snapshot == wanted.delete_auto_snapshot)
    if wanted.portable is not None:
        movable = (Disk.kind == "data") & Disk.category.not_like("ephemeral%")
        found = found.where(movable if wanted.portable else ~movable)
    found = tag.filter_by_tags(found, "disk", Disk.id, wanted.tags)
    return found.order_by(Disk.created_at.desc(), Disk.id)


def is_portable(disk: Disk) -> bool:
    """Whether the disk can be detached and attached elsewhere (SPEC D3)."""
    return disk.kind == "data" and not disk.category.startswith("ephemeral")
