"""Job that makes an image of an instance (SPEC M3): usable when the snapshots of all its disks are accomplished.
`data`: `check`, to look into it then."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy.orm import Session

from agent.core.errors import DriverError
from agent.jobs.kinds.image_check import begin_check
from agent.jobs.layers import tree
from agent.jobs.model import Context, Finish, Kind, NotYet, Step, register
from agent.store.schema import Image, Job, Snapshot

CREATE = "image.create"
POLL_SECONDS = 0.3


def _wait(context: Context) -> Finish:
    """The snapshots have jobs of their own; also when one failed, the others are waited for: they are to be deleted."""
    with context.store.read() as session:
        snapshots = _snapshots(session.get_one(Image, context.resource_id))
        left = [one for one in snapshots if one.status == "progressing"]
        failed = [one for one in snapshots if one.status == "failed"]
    done = len(snapshots) - len(left)
    if left:
        context.report(100 * done // len(snapshots), f"{done} of {len(snapshots)} snapshots are taken")
        raise NotYet(POLL_SECONDS, f"{done} of {len(snapshots)} snapshots are taken")
    if failed:
        raise DriverError("; ".join(f"the snapshot of the disk {one.disk_id} failed: {one.message}" for one in failed))

    def finish(session: Session) -> None:
        image = session.get_one(Image, context.resource_id)
        image.status = "Available"
        if context.data.get("check"):
            begin_check(session, image, context.clock.now())

    return finish


def _snapshots(image: Image) -> Sequence[Snapshot]:
    return [disk.snapshot for disk in image.disks if disk.snapshot is not None]


def _failed(session: Session, job: Job, now: dt.datetime) -> None:
    """The image stays to say why; nothing else does."""
    image = session.get_one(Image, job.resource_id)
    image.status, image.message = "CreateFailed", job.message
    snapshots = _snapshots(image)
    image.disks.clear()
    session.flush()
    for snapshot in snapshots:
        tree.forget_snapshot(session, snapshot, now)


register(Kind(CREATE, (Step("snapshots", _wait),), failed=_failed))
