"""How many snapshots there are, and the space they take: the bytes of their own layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from agent.services.context import Caller
from agent.store.schema import Disk, Snapshot


@dataclass(frozen=True)
class Chain:
    """The snapshots of one disk. Of a disk that is gone, the newest snapshot says what it was; its name is empty."""

    disk_id: str
    disk_name: str
    disk_kind: str
    size_gib: int
    instance_id: str
    instance_name: str
    count: int
    total_bytes: int


def chains(caller: Caller, disk_ids: Sequence[str]) -> list[Chain]:
    """One for each of the disks, of which there is at least one snapshot."""
    found = select(Snapshot).where(Snapshot.account_id == caller.account_id, Snapshot.disk_id.in_(disk_ids))
    by_disk: dict[str, list[Snapshot]] = {disk_id: [] for disk_id in disk_ids}
    for snapshot in caller.session.scalars(found.order_by(Snapshot.created_at.desc())):
        by_disk[snapshot.disk_id].append(snapshot)
    return [_chain(caller, disk_id, snapshots) for disk_id, snapshots in by_disk.items()]


def _chain(caller: Caller, disk_id: str, snapshots: Sequence[Snapshot]) -> Chain:
    disk = caller.session.get(Disk, disk_id)
    instance = disk.instance if disk else None
    return Chain(
        disk_id=disk_id,
        disk_name=disk.name if disk else "",
        disk_kind=snapshots[0].disk_kind,
        size_gib=disk.size_gib if disk else snapshots[0].size_gib,
        instance_id=instance.id if instance else "",
        instance_name=instance.name if instance else "",
        count=len(snapshots),
        total_bytes=_bytes(caller, snapshots),
    )


def usage(caller: Caller) -> tuple[int, int]:
    """(number, bytes) of all snapshots of the account."""
    snapshots = caller.session.scalars(select(Snapshot).where(Snapshot.account_id == caller.account_id)).all()
    return len(snapshots), _bytes(caller, snapshots)


def _bytes(caller: Caller, snapshots: Iterable[Snapshot]) -> int:
    storage = caller.services.storage
    return sum(storage.allocated_bytes(snapshot.layer_id) for snapshot in snapshots if snapshot.layer_id)
