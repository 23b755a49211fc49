"""What a disk of an image is read from: our own files, each an overlay on the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.orm import Session

from agent.core.errors import DriverError
from agent.jobs.model import Context
from agent.store.schema import ImageDisk, Layer

SYSTEM_DEVICE = "/dev/xvda"


@contextmanager
def files(context: Context, image_id: str, device: str = SYSTEM_DEVICE) -> Iterator[list[Path]]:
    """The uppermost first; they stay as they are inside the block. Raises DriverError when there are none."""
    with context.store.read() as session:
        disk, layer = _disk(session, image_id, device), _layer(session, image_id, device)
    if layer is None:
        if not disk.file:
            raise DriverError(f"the disk {device} of the image {image_id} has no content")
        yield [context.drivers.storage.image_path(disk.file)]
        return
    with context.turns.reading(layer.tree):
        with context.store.read() as session:
            chain = _chain(context, session, _layer(session, image_id, device))
        yield chain


def _chain(context: Context, session: Session, layer: Layer | None) -> list[Path]:
    storage, paths = context.drivers.storage, []
    while layer is not None:
        paths.append(storage.layer_path(layer.id))
        if layer.image_file is not None:
            paths.append(storage.image_path(layer.image_file))
        layer = session.get(Layer, layer.parent_id) if layer.parent_id else None
    return paths


def _disk(session: Session, image_id: str, device: str) -> ImageDisk:
    found = session.get(ImageDisk, (image_id, device))
    if found is None:
        raise DriverError(f"the disk {device} of the image {image_id} is not there any more")
    return found


def _layer(session: Session, image_id: str, device: str) -> Layer | None:
    """That of the snapshot that the disk is made of; None: it is a file."""
    snapshot = _disk(session, image_id, device).snapshot
    return snapshot.layer if snapshot else None
