"""Taking a snapshot (SPEC S1, S2): the disk goes on in a new layer, and the one it wrote to becomes the snapshot's.

`data`: `layer`, the new layer's id; `quiet`, whether the guest's file systems are to be frozen. The snapshot's row is
there; the job fills in what became of it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.core.errors import DriverError
from agent.jobs import translate
from agent.jobs.layers import live, tree
from agent.jobs.model import Context, Finish, Kind, NotYet, Step, register
from agent.store.schema import Disk, Job, Layer, Snapshot

TAKE = "snapshot.take"
WAIT_SECONDS = 0.3


def _plan(context: Context) -> Finish:
    """Let the store know the new layer before its file exists."""
    with context.store.read() as session:
        _, disk = _rows(context, session)
        if _being_taken(session, disk):
            raise NotYet(WAIT_SECONDS, "another snapshot of this disk is being taken")
        context.data["layer"] = tree.new_id(disk.id)

    def finish(session: Session) -> None:
        snapshot = session.get(Snapshot, context.resource_id)
        disk = session.get(Disk, snapshot.disk_id) if snapshot else None
        if disk is None or _being_taken(session, disk):
            return  # then the next step fails, which this cannot
        now, new_id = context.clock.now(), context.data["layer"]
        tree.new_child(session, disk.id, disk.size_gib, now, disk.layer, new_id).state = tree.TAKING

    return finish


def _rows(context: Context, session: Session) -> tuple[Snapshot, Disk]:
    snapshot = session.get(Snapshot, context.resource_id)
    if snapshot is None:
        raise DriverError(f"snapshot {context.resource_id} is gone")
    disk = session.get(Disk, snapshot.disk_id)
    if disk is None:
        raise DriverError(f"disk {snapshot.disk_id} is gone")
    return snapshot, disk


def _being_taken(session: Session, disk: Disk) -> bool:
    others = select(Layer.id).where(Layer.parent_id == disk.layer_id, Layer.state == tree.TAKING)
    return session.scalar(others.limit(1)) is not None


def _file(context: Context) -> None:
    with _turn(context):
        _make_file(context)
    with context.store.read() as session:
        _, disk = _rows(context, session)
        context.data["quiet"] = _can_be_quiet(context, session, disk.instance_id)


def _can_be_quiet(context: Context, session: Session, instance_id: str | None) -> bool:
    """While an agent that failed is being told to thaw, its word would not be worth much."""
    if instance_id is None or live.is_thawing(session, instance_id):
        return False
    name = translate.domain_name(context.config, instance_id)
    return context.drivers.hypervisor.guest_agent_connected(name)


@contextlib.contextmanager
def _turn(context: Context) -> Iterator[None]:
    """The turn on the new layer's tree. Rows are to be read after this."""
    with context.store.read() as session:
        layer = session.get(Layer, context.data["layer"])
    with context.turns.claim([layer.tree] if layer else []):
        yield


def _make_file(context: Context) -> None:
    """The new layer's file, on the layer that the disk writes to now, which may be another one than was planned."""
    storage = context.drivers.storage
    with context.store.write() as session:
        _, disk = _rows(context, session)
        layer = session.get(Layer, context.data["layer"])
        if layer is None:
            raise DriverError(f"two snapshots of disk {disk.id} were begun at the same moment: take this one again")
        if disk.layer_id == layer.id:
            return
        planned, now_in = (layer.parent_id, layer.size_gib), disk.layer.tree
        moved = layer.tree != now_in
        layer.parent_id, layer.size_gib, layer.tree = disk.layer_id, disk.size_gib, now_in
        if planned != (layer.parent_id, layer.size_gib):
            storage.delete_layer(layer.id)
    if moved:
        raise NotYet(0, "the disk was initialised again meanwhile")  # and this is the turn on another tree
    with context.store.read() as session:
        tree.ensure_file(storage, session.get_one(Layer, context.data["layer"]))


def _switch(context: Context) -> Finish:
    with _turn(context):
        _make_file(context)
        first, disk = _switch_in_store(context)
        quiet = bool(context.data["quiet"]) and disk is not None
        if disk and quiet and not first:
            live.thaw_later(context, disk.instance_id)  # who was here before may have been cut off after freezing
        frozen = live.follow(context, disk, quiet=quiet and first) if disk else False
    return _accomplished(context, "filesystem" if frozen else "crash")


def _switch_in_store(context: Context) -> tuple[bool, live.Plugged | None]:
    """Whether it was not done before, and the disk as the store has it now."""
    with context.store.write() as session:
        snapshot, disk = _rows(context, session)
        layer = session.get_one(Layer, context.data["layer"])
        first = disk.layer_id != layer.id
        if first:
            snapshot.layer_id = disk.layer_id
            disk.layer_id, layer.state = layer.id, "ready"
            session.flush()
        return first, live.plugged(context, session, disk)


def _accomplished(context: Context, consistency: str) -> Finish:
    def finish(session: Session) -> None:
        snapshot, now = session.get(Snapshot, context.resource_id), context.clock.now()
        if snapshot:
            snapshot.status, snapshot.progress, snapshot.message = "accomplished", 100, ""
            snapshot.consistency, snapshot.finished_at = consistency, now
        tree.collect_if_needed(session, session.get_one(Layer, context.data["layer"]).tree, now)

    return finish


# ---------------------------------------------------------------------------------- when it cannot be done


def _switch_back(context: Context) -> None:
    """The disk keeps the new layer, empty or not, unless a running guest still writes to the one below."""
    with _turn(context), context.store.write() as session:
        snapshot = session.get(Snapshot, context.resource_id)
        layer = session.get(Layer, context.data["layer"])
        disk = session.scalar(select(Disk).where(Disk.layer_id == context.data["layer"]))
        if snapshot:
            snapshot.layer_id = None
        if disk and layer and (there := live.plugged(context, session, disk)):
            files = live.chain(context, there)
            if files and files[0] == layer.parent_id:
                disk.layer_id = layer.parent_id


def _drop(context: Context) -> None:
    with context.store.write() as session:
        layer = session.get(Layer, context.data.get("layer", ""))
        if layer:
            layer.state = "ready" if layer.state == tree.TAKING else layer.state
            tree.enqueue_collect(session, layer.tree, context.clock.now())


def _failed(session: Session, job: Job, now: dt.datetime) -> None:
    snapshot = session.get(Snapshot, job.resource_id)
    if snapshot:
        snapshot.status, snapshot.message, snapshot.finished_at = "failed", job.message, now


register(
    Kind(TAKE, (Step("plan", _plan, _drop), Step("file", _file), Step("switch", _switch, _switch_back)), failed=_failed)
)
