"""Public images (SPEC M1): the catalogue's recipes, and having their images built or downloaded."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from agent.core.errors import ApiError, NotFound
from agent.core.ids import random_word
from agent.core.specs import Recipe
from agent.jobs import journal
from agent.jobs.kinds.image_catalogue import BUILD, PULL
from agent.services import space
from agent.services.context import Caller
from agent.services.image import AVAILABLE, CREATING
from agent.store.schema import Image, Job


class WrongWay(ApiError):
    """A recipe to build was to be downloaded, or the other way round."""

    code, status = "OperationDenied.WrongRecipe", 403


@dataclass(frozen=True)
class Entry:
    """A recipe, and the image made of it; None: not on this host (yet)."""

    recipe: Recipe
    image: Image | None

    @property
    def available(self) -> bool:
        return self.image is not None and self.image.status == AVAILABLE and self.image.system is not None


def catalogue(caller: Caller) -> list[Entry]:
    """Every recipe, ordered by id."""
    public = select(Image).where(Image.account_id.is_(None)).options(selectinload(Image.disks))
    images = {image.id: image for image in caller.session.scalars(public)}
    recipes = caller.services.builder.recipes()
    return [Entry(recipe, images.get(image_id)) for image_id, recipe in sorted(recipes.items())]


def build_image(caller: Caller, image_id: str, *, force: bool = False) -> Job | None:
    """Have a public image built: the job, the one that is at it already, or None if it is built and not `force`.

    A rebuild keeps the old file usable until the new one is there.
    """
    recipe = _recipe(caller, image_id)
    if recipe.download:
        raise WrongWay(f'The image "{image_id}" is not built but downloaded: use PullImage.')
    return _make(caller, recipe, force=force)


def pull_image(caller: Caller, image_id: str, *, force: bool = False) -> Job | None:
    """The same for an image that its distribution makes."""
    recipe = _recipe(caller, image_id)
    if not recipe.download:
        raise WrongWay(f'The image "{image_id}" is not downloaded but built here: use BuildImage.')
    return _make(caller, recipe, force=force)


def refresh_image(caller: Caller, image_id: str) -> Job:
    """Have it built or downloaded anew if there is something newer to make it of; also if it is not here yet."""
    job = _make(caller, _recipe(caller, image_id), force=True, refresh=True)
    assert job is not None  # as it is forced
    return job


def _recipe(caller: Caller, image_id: str) -> Recipe:
    recipe = caller.services.builder.recipes().get(image_id)
    if recipe is None:
        raise NotFound("InvalidImageId.NotFound", "ImageId", image_id)
    return recipe


def _make(caller: Caller, recipe: Recipe, *, force: bool, refresh: bool = False) -> Job | None:
    image_id, kind = recipe.image_id, PULL if recipe.download else BUILD
    running = caller.session.scalar(
        select(Job)
        .where(Job.kind.in_((BUILD, PULL)), Job.resource_id == image_id, Job.state.in_(journal.UNFINISHED))
        .limit(1)
    )
    if running is not None:
        return running
    image = caller.session.get(Image, image_id)
    if image is not None and image.status == AVAILABLE and image.system and not force:
        return None
    space.check(caller, 0, f"{'download' if recipe.download else 'build'} an image")  # nobody knows what it will need
    image = _from_recipe(caller, recipe, image)
    if image.system is None:
        image.status, image.message = CREATING, ""
    caller.session.flush()
    return journal.enqueue(
        caller.session,
        kind,
        image_id,
        caller.services.clock.now(),
        account_id=caller.account_id,
        request_id=caller.request_id,
        data={
            "image_id": image_id,
            "file": f"{image_id}-{random_word(8)}",
            "pull": kind == PULL,
            "refresh": refresh,
        },
    )


def _from_recipe(caller: Caller, recipe: Recipe, image: Image | None) -> Image:
    """The row of a public image, made or brought up to date."""
    if image is None:
        image = Image(id=recipe.image_id, account_id=None, status=CREATING, size_gib=recipe.size_gib)
        image.created_at, image.origin = caller.services.clock.now(), "catalogue"
        caller.session.add(image)
    image.name, image.description = recipe.image_id, recipe.description
    image.os_type, image.os_name = recipe.os_type, recipe.os_name
    image.platform, image.architecture = recipe.platform, recipe.architecture
    image.version, image.default_user = recipe.version, recipe.default_user
    image.virtio, image.setup = recipe.virtio, recipe.setup
    return image
