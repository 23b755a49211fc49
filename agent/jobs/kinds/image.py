"""Building a public image from its recipe. `data`: image_id, file (the new layer's name), later also `old`."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.jobs.model import Context, Finish, Kind, Step, register
from agent.store.schema import Disk, Image, ImageDisk, Instance, Job, Layer

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


def _build(context: Context) -> None:
    output = context.config.data_dir / "build" / f"{context.data['file']}.qcow2"
    output.parent.mkdir(parents=True, exist_ok=True)
    context.drivers.builder.build(context.data["image_id"], output, context.report)


def _install(context: Context) -> Finish:
    storage, file = context.drivers.storage, context.data["file"]
    output = context.config.data_dir / "build" / f"{file}.qcow2"
    if output.exists():  # else a former try has moved it already
        storage.install_image(file, output)
    size_gib = -(-storage.virtual_size_bytes(storage.image_path(file)) // 2**30)

    def finish(session: Session) -> None:
        image = session.get_one(Image, context.resource_id)
        context.data["old"] = image.system.file if image.system else None
        image.size_gib, image.status = max(size_gib, image.size_gib), "Available"
        put_system_file(session, image, file)
        image.created_at = context.clock.now()

    return finish


def put_system_file(session: Session, image: Image, file: str) -> None:
    """Let system disks of the image be made of `file` from now on; those there are keep theirs."""
    if image.system is not None:
        session.delete(image.system)
        session.flush()
        session.refresh(image)
    image.disks.append(ImageDisk(device=SYSTEM_DEVICE, kind="system", size_gib=image.size_gib, file=file))


def _drop_old(context: Context) -> None:
    drop_unused_layer(context, context.data.get("old"))


def _discard(context: Context) -> None:
    (context.config.data_dir / "build" / f"{context.data['file']}.qcow2").unlink(missing_ok=True)
    drop_unused_layer(context, context.data["file"])


def _failed(session: Session, job: Job, now: dt.datetime) -> None:
    image = session.get_one(Image, job.resource_id)
    image.status = "Available" if image.system else "CreateFailed"


BUILD = register(
    Kind(
        "image.build",
        (Step("build", _build, _discard), Step("install", _install, _discard), Step("drop old layer", _drop_old)),
        failed=_failed,
    )
)
