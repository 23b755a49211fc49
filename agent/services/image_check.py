"""Checking what is to become an image, or is one (SPEC M8)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from agent.core.errors import Conflict, InvalidParameter, MissingParameter, NotFound
from agent.jobs import journal
from agent.jobs.journal import UNFINISHED
from agent.jobs.kinds.image_check import CHECK
from agent.services import image as images
from agent.services import image_import, space
from agent.services.context import Caller
from agent.services.image_import import Source
from agent.store.schema import Job


def check(caller: Caller, source: Source, image_id: str, declared: str) -> Job:
    """The job that looks into a file or object, or into an image that the caller may use; its report is in the end in
    its `data`. `declared`: the format that somebody says a file has, or empty."""
    given = bool(source.handle or source.object)
    if given and image_id:
        raise InvalidParameter(
            "ImageId", image_id, "it excludes Source and OSSObject.", code="InvalidParameter.Conflict"
        )
    if not given and not image_id:
        raise MissingParameter("ImageId")
    if given:
        space.check(caller, 0, "check an image")  # a file of a stranger is converted first, as for an import
        located = image_import.located(caller, "", source)
        name = located.get("handle") or f"oss://{located['bucket']}/{located['object']}"
    else:
        _check_image(caller, image_id)
        located, name = {}, image_id
    return journal.enqueue(
        caller.session,
        CHECK,
        name,
        caller.services.clock.now(),
        account_id=caller.account_id,
        request_id=caller.request_id,
        data={"source": located, "declared": image_import.format_of("Format", declared)},
    )


def _check_image(caller: Caller, image_id: str) -> None:
    image = images.get_usable(caller, image_id)
    if images.system_of(image).format == "iso":
        raise Conflict(
            f'The image "{image_id}" is an ISO to install a system from: there is nothing to check yet.',
            code="InvalidOperation.NotSupported",
        )


def latest(caller: Caller, image_ids: Sequence[str]) -> dict[str, Job]:
    """By image, the newest check that the caller's account asked for and that runs or has succeeded."""
    wanted = select(Job).where(
        Job.kind == CHECK,
        Job.resource_id.in_(image_ids),
        Job.account_id == caller.account_id,
        Job.state.in_((*UNFINISHED, "succeeded")),
    )
    return {job.resource_id: job for job in caller.session.scalars(wanted.order_by(Job.sequence))}


def get(caller: Caller, job_id: str) -> Job:
    """A check that the caller asked for. Raises NotFound."""
    job = caller.session.query(Job).filter(Job.id == job_id, Job.kind == CHECK).one_or_none()
    if job is None or job.account_id != caller.account_id:
        raise NotFound("InvalidJobId.NotFound", "JobId", job_id)
    return job
