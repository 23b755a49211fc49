"""Images (SPEC M1): public ones come from the recipes of the catalogue and are built on this host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, or_, select

from agent.core.errors import ApiError, NotFound
from agent.core.ids import random_word
from agent.core.specs import Recipe
from agent.jobs import journal
from agent.services import space, tag
from agent.services.context import Caller
from agent.services.matching import like
from agent.store.schema import Image, ImageDisk, Job

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
    if image is None and image_id in caller.services.builder.recipes():
        raise ImageNotReady(
            f'The image "{image_id}" is in the catalogue but not built on this host: build it first (BuildImage).',
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


def catalogue(caller: Caller) -> list[tuple[Recipe, bool]]:
    """Every recipe, and whether its image can be used on this host, ordered by id."""
    usable = set(
        caller.session.scalars(
            select(Image.id).where(Image.account_id.is_(None), Image.status == AVAILABLE, Image.disks.any())
        )
    )
    return [(recipe, image_id in usable) for image_id, recipe in sorted(caller.services.builder.recipes().items())]


def build_image(caller: Caller, image_id: str, *, force: bool = False) -> Job | None:
    """Have a public image built: the job, the one that is at it already, or None if it is built and not `force`.

    A rebuild keeps the old file usable until the new one is there.
    """
    recipe = caller.services.builder.recipes().get(image_id)
    if recipe is None:
        raise NotFound("InvalidImageId.NotFound", "ImageId", image_id)
    running = caller.session.scalar(
        select(Job)
        .where(Job.kind == "image.build", Job.resource_id == image_id, Job.state.in_(journal.UNFINISHED))
        .limit(1)
    )
    if running is not None:
        return running
    image = caller.session.get(Image, image_id)
    if image is not None and image.status == AVAILABLE and image.system and not force:
        return None
    space.check(caller, 0, "build an image")  # nobody knows before what it will need
    now = caller.services.clock.now()
    image = _from_recipe(caller, recipe, image)
    if image.system is None:
        image.status = CREATING
    caller.session.flush()
    file = f"{image_id}-{random_word(8)}"
    return journal.enqueue(
        caller.session,
        "image.build",
        image_id,
        now,
        account_id=caller.account_id,
        request_id=caller.request_id,
        data={"image_id": image_id, "file": file},
    )


def _from_recipe(caller: Caller, recipe: Recipe, image: Image | None) -> Image:
    """The row of a public image, made or brought up to date."""
    if image is None:
        image = Image(id=recipe.image_id, account_id=None, status=CREATING, size_gib=recipe.size_gib)
        image.created_at = caller.services.clock.now()
        caller.session.add(image)
    image.name, image.description = recipe.image_id, recipe.description
    image.os_type, image.os_name = recipe.os_type, recipe.os_name
    image.platform, image.architecture = recipe.platform, recipe.architecture
    image.virtio = recipe.virtio
    return image
