"""ISOs in the drives of instances: what makes them boot from one, and giving it up."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.errors import ApiError
from agent.store.schema import Image, ImageDisk, Instance
from tests.support.agent import HOST
from tests.support.cloud import START, Cloud
from tests.support.stored_disks import change

INSTALLER = "m-installer"
FILE = "m-installer-1"


@pytest.fixture
def lab(cloud: Cloud) -> Cloud:
    """With an image whose instances are installed from its ISO."""
    cloud.add_image()
    cloud.default_vswitch()
    with cloud.store.write() as session:
        session.add(
            Image(
                id=INSTALLER,
                account_id=cloud.account_id,
                name="installer",
                status="Available",
                origin="import",
                os_type="linux",
                os_name="Others Linux",
                platform="Others Linux",
                architecture="x86_64",
                size_gib=20,
                setup="none",
                created_at=START,
                disks=[ImageDisk(device="/dev/xvda", kind="system", size_gib=20, file=FILE, format="iso")],
            )
        )
    return cloud


def create(cloud: Cloud, image_id: str) -> Instance:
    made = cloud.call("CreateInstance", {"ImageId": image_id, "InstanceType": "ecs.t1.small"})["InstanceId"]
    change(cloud, Instance, made, status="Stopped")
    return row(cloud, made)


def row(cloud: Cloud, instance_id: str) -> Instance:
    with cloud.store.read() as session:
        found = session.get_one(Instance, instance_id)
        assert found.disks
        assert found.disks[0].layer
        return found


def refused(cloud: Cloud, action: str, **params: Any) -> str:
    with pytest.raises(ApiError) as error:
        cloud.call(action, params, version=HOST)
    return error.value.code


def test_an_instance_of_an_iso_has_an_empty_disk_and_the_iso(lab: Cloud) -> None:
    made = create(lab, INSTALLER)
    assert (made.iso_file, made.setup, made.disks[0].layer.image_file) == (FILE, "none", None)


def test_an_iso_goes_in_and_out_of_a_stopped_instance(lab: Cloud) -> None:
    made = create(lab, "tiny_x64")
    assert made.iso_file is None
    assert refused(lab, "InsertIso", InstanceId=made.id, ImageId="tiny_x64") == "InvalidImageType.NotSupported"
    assert refused(lab, "EjectIso", InstanceId=made.id) == "InvalidOperation.NoIso"
    lab.call("InsertIso", {"InstanceId": made.id, "ImageId": INSTALLER}, version=HOST)
    assert (row(lab, made.id).iso_file, row(lab, made.id).setup) == (FILE, "seed")
    assert lab.jobs("image.drop_files") == []
    lab.call("EjectIso", {"InstanceId": made.id, "Setup": "none"}, version=HOST)
    assert (row(lab, made.id).iso_file, row(lab, made.id).setup) == (None, "none")
    [job] = lab.jobs("image.drop_files")
    assert job.resource_id == FILE
    change(lab, Instance, made.id, status="Running")
    assert refused(lab, "InsertIso", InstanceId=made.id, ImageId=INSTALLER) == "IncorrectInstanceStatus"


def test_only_own_instances_and_images(lab: Cloud) -> None:
    made, other = create(lab, INSTALLER), lab.add_account()
    for action, params in (("EjectIso", {}), ("InsertIso", {"ImageId": INSTALLER})):
        with pytest.raises(ApiError) as error:
            lab.call(action, {"InstanceId": made.id, **params}, version=HOST, account_id=other)
        assert error.value.code == "InvalidInstanceId.NotFound"
