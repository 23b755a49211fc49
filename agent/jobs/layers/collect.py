"""Collecting the garbage of a tree: what has no children is deleted, what has one is merged with it."""

from __future__ import annotations

import logging

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from agent.jobs import journal
from agent.jobs.kinds.image import drop_unused_layer
from agent.jobs.layers import merge, tree
from agent.jobs.model import Context, Kind, NotYet, Step, register
from agent.store.schema import Disk, Layer, Snapshot

AGAIN_SECONDS = 0.2

log = logging.getLogger(__name__)


def _collect(context: Context) -> None:
    """Until there is nothing more that can be collected now. The rest waits for a guest to stop, or another branch to
    fall: whoever does that asks for another collection, and the reconciler does."""
    name = context.resource_id
    with context.turns.background(name) as give_way:
        if give_way is None:
            raise NotYet(AGAIN_SECONDS, "waiting for the disk's other work")
        merge.settle(context, name)
        while True:
            _delete_leaves(context, name)
            found = merge.find(context, name)
            if found is None:
                return
            log.info("merging layer %s into %s: %s", found.layer, found.into, found.way.value)
            if not merge.run(context, found, give_way):
                raise NotYet(AGAIN_SECONDS, "giving way to the disk's other work")


def _delete_leaves(context: Context, name: str) -> None:
    while layer := _fallen_leaf(context, name):
        context.drivers.storage.delete_layer(layer.id)
        with context.store.write() as session:
            session.delete(session.get_one(Layer, layer.id))
        drop_unused_layer(context, layer.image_file)


def _fallen_leaf(context: Context, name: str) -> Layer | None:
    with context.store.read() as session:
        return next((layer for layer in tree.layers(session, name) if _is_fallen(session, layer)), None)


def _is_fallen(session: Session, layer: Layer) -> bool:
    return not tree.children(session, layer.id) and not tree.is_needed(session, layer)


def enqueue_possible(context: Context) -> None:
    """Journal the collection of every tree in which one can do something, and none is going to."""
    with context.store.read() as session:
        names = [name for name in _with_garbage(session) if not journal.busy(session, tree.lock(name))]
        fallen = {layer.tree for name in names for layer in tree.layers(session, name) if _is_fallen(session, layer)}
    possible = [name for name in names if name in fallen or merge.find(context, name)]
    if possible:
        with context.store.write() as session:
            for name in possible:
                tree.enqueue_collect(session, name, context.clock.now())


def _with_garbage(session: Session) -> list[str]:
    above = aliased(Layer)
    children = select(func.count()).where(above.parent_id == Layer.id).scalar_subquery()
    needed = (
        select(Disk.id).where(Disk.layer_id == Layer.id).exists(),
        select(Snapshot.id).where(Snapshot.layer_id == Layer.id).exists(),
    )
    found = select(Layer.tree).where(children < 2, Layer.state != tree.TAKING, ~needed[0], ~needed[1])
    return list(session.scalars(found.distinct()))


register(Kind(tree.COLLECT, (Step("collect", _collect),), patience=None))
