"""Images (SPEC M1): public ones come from the recipes of the catalogue and are built on this host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, or_, select

from agent.core.errors import ApiError, NotFound
from agent.services import tag
from agent.services.context import Caller
from agent.services.matching import like
from agent.store.schema import Image, ImageDisk

AVAILABLE = "Available"
CREATING = "Creating"
STATUSES = (CREATING, "Waiting", AVAILABLE, "UnAvailable", "CreateFailed", "Deprecated")


class ImageNotReady(ApiError):
    """The image exists, but no instance can be made from it now."""

    code, status = "IncorrectImageStatus", 403


@dataclass(frozen=True)
class ImageFilter:
    """What DescribeImages may narrow by; None: do not. `owner`: system, self, others or marketplace."""

    ids: Sequence[str] = ()
    name: str | None = None
    owner: str | None = None
    statuses: Sequence[str] = (AVAILABLE,)
    os_type: str | None = None
    architecture: str | None = None
    tags: Sequence[tag.TagFilter] = ()


def get_image(caller: Caller, image_id: str) -> Image:
    """An image the caller may see: a public one or one of its account. Raises NotFound."""
    image = caller.session.get(Image, image_id)
    if image is None or image.account_id not in (None, caller.account_id):
        raise NotFound("InvalidImageId.NotFound", "ImageId", image_id)
    return image


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
    if image.system is None or image.status != AVAILABLE:
        raise ImageNotReady(f'The image "{image_id}" is {image.status}: it must be {AVAILABLE}.')
    return image


def system_of(image: Image) -> ImageDisk:
    """What its system disks are made of; `get_usable` has found that there is something."""
    assert image.system is not None
    return image.system


def find_images(caller: Caller, wanted: ImageFilter) -> Select[Image]:
    """The images the caller may see, newest first."""
    mine, public = Image.account_id == caller.account_id, Image.account_id.is_(None)
    found = select(Image).where(or_(mine, public))
    if wanted.owner is not None:
        # Nothing is shared between accounts and there is no marketplace.
        found = found.where({"self": mine, "system": public}.get(wanted.owner, Image.id.is_(None)))
    if wanted.ids:
        found = found.where(Image.id.in_(wanted.ids))
    if wanted.name:
        found = found.where(like(Image.name, wanted.name))
    if wanted.statuses:
        found = found.where(Image.status.in_(wanted.statuses))
    if wanted.os_type is not None:
        found = found.where(Image.os_type == wanted.os_type)
    if wanted.architecture is not None:
        found = found.where(Image.architecture == wanted.architecture)
    found = tag.filter_by_tags(found, "image", Image.id, wanted.tags)
    return found.order_by(Image.created_at.desc(), Image.id)
