"""Public images: built from their recipes, or downloaded from their distributions.

`data`: image_id, file (the new layer's name), `pull` (it is downloaded), `refresh` (only if there is something newer);
later also `source` (what it is made of), `same` (there is nothing newer, so nothing is left to do), `old` (the file it
replaces).
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.orm import Session

from agent.jobs.kinds.image import drop_unused_layer, put_system_file
from agent.jobs.model import Cancelled, Context, Finish, Kind, Step, register
from agent.store.schema import Image, Job

BUILD, PULL = "image.build", "image.pull"


def _output(context: Context) -> Path:
    """A build works in a directory beside it, which the next one cleans; what is converted is swept with all else."""
    built = context.config.data_dir / "build"
    directory = context.config.staging_dir if context.data["pull"] else built
    return directory / f"{context.data['file']}.qcow2"


def _unless_same(do: Callable[[Context], Finish | None]) -> Callable[[Context], Finish | None]:
    def step(context: Context) -> Finish | None:
        if context.data.get("same"):
            return None
        try:
            return do(context)
        except InterruptedError:
            raise Cancelled from None

    return step


def _look(context: Context) -> None:
    """What the image is to be made of, and whether that is new."""
    context.report(0, "looking what is the newest")
    context.data["source"] = context.drivers.builder.newest(context.data["image_id"], context.cancelled)
    with context.store.read() as session:
        image = session.get_one(Image, context.resource_id)
        up_to_date = image.system is not None and image.source_id == context.data["source"]
    context.data["same"] = bool(context.data.get("refresh")) and up_to_date


def _build(context: Context) -> None:
    output = _output(context)
    output.parent.mkdir(parents=True, exist_ok=True)
    context.drivers.builder.build(context.data["image_id"], output, context.report, context.cancelled)


def _download(context: Context) -> None:
    _fetched(context)


def _fetched(context: Context) -> Path:
    """The verified file; fetched again, as far as it is missing."""
    builder, image_id = context.drivers.builder, context.data["image_id"]
    return builder.download(image_id, context.data["source"], context.report, context.cancelled)


def _convert(context: Context) -> None:
    """A signature says who made it, not that it can do no harm: it is handled like a stranger's."""
    output, converter = _output(context), context.drivers.converter
    source = os.open(_fetched(context), os.O_RDONLY)
    try:
        context.report(0, "converting")
        converter.convert(
            source,
            converter.probe(source, "qcow2"),
            output,
            "qcow2",
            report=lambda percent: context.report(percent, "converting"),
            cancelled=context.cancelled,
        )
    finally:
        os.close(source)


def _install(context: Context) -> Finish:
    storage, file = context.drivers.storage, context.data["file"]
    output = _output(context)
    if output.exists():  # else a former try has moved it already
        storage.install_image(file, output)
    context.data["old"] = _file_of(context)
    size_gib = -(-storage.virtual_size_bytes(storage.image_path(file)) // 2**30)

    def finish(session: Session) -> None:
        image = session.get_one(Image, context.resource_id)
        image.size_gib, image.status, image.message = max(size_gib, image.size_gib), "Available", ""
        image.source_id = context.data["source"]
        put_system_file(session, image, file)
        image.created_at = context.clock.now()

    return finish


def _file_of(context: Context) -> str | None:
    """What the image is made of until now."""
    with context.store.read() as session:
        system = session.get_one(Image, context.resource_id).system
        return system.file if system else None


def _clean_up(context: Context) -> None:
    drop_unused_layer(context, context.data.get("old"))
    context.drivers.builder.discard_download(context.data["image_id"])


def _discard(context: Context) -> None:
    _output(context).unlink(missing_ok=True)
    drop_unused_layer(context, context.data["file"])


def _discard_download(context: Context) -> None:
    """After a failure what is there stays: the next try goes on with it."""
    if context.cancelled():
        context.drivers.builder.discard_download(context.data["image_id"])


def _failed(session: Session, job: Job, now: dt.datetime) -> None:
    """An image that was there before is as good as it was; of one that was cancelled the first time nothing stays."""
    image = session.get_one(Image, job.resource_id)
    if job.cancelling and image.system is None:
        session.delete(image)
        return
    image.status, image.message = ("Available", "") if image.system else ("CreateFailed", job.message)


# A cancelled job leaves nothing: the old image, if there was one, stays until `install`.
register(
    Kind(
        BUILD,
        (
            Step("look", _unless_same(_look)),
            Step("build", _unless_same(_build), _discard),
            Step("install", _unless_same(_install), _discard),
            Step("clean up", _unless_same(_clean_up)),
        ),
        failed=_failed,
        cancellable_until=2,
        task="BuildImage",
    )
)
register(
    Kind(
        PULL,
        (
            Step("look", _unless_same(_look)),
            Step("download", _unless_same(_download), _discard_download),
            Step("convert", _unless_same(_convert), _discard),
            Step("install", _unless_same(_install), _discard),
            Step("clean up", _unless_same(_clean_up)),
        ),
        failed=_failed,
        cancellable_until=3,
        task="PullImage",
    )
)
