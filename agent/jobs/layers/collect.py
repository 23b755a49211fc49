"""Collecting the garbage of a tree."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.jobs.kinds.image import drop_unused_layer
from agent.jobs.layers import tree
from agent.jobs.model import Context, Kind, NotYet, Step, register
from agent.store.schema import Layer

AGAIN_SECONDS = 0.2


def _collect(context: Context) -> None:
    """Delete garbage without children, until there is none."""
    with context.turns.background(context.resource_id) as give_way:
        if give_way is None:
            raise NotYet(AGAIN_SECONDS, "waiting for the disk's other work")
        while layer := _fallen_leaf(context):
            context.drivers.storage.delete_layer(layer.id)
            with context.store.write() as session:
                session.delete(session.get_one(Layer, layer.id))
            drop_unused_layer(context, layer.image_file)


def _fallen_leaf(context: Context) -> Layer | None:
    with context.store.read() as session:
        return next((layer for layer in _all(session, context.resource_id) if _is_leaf_garbage(session, layer)), None)


def _all(session: Session, root: str) -> list[Layer]:
    return list(session.scalars(select(Layer).where(Layer.tree == root)))


def _is_leaf_garbage(session: Session, layer: Layer) -> bool:
    return not tree.children(session, layer.id) and not tree.is_needed(session, layer)


register(Kind(tree.COLLECT, (Step("collect", _collect),), patience=None))
