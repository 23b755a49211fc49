"""Making an image of a guest that others ran. `data`: source (kind and names), files (of storage's images, one for
each of its disks). The guest and its disks are only read."""

from __future__ import annotations

import datetime as dt
import string
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.orm import Session

from agent.config import Config
from agent.core.errors import DriverError
from agent.core.foreign import ForeignDisk, ForeignGuest, Source
from agent.drivers.foreign.host import ForeignHost
from agent.jobs.kinds.image import drop_unused_layer
from agent.jobs.model import Cancelled, Context, Finish, Kind, Step, register
from agent.store.schema import Image, ImageDisk, Job

ADOPT = "image.adopt"
_GIB = 2**30


def foreign_host(config: Config) -> ForeignHost:
    return ForeignHost(config.libvirt_uri, f"{config.prefix}-i-", config.import_dirs)


def _staged(context: Context, file: str) -> Path:
    return context.config.staging_dir / f"{file}.qcow2"


def _take(context: Context) -> Finish:
    host, files = foreign_host(context.config), context.data["files"]
    source = Source(context.data["source"]["kind"], tuple(context.data["source"]["names"]))
    guest = _found(host, source, len(files))
    sizes = []
    for number, (disk, file) in enumerate(zip(guest.disks, files, strict=True)):
        if not context.drivers.storage.image_path(file).exists():  # else a former try made it
            _take_disk(context, host, source, disk, file, _part(context, number, len(files), disk))
        sizes.append(-(-context.drivers.storage.virtual_size_bytes(context.drivers.storage.image_path(file)) // _GIB))

    def finish(session: Session) -> None:
        image = session.get_one(Image, context.resource_id)
        image.disks = [
            _image_disk(number, disk, file, size)
            for number, (disk, file, size) in enumerate(zip(guest.disks, files, sizes, strict=True))
        ]
        image.size_gib, image.status = sizes[0], "Available"

    return finish


def _found(host: ForeignHost, source: Source, disks: int) -> ForeignGuest:
    """It may have been started, changed or deleted since it was asked for."""
    guest = host.find(source)
    if guest is None:
        raise DriverError(f"the guest {source.names[0]} is gone")
    if guest.problem:
        raise DriverError(guest.problem)
    if len(guest.disks) != disks:
        raise DriverError(f"the guest {guest.name} has other disks than when it was looked at: try again")
    return guest


def _part(context: Context, number: int, of: int, disk: ForeignDisk) -> Callable[[int], None]:
    def report(percent: int) -> None:
        context.report((100 * number + percent) // of, f"reading {disk.device}")

    return report


def _take_disk(
    context: Context, host: ForeignHost, source: Source, disk: ForeignDisk, file: str, report: Callable[[int], None]
) -> None:
    """Flattened, and converted as if it came from a stranger: nothing is known of who wrote it."""
    converter, target = context.drivers.converter, _staged(context, file)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    files, base = host.chain(source, disk)
    try:
        if len(files) > 1:
            converter.export(files, target, "qcow2", base_format=base, report=report, cancelled=context.cancelled)
        else:
            with host.opened(source, disk.path) as descriptor:
                info = converter.probe(descriptor, disk.format)
                converter.convert(descriptor, info, target, "qcow2", report=report, cancelled=context.cancelled)
    except InterruptedError:
        raise Cancelled from None
    context.drivers.storage.install_image(file, target)


def _image_disk(number: int, disk: ForeignDisk, file: str, size_gib: int) -> ImageDisk:
    return ImageDisk(
        device=f"/dev/xvd{string.ascii_lowercase[number]}",
        kind="data" if number else "system",
        size_gib=size_gib,
        file=file,
        import_format=disk.format.upper(),
    )


def _discard(context: Context) -> None:
    for file in context.data["files"]:
        _staged(context, file).unlink(missing_ok=True)
        drop_unused_layer(context, file)


def _failed(session: Session, job: Job, now: dt.datetime) -> None:
    image = session.get_one(Image, job.resource_id)
    if job.cancelling:
        session.delete(image)
    else:
        image.status, image.message = "CreateFailed", job.message


register(Kind(ADOPT, (Step("take", _take, _discard),), failed=_failed, cancellable_until=0, task="AdoptGuest"))
