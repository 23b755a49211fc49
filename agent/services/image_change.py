"""Changing and deleting images (SPEC M11)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from agent.core import validate
from agent.core.errors import Conflict
from agent.jobs import journal
from agent.jobs.kinds.image_delete import DROP_FILES
from agent.services import image as images
from agent.services import image_make, tag
from agent.services.context import Caller
from agent.store.schema import Image, ImageShare, Instance, Job

# What is refused while a job of this kind works on the image, and as what.
_BUSY = {
    "image.create": ("ImageIsCreating", "is being created"),
    "image.import": ("ImageIsImporting", "is being imported"),
    "image.export": ("ImageIsExporting", "is being exported"),
    "image.copy": ("OperationDenied.ImageCopying", "is being copied"),
}


@dataclass(frozen=True)
class Changes:
    """None: leave it as it is."""

    name: str | None = None
    description: str | None = None
    family: str | None = None
    status: str | None = None  # Available | Deprecated


def modify(caller: Caller, image_id: str, changes: Changes) -> None:
    """Another name, description or family; or no longer the newest of its family (Deprecated), and back."""
    image = images.get_own(caller, image_id)
    if changes.name:
        images.check_new_name(caller, changes.name, image.id)
        image.name = changes.name
    if changes.description is not None:
        image.description = validate.description("Description", changes.description)
    if changes.family is not None:
        image_make.check_texts("", changes.family, "")
        image.family = changes.family
    if changes.status is not None:
        _set_status(caller, image, changes.status)


def _set_status(caller: Caller, image: Image, status: str) -> None:
    """A deprecated image can be used, but is no longer found by its family, nor shared."""
    if status == images.DEPRECATED:
        if image.status != images.AVAILABLE:
            raise _wrong_status(image, images.AVAILABLE, "ImageStatus.NotAvailable")
        _check_unshared(caller, image)
    elif image.status != images.DEPRECATED:
        raise _wrong_status(image, images.DEPRECATED, "ImageStatus.NotDeprecated")
    image.status = status


def _wrong_status(image: Image, wanted: str, code: str) -> Conflict:
    return Conflict(f'The image "{image.id}" is {image.status}: it must be {wanted}.', code=code)


def delete(caller: Caller, image_id: str, *, force: bool = False) -> Job | None:
    """The image is gone; its snapshots stay. `force`: also when instances were made of it, which then can no longer be
    initialised again. The job that is the answer removes its files, if it has any of its own."""
    image = images.get_own(caller, image_id)
    _check_idle(caller, image)
    _check_unshared(caller, image)
    if not force:
        _check_unused(caller, image)
    files = [disk.file for disk in image.disks if disk.file is not None]
    tag.forget(caller.session, "image", [image.id])
    caller.session.delete(image)
    caller.session.flush()
    if not files:
        return None
    return journal.enqueue(
        caller.session,
        DROP_FILES,
        image.id,
        caller.services.clock.now(),
        account_id=caller.account_id,
        request_id=caller.request_id,
        data={"files": files},
    )


def _check_idle(caller: Caller, image: Image) -> None:
    unfinished = select(Job.kind).where(Job.resource_id == image.id, Job.state.in_(journal.UNFINISHED))
    kind = caller.session.scalar(unfinished.order_by(Job.sequence).limit(1))
    if kind is not None:
        code, what = _BUSY.get(kind, ("IncorrectImageStatus", "is being worked on"))
        raise Conflict(f'The image "{image.id}" {what}: wait until that has ended, or cancel it.', code=code)


def _check_unshared(caller: Caller, image: Image) -> None:
    accounts = select(ImageShare.account_id).where(ImageShare.image_id == image.id).order_by(ImageShare.account_id)
    if shared := caller.session.scalars(accounts).all():
        raise Conflict(
            f'The image "{image.id}" is shared with the accounts {", ".join(shared)}: stop sharing it first.',
            code="ImageUseShared",
        )


def _check_unused(caller: Caller, image: Image) -> None:
    """Instances of other accounts, with which the image was shared, count, too; which ones they are is not told."""
    made = select(Instance.id, Instance.account_id).where(Instance.image_id == image.id, ~Instance.releasing)
    found = caller.session.execute(made.order_by(Instance.id)).all()
    if not found:
        return
    own = [instance_id for instance_id, account_id in found if account_id == caller.account_id]
    others = [f"{len(found) - len(own)} of other accounts"] if len(own) < len(found) else []
    raise Conflict(
        f'The image "{image.id}" has been used to create instances ({", ".join(own + others)}), which can be '
        "initialised to it again; with Force it is deleted nevertheless.",
        code="ImageUsingByInstance",
    )
