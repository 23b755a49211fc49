"""Exporting an image (SPEC M9). `data`: bucket, object, format; the object's name is nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.orm import Session

from agent.core.errors import DriverError
from agent.jobs import reports, slots
from agent.jobs.model import Cancelled, Context, Kind, Step, register
from agent.store.schema import Image, ImageDisk, Layer

_WRITTEN, _SENT = 60, 99  # percent when the file is written, and when it is where it shall be


def _export(context: Context) -> None:
    """In one step: what is in staging is swept when the agent starts anew."""
    with slots.slot():
        _write(context)


def _write(context: Context) -> None:
    target = _staged(context)
    target.unlink(missing_ok=True)
    try:
        with _content(context) as chain:
            context.drivers.converter.export(
                chain,
                target,
                context.data["format"],
                report=reports.part(context.report, 0, _WRITTEN, "writing"),
                cancelled=context.cancelled,
            )
        context.drivers.objects.put(
            context.data["bucket"],
            context.data["object"],
            target,
            report=reports.part(context.report, _WRITTEN, _SENT, "sending"),
            cancelled=context.cancelled,
        )
    except InterruptedError:
        raise Cancelled from None
    finally:
        target.unlink(missing_ok=True)


@contextmanager
def _content(context: Context) -> Iterator[list[Path]]:
    """The files that the image's disk is read from, the uppermost first; they stay as they are inside the block."""
    with context.store.read() as session:
        layer, file = _layer(session, context.resource_id), _system(session, context.resource_id).file
    if layer is None:
        if not file:
            raise DriverError(f"the image {context.resource_id} has no content")
        yield [context.drivers.storage.image_path(file)]
        return
    with context.turns.reading(layer.tree):
        with context.store.read() as session:
            chain = _chain(context, session)
        yield chain


def _chain(context: Context, session: Session) -> list[Path]:
    storage, paths = context.drivers.storage, []
    layer = _layer(session, context.resource_id)
    while layer is not None:
        paths.append(storage.layer_path(layer.id))
        if layer.image_file is not None:
            paths.append(storage.image_path(layer.image_file))
        layer = session.get(Layer, layer.parent_id) if layer.parent_id else None
    return paths


def _system(session: Session, image_id: str) -> ImageDisk:
    image = session.get(Image, image_id)
    if image is None or image.system is None:
        raise DriverError(f"the image {image_id} is not there any more")
    return image.system


def _layer(session: Session, image_id: str) -> Layer | None:
    """That of the snapshot that the image is made of; None: it is a file."""
    snapshot = _system(session, image_id).snapshot
    return snapshot.layer if snapshot else None


def _discard(context: Context) -> None:
    _staged(context).unlink(missing_ok=True)
    context.drivers.objects.remove(context.data["bucket"], context.data["object"])


def _staged(context: Context) -> Path:
    return context.config.staging_dir / f"{context.job_id}.{context.data['format']}"


EXPORT = register(Kind("image.export", (Step("export", _export, _discard),), cancellable_until=0, task="ExportImage"))
