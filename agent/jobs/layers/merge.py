"""Merging garbage with its only child: what is written in c goes into f right below it, and f takes c's place.

Every way of doing it may be cut off anywhere, by a crash or because somebody waits for the tree, and gone on with in
another way: from the first write to f on (state `merging`), c over f means what c always meant, and only after all of
c is in f for good does anything refer to f. What is an overlay on c is moved onto f; one that has been tells that f is
whole, but for one that a power cut may have put on the disk before f's content (`after_power_cut`).
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from agent.core.errors import DriverError
from agent.jobs.layers import live, tree
from agent.jobs.model import Context
from agent.store.schema import Disk, Layer, Snapshot

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
AGAIN_SECONDS = 1.0
REPORT_PERCENT = 5
RESERVE_BYTES = 16 << 20  # of the file system: a merge never takes the last

# A running guest's own layer over garbage is merged when it is this much, and this part of the garbage: it takes
# another layer, which will be over garbage too.
WORTHWHILE_BYTES = 64 << 20
WORTHWHILE_PART = 8


class Way(enum.Enum):
    OFFLINE = "nobody has it open"
    LIVE = "one running guest has it open, below the layer it writes to"
    LIVE_TOP = "one running guest writes to it"


@dataclass(frozen=True)
class Merge:
    """`layer`, an overlay on `into`, goes into it. `user`: the running guest's disk that has it open, if any."""

    layer: str
    into: str
    way: Way
    user: live.Plugged | None = None


def find(context: Context, name: str) -> Merge | None:
    """What can be merged in the tree now: next to the root first, so that nothing is copied twice."""
    with context.store.read() as session:
        pairs = _pairs(context, session, name)
        if not pairs:
            return None
        users = _users(context, session, name)
        for into, layer in pairs:
            found = _way(context, into, layer, users)
            if found and _has_room(context, layer):
                return found
    return None


def _pairs(context: Context, session: Session, name: str) -> list[tuple[Layer, Layer]]:
    """Garbage with its only child, as far as files go. What is being made on a layer is waited for."""
    there, pairs = context.drivers.storage.list_layers(), []
    for layer in tree.layers(session, name):
        above = tree.children(session, layer.id)
        if len(above) != 1 or tree.is_needed(session, layer):
            continue
        child, grandchildren = above[0], tree.children(session, above[0].id)
        taking = any(one.state == tree.TAKING for one in (child, *grandchildren))
        if not taking and {layer.id, child.id} <= there:
            pairs.append((layer, child))
    return pairs


def _has_room(context: Context, layer: Layer) -> bool:
    """For the time until the layer's own file is removed."""
    storage = context.drivers.storage
    missing = storage.allocated_bytes(layer.id) + RESERVE_BYTES - storage.capacity_bytes()[1]
    if missing > 0:
        log.warning("%s MiB more room are needed to merge layer %s with what is below", -(-missing >> 20), layer.id)
    return missing <= 0


User = tuple[live.Plugged, str, tuple[str, ...]]  # a disk, its status, and the files that its running guest has open


def _users(context: Context, session: Session, name: str) -> list[User]:
    disks = select(Disk).join(Layer).where(Layer.tree == name, Disk.instance_id.is_not(None))
    found = []
    for disk in session.scalars(disks):
        plugged = live.plugged(context, session, disk)
        if plugged and (files := live.chain(context, plugged)):
            found.append((plugged, disk.status, files))
    return found


def _way(context: Context, into: Layer, layer: Layer, users: list[User]) -> Merge | None:
    touching = [user for user in users if {into.id, layer.id} & set(user[2])]
    if not touching:
        return Merge(layer.id, into.id, Way.OFFLINE)
    disk, status, files = touching[0]
    if len(touching) > 1 or status != "In_use" or files[0] != disk.layer_id:
        return None  # until all of them but one are off, or the one is done with what it is at
    if files[0] != layer.id:
        return Merge(layer.id, into.id, Way.LIVE, disk)
    storage = context.drivers.storage
    much = max(WORTHWHILE_BYTES, storage.allocated_bytes(into.id) // WORTHWHILE_PART)
    return Merge(layer.id, into.id, Way.LIVE_TOP, disk) if storage.allocated_bytes(layer.id) >= much else None


# ---------------------------------------------------------------------------------- doing it


def run(context: Context, merge: Merge, give_way: Callable[[], bool]) -> bool:
    """False when it gave way before it was done. The caller has the tree's turn, in the background."""
    if not _is_whole(context, merge) or _has_open(context, merge):
        if merge.way is Way.LIVE_TOP:
            _go_over(context, merge)
        _begin(context, merge)
        written = _offline if merge.way is Way.OFFLINE else _live
        if not written(context, merge, give_way):
            return False
    _finish(context, merge)
    return True


def _above(context: Context, merge: Merge) -> list[str]:
    """The overlays on the merged layer that have a file."""
    with context.store.read() as session:
        known = [layer.id for layer in tree.children(session, merge.layer)]
    there = context.drivers.storage.list_layers()
    return [layer for layer in known if layer in there]


def _is_whole(context: Context, merge: Merge) -> bool:
    return any(context.drivers.storage.layer_below(layer) == merge.into for layer in _above(context, merge))


def _has_open(context: Context, merge: Merge) -> bool:
    """Whether a running guest looks through the merged layer: then only its own QEMU can move it onto the other."""
    return merge.user is not None and merge.layer in live.chain(context, merge.user)


def _begin(context: Context, merge: Merge) -> None:
    with context.store.write() as session:
        session.get_one(Layer, merge.into).state = "merging"


def _offline(context: Context, merge: Merge, give_way: Callable[[], bool]) -> bool:
    return context.drivers.storage.merge_layer(merge.layer, merge.into, give_way)


def _live(context: Context, merge: Merge, give_way: Callable[[], bool]) -> bool:
    disk, hypervisor, storage = merge.user, context.drivers.hypervisor, context.drivers.storage
    assert disk is not None
    try:
        if hypervisor.merging(disk.domain, disk.serial) is None:
            layer, into = storage.layer_path(merge.layer), storage.layer_path(merge.into)
            hypervisor.start_merging(disk.domain, disk.serial, layer, into)
        if not _wait_for_the_end(context, disk, give_way):
            return False
    finally:
        _stop(context, disk)
    if not _is_whole(context, merge) or _has_open(context, merge):
        raise DriverError(f"the merge of {merge.layer} into {merge.into} ended before its end", transient=True)
    return True


def _wait_for_the_end(context: Context, disk: live.Plugged, give_way: Callable[[], bool]) -> bool:
    shown = -1
    while (done := context.drivers.hypervisor.merging(disk.domain, disk.serial)) is not None:
        if give_way():
            return False
        percent = 100 * done[0] // max(1, done[1])
        if percent >= shown + REPORT_PERCENT:
            context.report(percent, "merging layers of deleted snapshots")
            shown = percent
        time.sleep(POLL_SECONDS)
    return True


def _stop(context: Context, disk: live.Plugged) -> None:
    """Nobody else has the turn before QEMU has stopped: while libvirt is away, which QEMU does not notice, it waits."""
    while True:
        try:
            context.drivers.hypervisor.stop_merging(disk.domain, disk.serial)
            return
        except DriverError as error:
            if context.turns.closing:
                raise
            log.warning("%s; trying again", error)
            time.sleep(AGAIN_SECONDS)


def _finish(context: Context, merge: Merge) -> None:
    """All of the layer is in the one below. What is made durable here is so before the store says that it is."""
    storage = context.drivers.storage
    storage.sync_layer(merge.into)
    for layer in _above(context, merge):
        storage.move_layer(layer, merge.into)
    with context.store.write() as session:
        _take_place(session, session.get_one(Layer, merge.into), session.get_one(Layer, merge.layer))


def _take_place(session: Session, into: Layer, layer: Layer) -> None:
    into.state, into.size_gib = "ready", layer.size_gib
    session.execute(update(Disk).where(Disk.layer_id == layer.id).values(layer_id=into.id))
    session.execute(update(Snapshot).where(Snapshot.layer_id == layer.id).values(layer_id=into.id))
    session.execute(update(Layer).where(Layer.parent_id == layer.id).values(parent_id=into.id))


def _go_over(context: Context, merge: Merge) -> None:
    """Let the running guest write to a new layer, so that the merged one is never the one that it writes to."""
    assert merge.user is not None
    now = context.clock.now()
    with context.store.write() as session:
        disk = session.get_one(Disk, merge.user.disk_id)
        new_id = tree.new_child(session, disk.id, disk.size_gib, now, disk.layer).id
    with context.store.write() as session:
        layer = session.get_one(Layer, new_id)
        tree.ensure_file(context.drivers.storage, layer)
        layer.state = "ready"
        disk = session.get_one(Disk, merge.user.disk_id)
        disk.layer_id = new_id
        session.flush()
        there = live.plugged(context, session, disk)
    if there:
        live.follow(context, there)


# ---------------------------------------------------------------------------------- after a crash


def settle(context: Context, name: str) -> None:
    """Let guests whose disks went over to a new layer in the store only go over too. With the tree's turn."""
    with context.store.read() as session:
        users = _users(context, session, name)
    for disk, _, _ in users:
        live.follow(context, disk)


def stop_all(context: Context) -> None:
    """Stop the merges that guests do for an agent that is no more; nobody has the turn for them."""
    with context.store.read() as session:
        for name in session.scalars(select(Layer.tree).where(Layer.state == "merging").distinct()).all():
            for disk, _, _ in _users(context, session, name):
                context.drivers.hypervisor.stop_merging(disk.domain, disk.serial)


def after_power_cut(context: Context) -> None:
    """A running guest's merge moves the overlay above onto f before f's content is on the disk: the overlay alone may
    have survived. Nothing is open yet, and c is there until f is whole for good: put it back."""
    storage = context.drivers.storage
    with context.store.read() as session:
        for into in session.scalars(select(Layer).where(Layer.state == "merging")).all():
            for layer in tree.children(session, into.id):
                above = [one.id for one in tree.children(session, layer.id)]
                for moved in storage.list_layers().intersection(above):
                    _put_back(context, moved, layer.id)


def _put_back(context: Context, moved: str, onto: str) -> None:
    try:
        context.drivers.storage.move_layer(moved, onto)
    except DriverError as error:
        log.error("layer %s may have lost what it had before the power cut: %s", moved, error)
