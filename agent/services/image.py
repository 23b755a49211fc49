"""Images: who sees and may use which (SPEC M1, M6); public ones come from the recipes of the catalogue and are built on
this host."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, exists, or_, select
from sqlalchemy.orm import Session

from agent.core import validate
from agent.core.errors import ApiError, InvalidParameter, NotFound
from agent.core.instance_types import TOO_LARGE_FOR_32_BIT_MIB, InstanceType
from agent.services import tag
from agent.services.context import Caller
from agent.services.matching import like
from agent.store.schema import Image, ImageDisk, ImageShare, Instance

CATALOGUE, SNAPSHOT, INSTANCE = "catalogue", "snapshot", "instance"  # where images come from
AVAILABLE = "Available"
CREATING, CREATE_FAILED, DEPRECATED = "Creating", "CreateFailed", "Deprecated"
USABLE = (AVAILABLE, DEPRECATED)
STATUSES = (CREATING, "Waiting", AVAILABLE, "UnAvailable", CREATE_FAILED, DEPRECATED)


class ImageNotReady(ApiError):
    """The image exists, but no instance can be made from it now."""

    code, status = "IncorrectImageStatus", 403


class NotOwner(ApiError):
    """The caller may use the image, and nothing else: publicly, there is no such image among its own."""

    code, status = "InvalidImageId.NotFound", 404


@dataclass(frozen=True)
class ImageFilter:
    """What DescribeImages may narrow by; None: do not. `owner`: system, self, others or marketplace."""

    ids: Sequence[str] = ()
    name: str | None = None
    family: str | None = None
    owner: str | None = None
    owner_id: str | None = None
    public: bool | None = None
    statuses: Sequence[str] = (AVAILABLE,)
    os_type: str | None = None
    architecture: str | None = None
    usable: bool | None = None
    for_type: InstanceType | None = None  # which instances of the image could have
    for_replacing: bool = False  # the system disk of an instance there is
    seeded: bool | None = None  # cloud-init, or what understands its seed, sets instances up
    snapshot_id: str | None = None  # that is part of the image
    used: bool | None = None  # the caller has an instance of it
    created_from: dt.datetime | None = None
    created_until: dt.datetime | None = None
    tags: Sequence[tag.TagFilter] = ()


def get_image(caller: Caller, image_id: str) -> Image:
    """An image the caller may see: a public one, one of its account, or one shared with it. Raises NotFound."""
    image = caller.session.get(Image, image_id)
    if image is None or not _is_visible(caller, image):
        raise NotFound("InvalidImageId.NotFound", "ImageId", image_id)
    return image


def get_own(caller: Caller, image_id: str) -> Image:
    """An image of the caller's account, the only ones it may change, delete, share, copy or export. Raises NotFound, or
    NotOwner for one that the caller may use only."""
    image = get_image(caller, image_id)
    if image.account_id != caller.account_id:
        whose = "public" if image.account_id is None else "another account's"
        raise NotOwner(f'The image "{image_id}" is {whose}: only its owner may do that.')
    return image


def _is_visible(caller: Caller, image: Image) -> bool:
    if image.account_id in (None, caller.account_id):
        return True
    return caller.session.get(ImageShare, (image.id, caller.account_id)) is not None


def can_use(caller: Caller, image_id: str) -> bool:
    """Whether the caller may still use an image that it has used."""
    image = caller.session.get(Image, image_id)
    return image is not None and _is_visible(caller, image)


def being_made_of(session: Session, instance_id: str) -> str | None:
    """The image that is being made of the instance now (SPEC M3)."""
    found = select(Image.id).where(Image.source_id == instance_id, Image.origin == INSTANCE, Image.status == CREATING)
    return session.scalar(found.limit(1))


def get_usable(caller: Caller, image_id: str) -> Image:
    """An image instances can be made from now: it has a file. Raises NotFound or ImageNotReady."""
    image = caller.session.get(Image, image_id)
    if image is None and (recipe := caller.services.builder.recipes().get(image_id)):
        how = "download it first (PullImage)" if recipe.download else "build it first (BuildImage)"
        raise ImageNotReady(
            f'The image "{image_id}" is in the catalogue but not on this host: {how}.',
            code="InvalidImageId.NotReady",
        )
    image = get_image(caller, image_id)
    if image.system is None or image.status not in USABLE:
        raise ImageNotReady(f'The image "{image_id}" is {image.status}: it must be {AVAILABLE}.')
    return image


def system_of(image: Image) -> ImageDisk:
    """What its system disks are made of; `get_usable` has found that there is something."""
    assert image.system is not None
    return image.system


def find_images(caller: Caller, wanted: ImageFilter) -> Select[Image]:
    """The images the caller may see, newest first."""
    mine, public = Image.account_id == caller.account_id, Image.account_id.is_(None)
    shared = exists().where(ImageShare.image_id == Image.id, ImageShare.account_id == caller.account_id)
    found = select(Image).where(or_(mine, public, shared))
    if wanted.owner is not None:
        # There is no marketplace.
        owners = {"self": mine, "system": public, "others": shared}
        found = found.where(owners.get(wanted.owner, Image.id.is_(None)))
    for condition, yes in (
        (public, wanted.public),
        ((Image.setup == "seed") & (Image.os_type == "linux"), wanted.seeded),
        (Image.id.in_(used_images(caller)), wanted.used),
        (Image.status.in_(USABLE), wanted.usable),
    ):
        if yes is not None:
            found = found.where(condition if yes else ~condition)
    for narrower in _narrower(wanted):
        found = found.where(narrower)
    if wanted.tags:  # which are the owner's
        found = tag.filter_by_tags(found.where(mine), "image", Image.id, wanted.tags)
    return found.order_by(Image.created_at.desc(), Image.id)


def _narrower(wanted: ImageFilter) -> list[ColumnElement[bool]]:
    """What is asked for beyond owner and use."""
    given: list[tuple[object, ColumnElement[bool]]] = [
        (wanted.ids, Image.id.in_(wanted.ids)),
        (wanted.name, like(Image.name, wanted.name or "")),
        (wanted.family, Image.family == wanted.family),
        (wanted.owner_id, Image.account_id == wanted.owner_id),
        (wanted.statuses, Image.status.in_(wanted.statuses)),
        (wanted.os_type, Image.os_type == wanted.os_type),
        (wanted.architecture, Image.architecture == wanted.architecture),
        (wanted.snapshot_id, Image.disks.any(ImageDisk.snapshot_id == wanted.snapshot_id)),
    ]
    if wanted.for_type and wanted.for_type.memory_mib >= TOO_LARGE_FOR_32_BIT_MIB:
        given.append((True, Image.architecture != "i386"))
    if wanted.for_replacing:
        given.append((True, ~Image.disks.any(ImageDisk.kind == "data")))
    times = [Image.created_at >= wanted.created_from] if wanted.created_from else []
    times += [Image.created_at <= wanted.created_until] if wanted.created_until else []
    return [*(condition for value, condition in given if value), *times]


def used_images(caller: Caller) -> Select[str]:
    """The ids of images that the caller has instances of."""
    return select(Instance.image_id).where(Instance.account_id == caller.account_id, ~Instance.releasing)


def family_image(caller: Caller, family: str) -> Image | None:
    """The newest available image of a family."""
    return caller.session.scalar(find_images(caller, ImageFilter(family=family)).limit(1))


def check_new_name(caller: Caller, name: str, image_id: str = "") -> None:
    """Raises InvalidParameter for a name that cannot be one, or that another image of the caller has."""
    validate.name("ImageName", name, code="InvalidImageName.Malformed")
    taken = select(Image.id).where(Image.account_id == caller.account_id, Image.name == name, Image.id != image_id)
    if other := caller.session.scalar(taken.limit(1)):
        why = f"the image {other} has it already."
        raise InvalidParameter("ImageName", name, why, code="InvalidImageName.Duplicated")
