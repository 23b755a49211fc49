"""Copying an image to another region (SPEC M5): the receiving side. What arrives is imported as if from a stranger.

`data`: that of an import; and empty: device and size_gib of disks without content.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.core.errors import DriverError, NoSuchObject
from agent.drivers.objects.uploads import PartialFiles
from agent.jobs.kinds import image_import
from agent.jobs.model import Context, Finish, Kind, NotYet, Step, register
from agent.store.schema import Image, ImageDisk, Job, Upload

RECEIVE = "image.receive"
POLL_SECONDS = 1.0
PATIENCE = dt.timedelta(days=1, hours=1)  # with a sender that sends nothing: its uploads are forgotten after a day
_ARRIVED = 60  # percent of the whole when everything is here

_IMPORT, _PUBLISH, _CLEAN = image_import.STEPS


def _arrive(context: Context) -> None:
    """Wait for the sender, who may be away for a while."""
    missing = [disk for disk in context.data["disks"] if not is_here(context, disk)]
    if not missing:
        return
    with context.store.read() as session:
        uploads = list(session.scalars(select(Upload).where(Upload.object.in_([disk["object"] for disk in missing]))))
        since = session.get_one(Image, context.resource_id).created_at
    heard = max([since, *(upload.touched_at for upload in uploads)])
    if context.clock.now() - heard > PATIENCE:
        raise DriverError("the other region sends nothing any more")
    percent = _percent(context, len(missing), uploads)
    if percent != context.data.get("percent"):
        context.data["percent"] = percent
        context.report(percent, "receiving")
    raise NotYet(POLL_SECONDS, "receiving")


def is_here(context: Context, disk: dict[str, Any]) -> bool:
    """An object is there only when it is whole."""
    try:
        context.drivers.objects.about(disk["bucket"], disk["object"])
    except NoSuchObject:
        return False
    return True


def _percent(context: Context, missing: int, uploads: list[Upload]) -> int:
    """Of the whole; nobody knows how large a disk is that is not being sent yet."""
    files, disks = PartialFiles(context.config.data_dir / "uploads"), len(context.data["disks"])
    part = sum(files.offset(upload.id) / upload.size_bytes for upload in uploads)
    return int(_ARRIVED * (disks - missing + part) / disks)


def _import(context: Context) -> Finish | None:
    def report(percent: int, text: str) -> None:
        context.report(_ARRIVED + percent * (100 - _ARRIVED) // 100, text)

    return _IMPORT.do(replace(context, report=report))


def _publish(context: Context) -> Finish:
    published = _PUBLISH.do(context)

    def finish(session: Session) -> None:
        assert published is not None
        published(session)
        image = session.get_one(Image, context.resource_id)
        for disk in image.disks:  # its owner never knew of these objects
            disk.import_format = disk.import_bucket = disk.import_object = ""
        for disk in context.data["empty"]:
            image.disks.append(ImageDisk(device=disk["device"], kind="data", size_gib=disk["size_gib"]))

    return finish


def _discard(context: Context) -> None:
    """Also what is half here. Nothing is taken for an upload any more once its row is gone."""
    with context.store.write() as session:
        gone = _forget_uploads(session, context.data)
    files = PartialFiles(context.config.data_dir / "uploads")
    for upload_id in gone:
        files.remove(upload_id)
    assert _IMPORT.undo is not None
    _IMPORT.undo(context)


def _forget_uploads(session: Session, data: dict[str, Any]) -> list[str]:
    names = [disk["object"] for disk in data["disks"]]
    found = session.scalars(select(Upload).where(Upload.object.in_(names))).all()
    for upload in found:
        session.delete(upload)
    return [upload.id for upload in found]


def _failed(session: Session, job: Job, now: dt.datetime) -> None:
    _forget_uploads(session, job.data)  # a sender may have begun one more; its file is swept
    image_import.IMPORT.failed(session, job, now)


STEPS = (
    Step("arrive", _arrive, _discard),
    Step(_IMPORT.name, _import, _IMPORT.undo),
    Step(_PUBLISH.name, _publish),
    _CLEAN,
)
register(Kind(RECEIVE, STEPS, failed=_failed, cancellable_until=1, task="CopyImage"))
