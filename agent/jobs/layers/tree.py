"""The tree of layers in the store: growing it, giving up references, and what is garbage."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from agent.core import ids
from agent.core.protocols import Storage
from agent.jobs import journal
from agent.store.queries import forget_tags
from agent.store.schema import Disk, ImageDisk, Job, Layer, Snapshot

COLLECT = "layers.collect"
TAKING = "taking"  # a layer that a disk is to write to when its snapshot is taken


def new_root(session: Session, disk_id: str, size_gib: int, now: dt.datetime, image_file: str | None = None) -> Layer:
    """The first layer of a disk: empty, or an overlay on an image's file. Its file is made by `ensure_file`."""
    layer_id = new_id(disk_id)
    return _add(session, Layer(id=layer_id, tree=layer_id, parent_id=None, image_file=image_file), size_gib, now)


def from_image(session: Session, disk_id: str, size_gib: int, now: dt.datetime, source: ImageDisk) -> Layer:
    """The first layer of a disk that begins as a disk of an image. Its file is made by `ensure_file`."""
    if source.snapshot is None:
        file = source.file if source.format == "qcow2" else None
        return new_root(session, disk_id, size_gib, now, file)
    if source.snapshot.layer is None:
        raise ValueError(f"the snapshot {source.snapshot_id} has not been taken")
    return new_child(session, disk_id, size_gib, now, source.snapshot.layer)


def new_child(
    session: Session, disk_id: str, size_gib: int, now: dt.datetime, parent: Layer, layer_id: str = ""
) -> Layer:
    """A layer of `disk_id` on `parent`, with an id of `new_id` if that is known already. Its file is made by
    `ensure_file`."""
    layer = Layer(id=layer_id or new_id(disk_id), tree=parent.tree, parent_id=parent.id)
    return _add(session, layer, size_gib, now)


def new_id(disk_id: str) -> str:
    """Never used before: a file of that name is of this layer. It tells whose it was at first."""
    return f"{disk_id}.{ids.random_word(8)}"


def _add(session: Session, layer: Layer, size_gib: int, now: dt.datetime) -> Layer:
    layer.size_gib, layer.state, layer.created_at = size_gib, "creating", now
    session.add(layer)
    session.flush()
    return layer


def ensure_file(storage: Storage, layer: Layer) -> Path:
    """The layer's file, made if it is not there. The caller has the tree's turn and read `layer` after that."""
    base = None
    if layer.parent_id is not None:
        base = storage.layer_path(layer.parent_id)
    elif layer.image_file is not None:
        base = storage.image_path(layer.image_file)
    return storage.create_layer(layer.id, layer.size_gib, base)


def forget_disk(session: Session, disk: Disk, now: dt.datetime) -> None:
    """Delete the disk's row, with its automatic snapshots if its flag says so (SPEC S7), but for those that an image
    has; its layers are collected."""
    if disk.delete_auto_snapshot:
        kept = select(ImageDisk.image_id).where(ImageDisk.snapshot_id == Snapshot.id).exists()
        mine = select(Snapshot).where(Snapshot.disk_id == disk.id, Snapshot.kind == "auto", ~kept)
        for snapshot in session.scalars(mine.where(Snapshot.status != "progressing")).all():
            forget_snapshot(session, snapshot, now)
    forget_tags(session, "disk", [disk.id])
    tree = disk.layer.tree
    session.delete(disk)
    session.flush()
    enqueue_collect(session, tree, now)


def forget_snapshot(session: Session, snapshot: Snapshot, now: dt.datetime) -> None:
    """Delete the snapshot's row; its layer is collected."""
    forget_tags(session, "snapshot", [snapshot.id])
    tree = snapshot.layer.tree if snapshot.layer else None
    session.delete(snapshot)
    session.flush()
    if tree:
        enqueue_collect(session, tree, now)


def enqueue_collect(session: Session, tree: str, now: dt.datetime) -> None:
    """Journal that the tree may have garbage; a collection that has not begun yet serves for all."""
    waiting = select(Job.sequence).where(Job.kind == COLLECT, Job.resource_id == tree, Job.state == "pending")
    if session.scalar(waiting.limit(1)) is None:
        journal.enqueue(session, COLLECT, tree, now, lock=lock(tree))


def lock(tree: str) -> str:
    """What collections of the tree wait for; only they: what matters to others is the turn on its files."""
    return f"tree:{tree}"


def collect_if_needed(session: Session, tree: str, now: dt.datetime) -> None:
    """`enqueue_collect`, if the tree has garbage that can be collected at some time."""
    session.flush()
    if any(is_garbage(session, layer) for layer in layers(session, tree)):
        enqueue_collect(session, tree, now)


def layers(session: Session, tree: str) -> list[Layer]:
    """All of the tree, the oldest first: none stands before the one that it is an overlay on."""
    return list(session.scalars(select(Layer).where(Layer.tree == tree).order_by(Layer.created_at)))


def is_garbage(session: Session, layer: Layer) -> bool:
    """Whether nothing needs the layer but, perhaps, one other that is an overlay on it."""
    return len(children(session, layer.id)) < 2 and not is_needed(session, layer)


def is_needed(session: Session, layer: Layer) -> bool:
    """Whether a disk writes to the layer or is about to, or a snapshot is of it."""
    if layer.state == TAKING:
        return True
    for column in (Disk.layer_id, Snapshot.layer_id):
        if session.scalar(select(func.count()).where(column == layer.id)):
            return True
    return False


def children(session: Session, layer_id: str) -> list[Layer]:
    return list(session.scalars(select(Layer).where(Layer.parent_id == layer_id).order_by(Layer.created_at)))
