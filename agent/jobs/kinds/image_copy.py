"""Copying an image to another region (SPEC M5): the sending side. The resource is the image here.

`data`: region, image_id (of the copy there), about (what its image is to be), disks: device, kind, size_gib, format and
whether there is content; then, for those that have some, bytes and sha256 of what is sent. The other side knows the
copy by its id, so that everything may be said twice.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.core.errors import DriverError
from agent.drivers.region.peer import Peer, PeerRefused
from agent.jobs import image_content, regions, reports
from agent.jobs.model import Cancelled, Context, Finish, Kind, NotYet, Step, register
from agent.store.schema import Image

COPY = "image.copy"
PIECE_BYTES = 8 << 20
POLL_SECONDS = 1.0
PATIENCE_SECONDS = 2 * 24 * 3600.0  # a region may be away for a weekend
GIVE_UP_SECONDS = 3600.0  # of telling a region that is away to forget what it has: it does so by itself after a day
_EXPORTED, _SENT = 30, 80  # percent of the whole, at the end of each part
GONE = ("InvalidImageId.NotFound",)


def _peer(context: Context) -> Peer:
    return regions.peer_of(context.config, context.data["region"])


def _staged(context: Context, number: int) -> Path:
    return context.config.staging_dir / f"copy-{context.data['image_id']}-{number}.qcow2"


def _content(context: Context) -> list[tuple[int, dict[str, Any]]]:
    return [(number, disk) for number, disk in enumerate(context.data["disks"]) if disk["content"]]


# ------------------------------------------------------------------------------ steps


def _announce(context: Context) -> None:
    """The image is there from now on, Creating."""
    disks = {
        f"Disk.{number}.{name}": disk[key]
        for number, disk in enumerate(context.data["disks"], 1)
        for name, key in (("Device", "device"), ("Size", "size_gib"), ("Format", "format"), ("Content", "content"))
    }
    _peer(context).call("ReceiveImage", ImageId=context.data["image_id"], **context.data["about"], **disks)


def _export(context: Context) -> None:
    """Each disk flat in a file; what was made before a crash is made again only if it is not whole."""
    found = _content(context)
    for at, (number, disk) in enumerate(found):
        target = _staged(context, number)
        report = _part(context, at, len(found), 0, _EXPORTED, "reading")
        if not target.exists():
            _flatten(context, disk["device"], target, report)
        disk["bytes"] = target.stat().st_size
        disk["sha256"] = _sha256(context, target)


def _flatten(context: Context, device: str, target: Path, report: Callable[[int], None]) -> None:
    with image_content.files(context, context.resource_id, device) as chain:
        try:
            context.drivers.converter.export(chain, target, "qcow2", report=report, cancelled=context.cancelled)
        except InterruptedError:
            raise Cancelled from None


def _sha256(context: Context, path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(PIECE_BYTES):
            if context.cancelled():
                raise Cancelled
            digest.update(piece)
    return digest.hexdigest()


def _send(context: Context) -> None:
    peer, found = _peer(context), _content(context)
    for at, (number, disk) in enumerate(found):
        arrived = _described(context, peer)["Arrived"]["Device"]
        if disk["device"] not in arrived:
            report = _part(context, at, len(found), _EXPORTED, _SENT, "sending")
            if not _staged(context, number).exists():
                raise DriverError(f"what was to be sent of the disk {disk['device']} is gone: copy the image again")
            _send_file(context, peer, _staged(context, number), disk, report)


def _send_file(context: Context, peer: Peer, path: Path, disk: dict[str, Any], report: Callable[[int], None]) -> None:
    """From where the other side has it on. Raises Cancelled, DriverError."""
    name = f"copies/{context.data['image_id']}{disk['device']}"
    begun = peer.call("CreateUpload", Object=name, Size=disk["bytes"], Sha256=disk["sha256"])
    offset = int(begun["Offset"])
    with path.open("rb") as stream:
        while offset < disk["bytes"]:
            if context.cancelled():
                raise Cancelled
            piece = os.pread(stream.fileno(), PIECE_BYTES, offset)
            try:
                offset = peer.put(begun["Path"], piece, offset, disk["bytes"])
            except PeerRefused as error:
                offset = _after(error)
            report(100 * offset // disk["bytes"])
    peer.call("CompleteUpload", UploadId=begun["UploadId"])


def _after(error: PeerRefused) -> int:
    """Where to go on after a piece was not taken. Raises what ends the try: the next one asks for another path."""
    if error.offset is not None and error.status == 409:
        return error.offset
    if error.status in (404, 409, 422):
        raise DriverError(str(error), transient=True) from None
    raise error


def _finish_there(context: Context) -> None:
    """The other side converts what it got; that it is usable there is the end."""
    found = _described(context, _peer(context))
    if found["Status"] == "Creating":
        percent = int(str(found["Progress"]).rstrip("%") or 0)
        text = f"the region {context.data['region']} converts it"
        context.report(_SENT + percent * (99 - _SENT) // 100, text)
        raise NotYet(POLL_SECONDS, text)


def _described(context: Context, peer: Peer) -> dict[str, Any]:
    """The copy as it is there. Raises DriverError when it failed, or somebody took it away."""
    region = context.data["region"]
    try:
        found = peer.call("DescribeReceivedImage", ImageId=context.data["image_id"])
    except PeerRefused as error:
        if error.code in GONE:
            raise DriverError(f"the copy was cancelled, or deleted, in the region {region}") from None
        raise
    if found["Status"] not in ("Creating", "Available"):
        raise DriverError(f"the region {region} could not make the image: {found['Message']}")
    return found


def _part(context: Context, at: int, of: int, start: int, end: int, doing: str) -> Callable[[int], None]:
    """Progress of one disk's part as that of the whole."""
    one = (end - start) / of
    return reports.part(context.report, start + at * one, start + (at + 1) * one, f"{doing} disk {at + 1} of {of}")


# ------------------------------------------------------------------------------ undoing


def _take_back(context: Context) -> None:
    """What is there of the copy goes, unless it is usable by now: then somebody may use it."""
    try:
        _peer(context).call("CancelCopyImage", "2014-05-26", ImageId=context.data["image_id"])
    except PeerRefused as error:
        if error.transient and context.waited() < GIVE_UP_SECONDS:
            raise
    except DriverError:
        if context.waited() < GIVE_UP_SECONDS:
            raise


def _forget_files(context: Context) -> None:
    for number, _ in _content(context):
        _staged(context, number).unlink(missing_ok=True)


def _done(context: Context) -> Finish | None:
    _forget_files(context)
    return None


STEPS = (
    Step("announce", _announce, _take_back),
    Step("export", _export, _forget_files),
    Step("send", _send),
    Step("wait", _finish_there),
    Step("remove files", _done),
)
register(Kind(COPY, STEPS, patience=PATIENCE_SECONDS, cancellable_until=3, task="CopyImage"))


def about(image: Image) -> dict[str, str | bool]:
    """What the other side is told of an image, besides its disks."""
    return {
        "SourceImageId": image.id,
        "OSType": image.os_type,
        "OSName": image.os_name,
        "Platform": image.platform,
        "Architecture": image.architecture,
        "Virtio": image.virtio,
        "Setup": image.setup,
        "DefaultUser": image.default_user,
    }
