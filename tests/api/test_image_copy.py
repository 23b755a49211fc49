"""Copies between regions as far as one agent goes: what is asked for, announced, refused; and how agents talk."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from agent.config import Config, ConfigError, parse
from agent.core.errors import ApiError, BadImage, DriverError
from agent.drivers.image import iso
from agent.drivers.region.peer import Peer, PeerRefused
from agent.jobs import regions
from agent.store.schema import Image, ImageDisk
from tests.support.agent import HOST, flat
from tests.support.cloud import START, Cloud

MINE = "m-aaaaaaaaaaaaaaaaaaaa"
COPY = "m-bbbbbbbbbbbbbbbbbbbb"
THERE = {"endpoint": "https://there.example:8443", "access_key_id": "LTAI1", "secret_file": "/etc/ecs/there"}
COMING: dict[str, Any] = {
    "ImageId": COPY,
    "SourceImageId": MINE,
    "OSType": "linux",
    "OSName": "Debian  12.0 64 bit",
    "Platform": "Debian",
    "Architecture": "x86_64",
    "Virtio": "true",
    "Setup": "seed",
    "DefaultUser": "root",
    "Disk": [{"Device": "/dev/xvda", "Size": 20}, {"Device": "/dev/xvdb", "Size": 5, "Content": "false"}],
}


@pytest.fixture
def lab(make_cloud: Any) -> Cloud:
    """With a custom image of two disks, one of them empty, and a region `there`."""
    cloud: Cloud = make_cloud(regions={"there": THERE})
    disks = [
        ImageDisk(device="/dev/xvda", kind="system", size_gib=20, file=f"{MINE}-1"),
        ImageDisk(device="/dev/xvdb", kind="data", size_gib=5),
    ]
    columns = {"os_type": "linux", "os_name": "Debian", "platform": "Debian", "architecture": "x86_64"}
    with cloud.store.write() as session:
        image = Image(id=MINE, account_id=cloud.account_id, name="mine", status="Available", size_gib=20, **columns)
        image.created_at, image.disks = START, disks
        session.add(image)
    cloud.add_image()
    return cloud


def refused(cloud: Cloud, action: str, version: str = HOST, **params: Any) -> str:
    with pytest.raises(ApiError) as error:
        cloud.call(action, dict(flat(params)), version=version)
    return error.value.code


def test_a_copy_is_a_job_that_knows_everything(lab: Cloud) -> None:
    params = {"ImageId": MINE, "DestinationRegionId": "there", "DestinationImageName": "theirs", "ClientToken": "once"}
    answer = lab.call("CopyImage", params)
    assert lab.call("CopyImage", params)["ImageId"] == answer["ImageId"] != MINE
    [job] = lab.jobs("image.copy")
    assert (job.resource_id, job.lock) == (MINE, answer["ImageId"])
    assert (job.data["region"], job.data["about"]["ImageName"]) == ("there", "theirs")
    assert [(disk["device"], disk["content"]) for disk in job.data["disks"]] == [
        ("/dev/xvda", True),
        ("/dev/xvdb", False),
    ]
    assert "secret" not in str(job.data)


def test_what_cannot_be_copied(lab: Cloud) -> None:
    def copy(**params: Any) -> str:
        return refused(lab, "CopyImage", "2014-05-26", **{"ImageId": MINE, "DestinationRegionId": "there", **params})

    assert copy(DestinationRegionId="local") == "InvalidDestinationRegionId.NotSupported"
    assert copy(DestinationRegionId="nowhere") == "InvalidRegionId.NotFound"
    assert copy(ImageId="m-none") == "InvalidImageId.NotFound"
    assert copy(DestinationImageName="1") == "InvalidImageName.Malformed"
    assert copy(Encrypted="true") == "UnsupportedParameter"
    assert copy(DryRun="true") == "DryRunOperation"
    assert refused(lab, "CancelCopyImage", "2014-05-26", ImageId=MINE) == "IncorrectImageStatus"
    assert lab.jobs("image.copy") == []


def test_an_announced_image_is_there_once_and_can_be_cancelled(lab: Cloud) -> None:
    for _ in range(2):
        assert lab.call("ReceiveImage", dict(flat(COMING)), version=HOST) == {"ImageId": COPY}
    [job] = lab.jobs("image.receive")
    assert [disk["object"] for disk in job.data["disks"]] == [f"copies/{COPY}/dev/xvda"]
    assert [disk["device"] for disk in job.data["empty"]] == ["/dev/xvdb"]
    found = lab.call("DescribeReceivedImage", {"ImageId": COPY}, version=HOST)
    assert (found["Status"], found["Arrived"]) == ("Creating", {"Device": []})
    lab.call("CancelCopyImage", {"ImageId": COPY})
    assert lab.jobs("image.receive")[0].cancelling
    assert refused(lab, "DescribeReceivedImage", ImageId=COPY) == "InvalidImageId.NotFound"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"ImageId": MINE}, "InvalidImageId.Malformed"),
        ({"ImageId": "../x"}, "InvalidImageId.Malformed"),
        ({"ImageName": "mine"}, "InvalidImageName.Duplicated"),
        ({"OSType": "beos"}, "InvalidParameter"),
        ({"Setup": "sudo"}, "InvalidParameter"),
        ({"Platform": "x" * 200}, "InvalidParameter"),
        ({"Disk": [{"Device": "/dev/xvdb", "Size": 5}]}, "InvalidParameter"),
        ({"Disk": [{"Device": "/dev/xvda", "Size": 9999}]}, "InvalidParameter"),
        ({"Disk": [{"Device": "/dev/xvda", "Size": 20}] * 2}, "InvalidDevice.Malformed"),
    ],
)
def test_what_no_region_may_announce(lab: Cloud, changed: dict[str, Any], code: str) -> None:
    assert refused(lab, "ReceiveImage", **COMING | changed) == code
    assert lab.jobs("image.receive") == []


# ------------------------------------------------------------------------------ how agents talk


def test_calls_are_signed(address: str, key: tuple[str, str], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{key[1]}\n")
    peer = Peer("local", ["http://127.0.0.1:9", f"http://{address}"], key[0], secret, None)
    assert peer.call("DescribeRegions", "2014-05-26")["Regions"]["Region"][0]["RegionId"] == "local"
    with pytest.raises(PeerRefused, match=r"InvalidImageId\.NotFound") as missing:
        peer.call("DescribeReceivedImage", ImageId="m-none")
    assert (missing.value.transient, missing.value.status) == (False, 404)
    secret.write_text("another")
    with pytest.raises(PeerRefused, match="SignatureDoesNotMatch") as wrong:
        peer.call("DescribeRegions", "2014-05-26")
    assert "another" not in str(wrong.value)
    with pytest.raises(DriverError, match="cannot reach the region there") as away:
        Peer("there", ["http://127.0.0.1:9"], key[0], secret, None).call("DescribeRegions")
    assert away.value.transient


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"endpoint": "http://there.example"}, "must be https: http is for"),
        ({"endpoint": "ftp://there.example"}, "must be https://HOST"),
        ({"endpoint": []}, "a list of such"),
        ({"secret_file": "there"}, "absolute path"),
        ({"access_key_id": ""}, "must be a text"),
        ({"secret": "s3cret"}, "unknown key 'secret'"),
    ],
)
def test_regions_that_cannot_be_meant(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        regions.regions_of(parse({"regions": {"there": THERE | changed}}, "agent.toml"))


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    config = dataclasses.replace(Config(), regions={"there": {**THERE, "secret_file": str(secret)}})
    with pytest.raises(ConfigError, match="mode 0600"):
        regions.check(config)
    secret.chmod(0o600)
    regions.check(config)
    found = regions.regions_of(config)["there"]
    assert (found.address, found.ca_file) == ("there.example:8443", None)
    with pytest.raises(ConfigError, match="that is this region"):
        regions.check(dataclasses.replace(config, region_id="there"))


def test_what_is_an_iso(tmp_path: Path) -> None:
    def check(content: bytes) -> None:
        path = tmp_path / "x.iso"
        path.write_bytes(content)
        with path.open("rb") as stream:
            iso.check(stream.fileno())

    head = bytearray(2048)
    head[0:6], head[80:84], head[128:130] = b"\x01CD001", (20).to_bytes(4, "little"), (2048).to_bytes(2, "little")
    check(bytes(16 * 2048) + bytes(head) + bytes(3 * 2048))
    with pytest.raises(BadImage, match="it is cut off"):
        check(bytes(16 * 2048) + bytes(head))
    for content in (b"", bytes(40 * 2048)):
        with pytest.raises(BadImage, match="no ISO 9660"):
            check(content)
