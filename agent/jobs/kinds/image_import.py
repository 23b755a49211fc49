"""Importing an image (SPEC M7). `data`: disks, each with device, kind, size_gib, `exact` (that size was asked for),
largest_gib, format (as somebody said), `iso` (an empty disk, and this to install from), file (what it becomes), and
where it is: bucket and object, or handle and name. `after`: remove, when the object was put there only to be imported.
`check`: look into the image when it is there.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from agent.core.errors import BadImage, DriverError, NoSuchObject
from agent.core.specs import ImageInfo
from agent.drivers.image import iso
from agent.jobs import reports, slots
from agent.jobs.kinds.image import drop_unused_layer
from agent.jobs.kinds.image_check import begin_check
from agent.jobs.model import Cancelled, Context, Finish, Kind, Step, register
from agent.store.queries import forget_tags
from agent.store.schema import Image, ImageDisk, Job

log = logging.getLogger(__name__)

GIB = 1 << 30
_FETCHED, _CONVERTED = 40, 99  # percent of a disk's work when it is here, and when it is converted


def _import(context: Context) -> None:
    """Fetch, look into, convert and install one disk after the other. What was installed before a crash is not done
    again: a file has its name only when it is whole."""
    with slots.slot():
        for number in range(len(context.data["disks"])):
            _import_disk(context, number)


def _import_disk(context: Context, number: int) -> None:
    disk, storage = context.data["disks"][number], context.drivers.storage
    if disk["file"] in storage.list_images():
        disk["as"] = "iso" if disk.get("iso") else disk["format"]  # what it was found to be died with the agent
        _measure(disk, storage.virtual_size_bytes(storage.image_path(disk["file"])))
        return
    with _told(disk), _cancellable(), _opened(context, number) as source:
        info = context.drivers.converter.probe(source, disk["format"])
        if disk.get("iso") and info.format == "raw":
            iso.check(source)
        _measure(disk, info.virtual_bytes)
        disk["as"] = "iso" if disk.get("iso") else info.format
        _convert(context, number, source, info)
    storage.install_image(disk["file"], _staged(context, disk))


def _convert(context: Context, number: int, source: int, info: ImageInfo) -> None:
    staged = _staged(context, context.data["disks"][number])
    staged.unlink(missing_ok=True)  # of a try that was broken off between this and the installing
    report = _part(context, number, _FETCHED, _CONVERTED, f"converting {info.format}")
    context.drivers.converter.convert(source, info, staged, "qcow2", report=report, cancelled=context.cancelled)


def _staged(context: Context, disk: dict[str, Any]) -> Path:
    return context.config.staging_dir / f"{disk['file']}.qcow2"


def _measure(disk: dict[str, Any], virtual_bytes: int) -> None:
    """The size that the image's disk gets: never less than its content. Raises BadImage."""
    if disk.get("iso"):
        return
    needed = -(-virtual_bytes // GIB)
    if needed > disk["largest_gib"]:
        raise BadImage(f"it is a disk of {needed} GiB; {disk['largest_gib']} GiB are possible for {disk['device']}")
    if disk["exact"] and needed > disk["size_gib"]:
        raise BadImage(f"it is a disk of {needed} GiB: a DiskImageSize of {disk['size_gib']} GiB is too small")
    disk["size_gib"] = max(disk["size_gib"], needed)


@contextlib.contextmanager
def _opened(context: Context, number: int) -> Iterator[int]:
    """A descriptor of the disk's content."""
    disk = context.data["disks"][number]
    if "handle" in disk:
        with context.open_files.opened(disk["handle"]) as file:
            if file is None:
                raise DriverError("whoever had opened it has closed it, or the agent was restarted: import it again")
            yield file.descriptor
        return
    with context.drivers.objects.opened(
        disk["bucket"],
        disk["object"],
        report=_part(context, number, 0, _FETCHED, "fetching"),
        cancelled=context.cancelled,
    ) as descriptor:
        yield descriptor


def _part(context: Context, number: int, first: int, last: int, doing: str) -> Callable[[int], None]:
    """For the progress of one disk's work from `first` to `last` percent of it."""
    count = len(context.data["disks"])
    which = f" disk {number + 1}/{count}" if count > 1 else ""
    begin = 100 * number
    return reports.part(context.report, (begin + first) / count, (begin + last) / count, doing + which)


@contextlib.contextmanager
def _told(disk: dict[str, Any]) -> Iterator[None]:
    """What is wrong with a file is told with the file's name, as its owner knows it."""
    name = disk.get("name") or f"oss://{disk['bucket']}/{disk['object']}"
    try:
        yield
    except NoSuchObject:
        raise DriverError(f"cannot import {name}: it is not there any more") from None
    except DriverError as error:
        raise type(error)(f"cannot import {name}: {error}", transient=error.transient) from None


@contextlib.contextmanager
def _cancellable() -> Iterator[None]:
    try:
        yield
    except InterruptedError:
        raise Cancelled from None


def _discard(context: Context) -> None:
    for disk in context.data["disks"]:
        _staged(context, disk).unlink(missing_ok=True)
        drop_unused_layer(context, disk["file"])
    _remove_objects(context)


def _publish(context: Context) -> Finish:
    def finish(session: Session) -> None:
        image = session.get_one(Image, context.resource_id)
        for disk in context.data["disks"]:
            image.disks.append(_row(disk))
        image.size_gib = context.data["disks"][0]["size_gib"]
        image.status = "Available"
        if context.data.get("check"):
            begin_check(session, image, context.clock.now())

    return finish


def _row(disk: dict[str, Any]) -> ImageDisk:
    return ImageDisk(
        device=disk["device"],
        kind=disk["kind"],
        size_gib=disk["size_gib"],
        file=disk["file"],
        format="iso" if disk.get("iso") else "qcow2",
        import_format=disk["as"].upper(),
        import_bucket=disk.get("bucket", ""),
        import_object=disk.get("object", ""),
    )


def _remove_objects(context: Context) -> None:
    """Those that were put into a bucket only to be imported. What cannot be removed now is swept later."""
    for disk in context.data["disks"]:
        if disk.get("after") == "remove":
            try:
                context.drivers.objects.remove(disk["bucket"], disk["object"])
            except DriverError as error:
                log.warning("%s: %s", context.resource_id, error)


def _failed(session: Session, job: Job, now: dt.datetime) -> None:
    """What was cancelled leaves nothing; what failed is shown with the reason, until it is deleted."""
    image = session.get(Image, job.resource_id)
    if image is None:
        return
    if job.state == "cancelled":
        forget_tags(session, "image", [image.id])
        session.delete(image)
    else:
        image.status, image.message = "CreateFailed", job.message


STEPS = (
    Step("import", _import, _discard),
    Step("publish", _publish),
    Step("remove uploads", _remove_objects),
)
IMPORT = register(Kind("image.import", STEPS, failed=_failed, cancellable_until=0, task="ImportImage"))
