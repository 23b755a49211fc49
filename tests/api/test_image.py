"""Public images over the API: the catalogue, building, listing (SPEC M1)."""

from __future__ import annotations

import pytest

from agent.api.edge.registry import HOST
from agent.core.errors import ApiError
from agent.jobs.kinds.image import put_system_file
from agent.services import image
from agent.store.schema import Image, Job
from tests.support.cloud import Cloud


def build(cloud: Cloud, image_id: str = "tiny_x64", **params: object) -> str:
    return cloud.call("BuildImage", {"ImageId": image_id, **params}, version=HOST)["JobId"]


def finish(cloud: Cloud) -> None:
    """As the job does when it is done."""
    with cloud.store.write() as session:
        for job in session.query(Job).filter_by(kind="image.build"):
            job.state = "succeeded"
            made = session.get_one(Image, job.resource_id)
            made.status = "Available"
            put_system_file(session, made, job.data["file"])


def listed(cloud: Cloud, **params: object) -> list[str]:
    return [one["ImageId"] for one in cloud.call("DescribeImages", dict(params))["Images"]["Image"]]


def test_the_catalogue_says_what_can_be_built_and_what_is(cloud: Cloud) -> None:
    def available() -> dict[str, bool]:
        recipes = cloud.call("DescribeCatalogue", version=HOST)["Recipes"]["Recipe"]
        return {one["ImageId"]: one["Available"] for one in recipes}

    assert available() == {"debian_12_x64": False, "distro_1_x64": False, "tiny_x64": False}
    build(cloud)
    assert available()["tiny_x64"] is False
    finish(cloud)
    assert available() == {"debian_12_x64": False, "distro_1_x64": False, "tiny_x64": True}


def test_an_image_is_listed_when_it_is_built(cloud: Cloud) -> None:
    job_id = build(cloud)
    [job] = cloud.jobs("image.build")
    assert (job.id, job.resource_id) == (job_id, "tiny_x64")
    assert job.data["image_id"] == "tiny_x64"
    assert job.data["file"].startswith("tiny_x64-")
    assert cloud.runner.wakes == 1
    assert listed(cloud) == []
    [shown] = cloud.call("DescribeImages", {"Status": "Creating,Available"})["Images"]["Image"]
    assert (shown["Status"], shown["Progress"], shown["Usable"]) == ("Creating", "0%", False)
    finish(cloud)
    [shown] = cloud.call("DescribeImages")["Images"]["Image"]
    assert shown["ImageOwnerAlias"] == "system"
    assert (shown["Progress"], shown["OSType"], shown["Size"], shown["IsPublic"]) == ("100%", "linux", 20, True)


def test_building_twice_is_one_job_and_a_rebuild_keeps_the_old_file_usable(cloud: Cloud) -> None:
    first = build(cloud)
    assert build(cloud) == first
    finish(cloud)
    assert build(cloud) == ""
    again = build(cloud, Force=True)
    assert again not in ("", first)
    assert listed(cloud) == ["tiny_x64"]
    with cloud.caller() as caller:
        old = image.system_of(image.get_usable(caller, "tiny_x64")).file
    files = [job.data["file"] for job in cloud.jobs("image.build")]
    assert old == files[0] != files[1]


def test_an_image_that_is_not_there_cannot_be_used(cloud: Cloud) -> None:
    def code(image_id: str) -> str:
        with pytest.raises(ApiError) as caught, cloud.caller() as caller:
            image.get_usable(caller, image_id)
        return caught.value.code

    assert code("none_x64") == "InvalidImageId.NotFound"
    assert code("tiny_x64") == "InvalidImageId.NotReady"
    build(cloud)
    assert code("tiny_x64") == "IncorrectImageStatus"
    with pytest.raises(ApiError) as unknown:
        build(cloud, "none_x64")
    assert (unknown.value.code, unknown.value.status) == ("InvalidImageId.NotFound", 404)


def test_listing_filters(cloud: Cloud) -> None:
    build(cloud)
    cloud.clock.advance(60)
    build(cloud, "debian_12_x64")
    finish(cloud)
    assert listed(cloud) == ["debian_12_x64", "tiny_x64"]
    assert listed(cloud, ImageOwnerAlias="system", OSType="linux", Architecture="x86_64") == listed(cloud)
    assert listed(cloud, ImageOwnerAlias="self") == []
    assert listed(cloud, ImageOwnerAlias="marketplace") == []
    assert listed(cloud, OSType="windows") == []
    assert listed(cloud, Architecture="i386") == []
    assert listed(cloud, ImageId="tiny_x64,none") == ["tiny_x64"]
    assert listed(cloud, ImageName="deb*") == ["debian_12_x64"]
    assert listed(cloud, PageSize=1, PageNumber=2) == ["tiny_x64"]
    assert listed(cloud, Usage="instance") == []
    assert listed(cloud, Status="CreateFailed") == []
    for wrong, code in (
        ({"Status": "Fine"}, "InvalidStatus.ValueNotSupported"),
        ({"OSType": "beos"}, "InvalidOSType.ValueNotSupported"),
        ({"ImageOwnerAlias": "me"}, "InvalidImageOwnerAlias.ValueNotSupported"),
    ):
        with pytest.raises(ApiError) as caught:
            cloud.call("DescribeImages", dict(wrong))
        assert caught.value.code == code


def test_another_accounts_image_is_not_found(cloud: Cloud) -> None:
    other = cloud.add_account()
    build(cloud)
    finish(cloud)
    with cloud.store.write() as session:
        session.get_one(Image, "tiny_x64").account_id = other
    assert listed(cloud) == []
    with pytest.raises(ApiError) as caught, cloud.caller() as caller:
        image.get_image(caller, "tiny_x64")
    assert caught.value.code == "InvalidImageId.NotFound"
