"""Exporting images to buckets (SPEC M9)."""

from __future__ import annotations

import re
from typing import Final

from agent.core.errors import Conflict, InvalidParameter
from agent.core.ids import random_word
from agent.jobs import journal
from agent.services import bucket as buckets
from agent.services import image as images
from agent.services import space
from agent.services.context import Caller
from agent.store.schema import Image, ImageDisk, Job, Layer

FORMATS: Final = ("raw", "vhd", "qcow2", "vmdk")  # the first one, unless another is asked for
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,29}\Z")
_NOT_SUPPORTED = "ImageNotSupported"


def begin(caller: Caller, image_id: str, bucket: str, *, prefix: str = "", file_format: str = "") -> Job:
    """The job that writes the object, which is there only when it is whole; its name is PREFIX-, the image's id and
    something that no other has. An empty `bucket` is the caller's hidden one.

    Raises NotFound, InvalidParameter, Conflict, ImageNotReady, NoStock.
    """
    image = _exportable(caller, image_id)
    file_format = (file_format or FORMATS[0]).lower()
    if file_format not in FORMATS:
        why = f"it must be one of {', '.join(FORMATS)}."
        raise InvalidParameter("ImageFormat", file_format, why, code="InvalidImageFormat.Malformed")
    if prefix and not _PREFIX.match(prefix):
        why = "1-30 letters, digits, '-' and '_', first a letter or digit."
        raise InvalidParameter("OSSPrefix", prefix, why, code="InvalidOSSPrefix.Malformed")
    place = (
        buckets.get(caller, bucket, parameter="OSSBucket", code="InvalidOSSBucket.NotFound").name
        if bucket
        else buckets.hidden(caller).name
    )
    space.check(caller, _bytes(caller, images.system_of(image)), "export an image")
    name = f"{image.id}-{random_word(8)}.{file_format}"
    return journal.enqueue(
        caller.session,
        "image.export",
        image.id,
        caller.services.clock.now(),
        account_id=caller.account_id,
        request_id=caller.request_id,
        data={"bucket": place, "object": f"{prefix}-{name}" if prefix else name, "format": file_format},
    )


def _exportable(caller: Caller, image_id: str) -> Image:
    """A custom image of the caller's own with one disk that has content."""
    image = images.get_own(caller, image_id)
    images.get_usable(caller, image_id)
    if image.data:
        raise _refused(image_id, "it has data disks")
    if images.system_of(image).format == "iso":
        raise _refused(image_id, "it is a medium to install from")
    return image


def _refused(image_id: str, why: str) -> Conflict:
    return Conflict(f'The image "{image_id}" cannot be exported: {why}.', code=_NOT_SUPPORTED)


def _bytes(caller: Caller, disk: ImageDisk) -> int:
    """What its files take of the host's disk, which the export takes about as well."""
    storage = caller.services.storage
    if disk.file:
        return storage.image_allocated_bytes(disk.file)
    layer, taken = disk.snapshot.layer if disk.snapshot else None, 0
    while layer is not None:
        taken += storage.allocated_bytes(layer.id)
        taken += storage.image_allocated_bytes(layer.image_file) if layer.image_file else 0
        layer = caller.session.get(Layer, layer.parent_id) if layer.parent_id else None
    return taken
