"""Jobs that give a disk other content: its beginning again (SPEC D6), or that of one of its snapshots (D7).

The disk goes on as a new layer; the old one is the collector's. Until the very end the old content is the disk's: a job
that cannot be done leaves the disk as it was.
"""

from __future__ import annotations

import contextlib
import datetime as dt

from sqlalchemy.orm import Session

from agent.core import states
from agent.core.errors import DriverError
from agent.jobs import journal
from agent.jobs.layers import tree
from agent.jobs.model import Context, Kind, Step, register
from agent.store.schema import Disk, Job, Layer, Snapshot

REINIT, ROLL_BACK = "disk.reinit", "disk.roll_back"


def _new_layer(context: Context) -> None:
    """Make a new layer and let the disk write to it.

    Nobody else works on the layer's tree from before the store knows it until the disk needs it: the collection that is
    journalled with it, should we not come to the end, has to wait.
    """
    snapshot_id = context.data.get("snapshot_id")
    if _is_done(context):
        return
    with contextlib.ExitStack() as stack:
        if snapshot_id:
            stack.enter_context(context.turns.claim({_tree_of(context, snapshot_id)}))
        with context.store.write() as session:
            layer = _grow(context, session, snapshot_id)
            if not snapshot_id:
                stack.enter_context(context.turns.claim({layer.tree}))  # new: nobody can have it
            tree.enqueue_collect(session, layer.tree, context.clock.now())
        tree.ensure_file(context.drivers.storage, layer)
        with context.store.write() as session:
            _take_over(context, session, layer.id)


def _is_done(context: Context) -> bool:
    with context.store.read() as session:
        return session.get_one(Disk, context.resource_id).status != states.REINITIALISING


def _tree_of(context: Context, snapshot_id: str) -> str:
    with context.store.read() as session:
        return _layer_of(session, snapshot_id, context.resource_id).tree


def _layer_of(session: Session, snapshot_id: str, disk_id: str) -> Layer:
    snapshot = session.get(Snapshot, snapshot_id)
    if snapshot is None or snapshot.status != "accomplished" or snapshot.layer is None:
        raise DriverError(f"the disk {disk_id} stays as it is: its snapshot {snapshot_id} is gone")
    return snapshot.layer


def _grow(context: Context, session: Session, snapshot_id: str | None) -> Layer:
    disk, now = session.get_one(Disk, context.resource_id), context.clock.now()
    if snapshot_id:
        return tree.new_child(session, disk.id, disk.size_gib, now, _layer_of(session, snapshot_id, disk.id))
    return tree.new_root(session, disk.id, disk.size_gib, now, disk.image_file)


def _take_over(context: Context, session: Session, layer_id: str) -> None:
    """The disk has its new content; its instance starts if that was asked for and nobody else did it."""
    disk, now = session.get_one(Disk, context.resource_id), context.clock.now()
    old = disk.layer.tree
    disk.layer = session.get_one(Layer, layer_id)
    disk.layer.state = "ready"
    _settle(disk)
    session.flush()
    tree.enqueue_collect(session, old, now)
    instance = disk.instance
    if context.data.get("start") and instance and instance.status == states.STOPPED and not instance.releasing:
        instance.power, instance.status, instance.status_reason = "on", states.STARTING, ""
        journal.enqueue(session, "instance.start", instance.id, now, account_id=instance.account_id)


def _settle(disk: Disk) -> None:
    disk.status = states.IN_USE if disk.instance_id else states.AVAILABLE


def _failed(session: Session, job: Job, now: dt.datetime) -> None:
    _settle(session.get_one(Disk, job.resource_id))


register(Kind(REINIT, (Step("new layer", _new_layer),), failed=_failed))
register(Kind(ROLL_BACK, (Step("new layer", _new_layer),), failed=_failed))
