"""What all kinds of jobs on images share: the files that disks are made of."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.jobs.model import Context
from agent.store.schema import Disk, Image, ImageDisk, Instance, Layer

SYSTEM_DEVICE = "/dev/xvda"


def drop_unused_layer(context: Context, file: str | None) -> None:
    """Delete an image's file once neither an image nor a disk nor a snapshot needs it."""
    if not file:
        return
    with context.store.read() as session:
        used = session.scalar(select(ImageDisk.image_id).where(ImageDisk.file == file).limit(1)) or session.scalar(
            select(Disk.id).where(Disk.image_file == file).limit(1)
        )
        used = used or session.scalar(select(Layer.id).where(Layer.image_file == file).limit(1))
        used = used or session.scalar(select(Instance.id).where(Instance.iso_file == file).limit(1))
    if not used:
        context.drivers.storage.delete_image(file)


def put_system_file(session: Session, image: Image, file: str) -> None:
    """Let system disks of the image be made of `file` from now on; those there are keep theirs."""
    if image.system is not None:
        session.delete(image.system)
        session.flush()
        session.refresh(image)
    image.disks.append(ImageDisk(device=SYSTEM_DEVICE, kind="system", size_gib=image.size_gib, file=file))
