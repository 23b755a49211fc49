"""Our own actions for the catalogue that public images are built or downloaded from (SPEC M1)."""

from __future__ import annotations

from typing import Any

from agent.api.caller import caller
from agent.api.edge.call import Call
from agent.api.edge.params import RegionParams
from agent.api.edge.registry import HOST, action
from agent.core.clock import iso_seconds
from agent.core.specs import Download
from agent.services import image_catalogue as service
from agent.store.schema import Job


class ImageParams(RegionParams):
    image_id: str


class MakeImageParams(ImageParams):
    force: bool = False


@action("DescribeCatalogue", version=HOST, params=RegionParams, resource="image/*", access="read")
def describe_catalogue(call: Call, p: RegionParams) -> dict[str, Any]:
    return {"Recipes": {"Recipe": [_shown(entry) for entry in service.catalogue(caller(call))]}}


def _shown(entry: service.Entry) -> dict[str, Any]:
    """`Size`: GiB, of the image that is here, else about. `Source`: what the image that is here is made of."""
    recipe, image = entry.recipe, entry.image if entry.available else None
    return {
        "ImageId": recipe.image_id,
        "Description": recipe.description,
        "Kind": "download" if recipe.download else "build",
        "OSName": recipe.os_name,
        "OSType": recipe.os_type,
        "OSVersion": recipe.version,
        "Platform": recipe.platform,
        "Architecture": recipe.architecture,
        "DefaultUser": recipe.default_user,
        "Size": image.size_gib if image else recipe.size_gib,
        "Available": entry.available,
        "CreationTime": iso_seconds(image.created_at) if image else "",
        "Source": image.source_id if image else "",
        "Verification": _verification(recipe.download),
        **_addresses(recipe.download),
        "Changes": {"Change": list(recipe.changes)},
        "Notes": {"Note": list(recipe.notes)},
    }


def _verification(download: Download | None) -> str:
    if download is None:
        return "built from packages that Debian signed"
    if download.fingerprints:
        return f"{download.algorithm}, in a list signed by {' or '.join(download.fingerprints)}"
    return f"{download.algorithm}, in a list that is not signed: as good as https"


def _addresses(download: Download | None) -> dict[str, str]:
    if download is None:
        return {"Url": "", "ChecksumsUrl": ""}
    return {"Url": download.url, "ChecksumsUrl": download.checksums}


def _begun(call: Call, image_id: str, job: Job | None) -> dict[str, Any]:
    call.after_commit(call.services.runner.wake)
    return {"ImageId": image_id, "JobId": job.id if job else ""}


# Public images are the host's: `ecs:*` is not enough.
@action(
    "BuildImage",
    version=HOST,
    params=MakeImageParams,
    resource="image/{image_id}",
    access="write",
    ram="host:BuildImage",
)
def build_image(call: Call, p: MakeImageParams) -> dict[str, Any]:
    """JobId is empty when the image is built already."""
    return _begun(call, p.image_id, service.build_image(caller(call), p.image_id, force=p.force))


@action(
    "PullImage",
    version=HOST,
    params=MakeImageParams,
    resource="image/{image_id}",
    access="write",
    ram="host:PullImage",
)
def pull_image(call: Call, p: MakeImageParams) -> dict[str, Any]:
    """JobId is empty when the image is there already."""
    return _begun(call, p.image_id, service.pull_image(caller(call), p.image_id, force=p.force))


@action(
    "RefreshImage",
    version=HOST,
    params=ImageParams,
    resource="image/{image_id}",
    access="write",
    ram="host:RefreshImage",
)
def refresh_image(call: Call, p: ImageParams) -> dict[str, Any]:
    """The job ends without a new image when there is nothing newer: CreationTime in DescribeCatalogue stays."""
    return _begun(call, p.image_id, service.refresh_image(caller(call), p.image_id))
