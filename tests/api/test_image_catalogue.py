"""Public images that are downloaded or made anew, over the API (SPEC M1)."""

from __future__ import annotations

from typing import Any

import pytest

from agent.api.edge.registry import HOST
from agent.core.errors import ApiError
from agent.jobs.kinds.image import put_system_file
from agent.services import image
from agent.store.schema import Image, Job
from tests.support.cloud import DOWNLOAD, Cloud

PULLED = "distro_1_x64"


def make(cloud: Cloud, action: str, image_id: str = PULLED, **params: object) -> str:
    return cloud.call(action, {"ImageId": image_id, **params}, version=HOST)["JobId"]


def finish(cloud: Cloud, source: str) -> None:
    """As the jobs do when they are done."""
    with cloud.store.write() as session:
        for job in session.query(Job).filter_by(kind="image.pull"):
            job.state = "succeeded"
            made = session.get_one(Image, job.resource_id)
            made.status, made.source_id = "Available", source
            put_system_file(session, made, job.data["file"])


def recipe(cloud: Cloud, image_id: str = PULLED) -> dict[str, Any]:
    found = cloud.call("DescribeCatalogue", version=HOST)["Recipes"]["Recipe"]
    return {one["ImageId"]: one for one in found}[image_id]


def test_what_a_distribution_makes_is_downloaded(cloud: Cloud) -> None:
    shown = recipe(cloud)
    assert (shown["Kind"], shown["DefaultUser"], shown["Available"]) == ("download", "distro", False)
    assert (shown["Url"], shown["ChecksumsUrl"]) == (DOWNLOAD.url, DOWNLOAD.checksums)
    assert shown["Verification"] == "sha256, in a list that is not signed: as good as https"
    assert (recipe(cloud, "tiny_x64")["Kind"], recipe(cloud, "tiny_x64")["Url"]) == ("build", "")
    with pytest.raises(ApiError, match=r"download it first \(PullImage\)"), cloud.caller() as caller:
        image.get_usable(caller, PULLED)
    job_id = make(cloud, "PullImage")
    [job] = cloud.jobs("image.pull")
    assert (job.id, job.resource_id, job.data["pull"], job.data["refresh"]) == (job_id, PULLED, True, False)
    assert make(cloud, "PullImage") == make(cloud, "RefreshImage") == job_id
    finish(cloud, "sha256:1")
    shown = recipe(cloud)
    assert (shown["Available"], shown["Source"]) == (True, "sha256:1")
    assert shown["CreationTime"]
    assert make(cloud, "PullImage") == ""
    assert make(cloud, "PullImage", Force=True) not in ("", job_id)


def test_refreshing_says_so_to_the_job(cloud: Cloud) -> None:
    make(cloud, "RefreshImage", "tiny_x64")
    [job] = cloud.jobs("image.build")
    assert (job.data["pull"], job.data["refresh"]) == (False, True)


def test_each_recipe_has_one_way(cloud: Cloud) -> None:
    for action, image_id, code in (
        ("BuildImage", PULLED, "OperationDenied.WrongRecipe"),
        ("PullImage", "tiny_x64", "OperationDenied.WrongRecipe"),
        ("PullImage", "none_x64", "InvalidImageId.NotFound"),
        ("RefreshImage", "none_x64", "InvalidImageId.NotFound"),
    ):
        with pytest.raises(ApiError) as caught:
            make(cloud, action, image_id)
        assert caught.value.code == code
