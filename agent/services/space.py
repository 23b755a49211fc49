"""The host's disk: what is refused before it is full, and what disks and snapshots really take of it.

Disks are promised in full and take what was written. So their sum may be more than there is; a guest that then finds no
room is paused, not harmed (jobs/stalled.py). Some room stays reserved for what runs already: new things are refused
before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from agent.config import Config
from agent.core.errors import NoStock, NotFound
from agent.core.protocols import Storage
from agent.services.context import Caller
from agent.store.schema import Disk, Layer, Snapshot

GIB = 2**30
NEW_LAYER_BYTES = 400 * 1024  # of a disk or snapshot nobody has written to yet
RESERVED_PART, RESERVED_MOST_BYTES = 20, 10 * GIB


@dataclass(frozen=True)
class DiskUsage:
    """Bytes. `allocated`: of the layer that the disk writes to; `total`: of all files that its content is in; `shared`:
    those of the total that a snapshot, an image or another disk needs, too. `files`: how many there are."""

    disk: Disk
    allocated: int
    total: int
    shared: int
    files: int


@dataclass(frozen=True)
class SnapshotUsage:
    """`allocated`: bytes of what changed since the snapshot before, or since the disk was made."""

    snapshot: Snapshot
    allocated: int


# ------------------------------------------------------------------------------ the host


def reserved_bytes(config: Config, total_bytes: int) -> int:
    """What of a file system of that size new things may not use."""
    if config.disk_reserve_gib >= 0:
        return int(config.disk_reserve_gib * GIB)
    return min(total_bytes // RESERVED_PART, RESERVED_MOST_BYTES)


def check(caller: Caller, bytes_needed: int, doing: str) -> None:
    """Raises NoStock when `doing` ("create a disk"), which needs so many bytes at once, would leave less than the
    reserve."""
    if why := lacking(caller.services.config, caller.services.storage, bytes_needed, doing):
        raise NoStock(why)


def lacking(config: Config, storage: Storage, bytes_needed: int, doing: str) -> str:
    """Why there is no room for it; empty: there is."""
    total, available = storage.capacity_bytes()
    reserved = reserved_bytes(config, total)
    if available - bytes_needed >= reserved:
        return ""
    return (
        f"The host's disk has no room to {doing}: {_size(bytes_needed)} are needed and {_size(available)} free, "
        f"{_size(reserved)} of which are reserved for what is there (disk_reserve_gib). Delete disks, snapshots, "
        "images, or other files of the host."
    )


def problems(config: Config, storage: Storage) -> list[str]:
    """A line when the reserve is used, or nearly."""
    total, available = storage.capacity_bytes()
    reserved = reserved_bytes(config, total)
    if available >= 2 * reserved:
        return []
    if available < reserved:
        what = f"new disks, snapshots and images are refused below {_size(reserved)}"
    else:
        what = f"at {_size(reserved)} new disks, snapshots and images will be refused"
    return [f"the disk of {config.data_dir} has {_size(available)} free of {_size(total)}: {what}"]


def promised_bytes(session: Session) -> int:
    """The sizes of all disks of the host as their guests see them."""
    return (session.scalar(select(func.sum(Disk.size_gib))) or 0) * GIB


def _size(count: int) -> str:
    for unit, bytes_of_it in (("GiB", GIB), ("MiB", 2**20)):
        if count >= bytes_of_it:
            return f"{count / bytes_of_it:.3g} {unit}"
    return f"{count // 1024} KiB"


# ------------------------------------------------------------------------------ disks and snapshots


def of_disks(caller: Caller, disk_ids: Sequence[str]) -> list[DiskUsage]:
    """Of these disks of the caller, in this order; raises NotFound."""
    mine = select(Disk).where(Disk.account_id == caller.account_id, Disk.id.in_(disk_ids))
    found = {disk.id: disk for disk in caller.session.scalars(mine.options(joinedload(Disk.layer)))}
    _all_found("InvalidDiskId.NotFound", "DiskId", disk_ids, found.keys())
    trees = _Trees(caller, {disk.layer.tree for disk in found.values()})
    return [trees.usage(found[disk_id]) for disk_id in dict.fromkeys(disk_ids)]


def of_snapshots(caller: Caller, snapshot_ids: Sequence[str]) -> list[SnapshotUsage]:
    """Of these snapshots of the caller, in this order; raises NotFound."""
    storage = caller.services.storage
    mine = select(Snapshot).where(Snapshot.account_id == caller.account_id, Snapshot.id.in_(snapshot_ids))
    found = {snapshot.id: snapshot for snapshot in caller.session.scalars(mine)}
    _all_found("InvalidSnapshotId.NotFound", "SnapshotId", snapshot_ids, found.keys())

    def usage(snapshot: Snapshot) -> SnapshotUsage:
        layer_id = snapshot.layer_id
        return SnapshotUsage(snapshot, storage.allocated_bytes(layer_id) if layer_id else 0)

    return [usage(found[snapshot_id]) for snapshot_id in dict.fromkeys(snapshot_ids)]


def _all_found(code: str, name: str, wanted: Iterable[str], found: Collection[str]) -> None:
    for one in wanted:
        if one not in found:
            raise NotFound(code, name, one)


class _Trees:
    """The layers of some trees, with what needs them and what they take."""

    def __init__(self, caller: Caller, trees: set[str]) -> None:
        session, self._storage = caller.session, caller.services.storage
        columns = select(Layer.id, Layer.parent_id, Layer.image_file).where(Layer.tree.in_(trees))
        rows = session.execute(columns).all()
        self._parents = {row.id: row.parent_id for row in rows}
        self._images = {row.id: row.image_file for row in rows}
        self._children: dict[str, int] = {}
        for row in rows:
            if row.parent_id:
                self._children[row.parent_id] = self._children.get(row.parent_id, 0) + 1
        self._snapshots = set(
            session.scalars(select(Snapshot.layer_id).join(Layer, Snapshot.layer).where(Layer.tree.in_(trees)))
        )

    def usage(self, disk: Disk) -> DiskUsage:
        own = self._of(disk.layer_id)
        total, shared, files, is_shared = own, 0, 1, False
        layer_id = disk.layer_id
        while parent := self._parents.get(layer_id):
            is_shared = is_shared or parent in self._snapshots or self._children[parent] > 1
            taken = self._of(parent)
            total, shared, files, layer_id = total + taken, shared + taken * is_shared, files + 1, parent
        if image_file := self._images.get(layer_id):
            taken = self._storage.image_allocated_bytes(image_file)
            total, shared, files = total + taken, shared + taken, files + 1
        return DiskUsage(disk, own, total, shared, files)

    def _of(self, layer_id: str) -> int:
        return self._storage.allocated_bytes(layer_id)
