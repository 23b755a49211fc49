"""Checking a disk before it becomes an image, or an image (SPEC M8). `data`: `source`, which is {} for an image, a
handle and name of an open file, or bucket and object; `declared`, the format somebody says it has; later `report`."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from agent.core import image_check
from agent.core.errors import BadImage, DriverError, NoSuchObject
from agent.core.image_check import Report
from agent.core.protocols import Storage
from agent.core.specs import ImageInfo
from agent.drivers import qemu_user
from agent.jobs import journal
from agent.jobs.layers import tree
from agent.jobs.model import Cancelled, Context, Finish, Kind, Step, register
from agent.store.schema import Image, ImageDisk, Job, Layer

CHECK = "image.check"
_READ = 50  # percent of the work when a file is here and converted


def begin_check(session: Session, image: Image, now: dt.datetime) -> Job:
    """The job that looks into an image for its owner, after all other jobs of it."""
    data: dict[str, Any] = {"source": {}, "declared": ""}
    return journal.enqueue(session, CHECK, image.id, now, account_id=image.account_id, data=data)


def _check(context: Context) -> Finish:
    source = context.data["source"]
    try:
        found = _check_file(context, source) if source else _check_image(context)
    except InterruptedError:
        raise Cancelled from None
    context.data["report"] = stored(found)
    return _nothing


def _nothing(session: Session) -> None:
    """The report is in the job's own data."""


def stored(found: Report) -> dict[str, Any]:
    """As JSON."""
    items = [{**dataclasses.asdict(item), "level": item.level.value} for item in found.items]
    return {**dataclasses.asdict(found), "items": items, "level": found.level.value}


# ---------------------------------------------------------------------------------- a stranger's file


def _check_file(context: Context, source: dict[str, Any]) -> Report:
    """Read by our own readers and converted as for an import; what is looked into is the result."""
    staged = _staged(context)
    staged.unlink(missing_ok=True)
    try:
        with _opened(context, source) as descriptor:
            info = context.drivers.converter.probe(descriptor, context.data["declared"])
            context.drivers.converter.convert(
                descriptor,
                info,
                staged,
                "qcow2",
                report=lambda percent: context.report(percent * _READ // 100, f"reading {info.format}"),
                cancelled=context.cancelled,
            )
    except BadImage as error:
        return image_check.unreadable(str(error))
    os.chown(staged, 0, qemu_user.lookup().own_gid)
    staged.chmod(0o440)
    return _judged(context, info, [staged])


def _staged(context: Context) -> Path:
    return context.config.staging_dir / f"check-{context.job_id}.qcow2"


@contextlib.contextmanager
def _opened(context: Context, source: dict[str, Any]) -> Iterator[int]:
    if "handle" in source:
        with context.open_files.opened(source["handle"]) as file:
            if file is None:
                raise DriverError("whoever had opened it has closed it, or the agent was restarted: check it again")
            yield file.descriptor
        return
    try:
        with context.drivers.objects.opened(
            source["bucket"],
            source["object"],
            report=lambda percent: context.report(percent * _READ // 200, "fetching"),
            cancelled=context.cancelled,
        ) as descriptor:
            yield descriptor
    except NoSuchObject:
        raise DriverError(f"oss://{source['bucket']}/{source['object']} is not there any more") from None


def _discard(context: Context) -> None:
    _staged(context).unlink(missing_ok=True)


# ---------------------------------------------------------------------------------- an image


def _check_image(context: Context) -> Report:
    """Nothing is copied: layers of images are never written to, and stay while they are read."""
    with context.store.read() as session:
        layer = _layer(_system(session, context.resource_id))
    with contextlib.ExitStack() as stack:
        if layer is not None:
            stack.enter_context(context.turns.reading(layer.tree))
        with context.store.read() as session:
            chain = _chain(context.drivers.storage, session, _system(session, context.resource_id))
        return _judged(context, None, chain)


def _chain(storage: Storage, session: Session, disk: ImageDisk) -> list[Path]:
    layer = _layer(disk)
    return tree.files(session, storage, layer) if layer is not None else [storage.image_path(disk.file or "")]


def _layer(disk: ImageDisk) -> Layer | None:
    return disk.snapshot.layer if disk.snapshot else None


def _system(session: Session, image_id: str) -> ImageDisk:
    image = session.get(Image, image_id)
    if image is None or image.system is None:
        raise DriverError(f"the image {image_id} is gone")
    return image.system


def _judged(context: Context, info: ImageInfo | None, chain: Sequence[Path]) -> Report:
    begin = _READ if info else 0

    def report(percent: int, text: str) -> None:
        context.report(begin + percent * (100 - begin) // 100, text)

    facts = context.drivers.inspector.inspect(chain, report, context.cancelled)
    return image_check.report(info, facts)


register(
    Kind(
        CHECK,
        (Step("look", _check, _discard), Step("clean up", _discard)),
        cancellable_until=0,
        task="CheckImage",
    )
)
