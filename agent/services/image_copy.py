"""Copying images between regions (SPEC M5). An agent speaks to another one with an access key that it has there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from agent.core import ids, validate
from agent.core.errors import Conflict, InvalidParameter, NoSuchObject, NotFound
from agent.core.ids import random_word
from agent.jobs import journal
from agent.jobs.kinds.image_copy import COPY, about
from agent.jobs.kinds.image_receive import RECEIVE
from agent.services import bucket as buckets
from agent.services import disk_plan, image_import, other_region, quota, space, tag
from agent.services import image as images
from agent.services.context import Caller
from agent.store.schema import Image, ImageDisk, Job

LONGEST_TEXT = 128


@dataclass(frozen=True)
class Request:
    """What CopyImage asks for. Without a name the copy is called by its id."""

    image_id: str
    region: str
    name: str = ""
    description: str = ""
    tags: Sequence[tag.TagPair] = ()


@dataclass(frozen=True)
class Disk:
    """A disk of an image that is coming. `format`: qcow2 | iso; `content`: something will be sent for it."""

    device: str
    size_gib: int
    format: str = "qcow2"
    content: bool = True


@dataclass(frozen=True)
class Coming:
    """What another region says of an image that it is about to send."""

    image_id: str
    source_id: str
    os_type: str
    os_name: str
    platform: str
    architecture: str
    virtio: bool
    setup: str
    default_user: str
    disks: Sequence[Disk]
    name: str = ""
    description: str = ""
    tags: Sequence[tag.TagPair] = ()


@dataclass(frozen=True)
class Received:
    """An image that is being copied here: its row, percent, and the devices of disks that are here."""

    image: Image
    progress: int
    arrived: list[str]


# ------------------------------------------------------------------------------ the sending side


def copy(caller: Caller, request: Request) -> tuple[str, Job]:
    """The id that the image will have in the other region, and the job that brings it there.

    Raises NotFound, ImageNotReady, Forbidden, InvalidParameter.
    """
    image = images.get_own(caller, request.image_id)
    if image.status not in (images.AVAILABLE, images.DEPRECATED) or image.system is None:
        raise images.ImageNotReady(f'The image "{image.id}" is {image.status}: it must be {images.AVAILABLE}.')
    other_region.check(caller, request.region, "image", "copy")
    if request.name:
        validate.name("DestinationImageName", request.name, code="InvalidImageName.Malformed")
    validate.description("DestinationDescription", request.description)
    tags = {
        f"Tag.{n}.{k}": v for n, pair in enumerate(request.tags, 1) for k, v in zip(("Key", "Value"), pair, strict=True)
    }
    told = {**about(image), "ImageName": request.name or None, "Description": request.description or None, **tags}
    made = ids.new_id("image")
    job = journal.enqueue(
        caller.session,
        COPY,
        image.id,
        caller.services.clock.now(),
        lock=made,  # copies to several regions go on side by side
        account_id=caller.account_id,
        request_id=caller.request_id,
        data={"region": request.region, "image_id": made, "about": told, "disks": [_told(d) for d in _ordered(image)]},
    )
    return made, job


def _ordered(image: Image) -> list[ImageDisk]:
    """The system disk first."""
    return [images.system_of(image), *image.data]


def _told(disk: ImageDisk) -> dict[str, Any]:
    content = disk.file is not None or disk.snapshot_id is not None
    return {"device": disk.device, "size_gib": disk.size_gib, "format": disk.format, "content": content}


# ------------------------------------------------------------------------------ the receiving side


def receive(caller: Caller, coming: Coming) -> Image:
    """The image that is to come, Creating, and the job that waits for it. The same one may be announced again.

    Raises the public error of the first thing that is wrong.
    """
    there = caller.session.get(Image, coming.image_id)
    if there is not None and (there.account_id, there.origin, there.source_id) == (
        caller.account_id,
        "copy",
        coming.source_id,
    ):
        return there
    if there is not None or not ids.is_id("image", coming.image_id):
        raise InvalidParameter(
            "ImageId", coming.image_id, "it must be a new image id.", code="InvalidImageId.Malformed"
        )
    _check(caller, coming)
    space.check(caller, 0, "receive an image")  # each upload is checked with its size
    image = _row(caller, coming)
    disks, bucket = [_job_disk(caller, coming, disk) for disk in coming.disks], buckets.hidden(caller).name
    journal.enqueue(
        caller.session,
        RECEIVE,
        image.id,
        caller.services.clock.now(),
        account_id=caller.account_id,
        request_id=caller.request_id,
        data={
            "disks": [{**disk, "bucket": bucket} for disk in disks if disk["object"]],
            "empty": [disk for disk in disks if not disk["object"]],
        },
    )
    return image


def _check(caller: Caller, coming: Coming) -> None:
    if coming.name:
        images.check_new_name(caller, coming.name)
    validate.description("Description", coming.description)
    if coming.os_type not in (image_import.LINUX, image_import.WINDOWS):
        raise InvalidParameter("OSType", coming.os_type, "it must be linux or windows.")
    if coming.setup not in image_import.SETUPS:
        raise InvalidParameter("Setup", coming.setup, f"it must be one of {', '.join(image_import.SETUPS)}.")
    for name in ("os_name", "platform", "architecture", "default_user", "source_id"):
        text = getattr(coming, name)
        if len(text) > LONGEST_TEXT or not text.isprintable():
            raise InvalidParameter(name, text[:LONGEST_TEXT], f"up to {LONGEST_TEXT} characters.")
    quota.check(caller, "data_disks_per_instance", 0, len(coming.disks) - 1)
    if not coming.disks or not coming.disks[0].content or coming.disks[0].device != image_import.SYSTEM_DEVICE:
        raise InvalidParameter("Disk.1.Device", "", f"the first disk is the system disk, {image_import.SYSTEM_DEVICE}.")
    taken: set[str | None] = {image_import.SYSTEM_DEVICE}
    for number, disk in enumerate(coming.disks[1:], 2):
        taken.add(disk_plan.device(f"Disk.{number}.Device", disk.device, taken))


def _row(caller: Caller, coming: Coming) -> Image:
    image = Image(
        id=coming.image_id,
        account_id=caller.account_id,
        name=coming.name or coming.image_id,
        description=coming.description,
        status=images.CREATING,
        origin="copy",
        source_id=coming.source_id,
        os_type=coming.os_type,
        os_name=coming.os_name,
        platform=coming.platform,
        architecture=coming.architecture,
        size_gib=coming.disks[0].size_gib,
        virtio=coming.virtio,
        setup=coming.setup,
        default_user=coming.default_user,
        created_at=caller.services.clock.now(),
    )
    caller.session.add(image)
    caller.session.flush()
    if coming.tags:
        tag.set_tags(caller, "image", image.id, coming.tags)
    return image


def _job_disk(caller: Caller, coming: Coming, disk: Disk) -> dict[str, Any]:
    """As the job of an import wants it; without object when it is empty."""
    system = disk.device == image_import.SYSTEM_DEVICE
    _, high = image_import.sizes(caller, coming.os_type if system else "")
    if not 1 <= disk.size_gib <= high:
        raise InvalidParameter("Disk.Size", disk.size_gib, f"1-{high} GiB are possible.")
    return {
        "device": disk.device,
        "kind": "system" if system else "data",
        "format": "qcow2",
        "iso": disk.format == "iso",
        "size_gib": disk.size_gib,
        "exact": True,
        "largest_gib": high,
        "file": f"{coming.image_id}-{random_word(8)}",
        "object": f"copies/{coming.image_id}{disk.device}" if disk.content else "",
        "name": f"the disk {disk.device}",
        "after": "remove",
    }


def received(caller: Caller, image_id: str) -> Received:
    """How far a copy came. Raises NotFound, also while it is being taken away."""
    image = images.get_own(caller, image_id)
    job = _job(caller, image)
    if job.cancelling and image.status == images.CREATING:
        raise NotFound("InvalidImageId.NotFound", "ImageId", image_id)
    return Received(image, job.progress, [disk["device"] for disk in job.data["disks"] if _is_here(caller, job, disk)])


def _is_here(caller: Caller, job: Job, disk: dict[str, Any]) -> bool:
    if job.step > 0:
        return True
    try:
        caller.services.objects.about(disk["bucket"], disk["object"])
    except NoSuchObject:
        return False
    return True


def cancel(caller: Caller, image_id: str) -> None:
    """Nothing will be left of a copy. Raises NotFound, Conflict when it cannot be cancelled (any more)."""
    image = images.get_own(caller, image_id)
    if image.status != images.CREATING or not journal.cancel(caller.session, _job(caller, image)):
        raise Conflict(f'The image "{image_id}" is {image.status}, not being copied.', code="IncorrectImageStatus")


def _job(caller: Caller, image: Image) -> Job:
    """Raises Conflict when it is no copy."""
    made = select(Job).where(Job.resource_id == image.id, Job.kind == RECEIVE).order_by(Job.sequence.desc())
    found = caller.session.scalar(made.limit(1))
    if found is None:
        raise Conflict(f'The image "{image.id}" is no copy.', code="IncorrectImageStatus")
    return found
