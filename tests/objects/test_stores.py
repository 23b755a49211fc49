"""Buckets of S3- and OSS-compatible stores, against servers that check the signatures."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agent.core.errors import DriverError, NoSuchObject
from agent.drivers.objects.local import LocalBuckets
from agent.drivers.objects.remote import check_address, remote_stores
from agent.drivers.objects.stores import ObjectStores
from agent.services.stores import ConfiguredStore
from tests.support import oss_server
from tests.support.oss_server import OssServer
from tests.support.ports import free_port
from tests.support.waiting import wait_for

MIB = 1 << 20
BUCKET = "far-away"


@dataclass
class Far:
    """A configured store, and a function that tells whether parts of unfinished objects lie in it."""

    settings: ConfiguredStore
    objects: ObjectStores
    unfinished: Callable[[], int]


def _stores(directory: Path, settings: ConfiguredStore) -> ObjectStores:
    return ObjectStores(LocalBuckets(directory / "buckets"), directory / "staging", remote_stores({BUCKET: settings}))


def _settings(directory: Path, kind: str, endpoint: str, **more: object) -> ConfiguredStore:
    secret = directory / f"{kind}.json"
    secret.write_text(json.dumps({"access_key_id": oss_server.KEY_ID, "access_key_secret": oss_server.SECRET}))
    secret.chmod(0o600)
    made = ConfiguredStore("far", kind, endpoint, (BUCKET,), secret, allow_private=True)
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    """A server process that keeps S3 objects in memory."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        endpoint = f"http://127.0.0.1:{port}"
        import boto3

        client = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
        wait_for("the S3 server", lambda: _makes_bucket(client), 60)
        yield endpoint
    finally:
        process.kill()
        process.wait()


def _makes_bucket(client: object) -> bool:
    from botocore.exceptions import EndpointConnectionError

    try:
        client.create_bucket(Bucket=BUCKET)  # type: ignore[attr-defined]
    except EndpointConnectionError:
        return False
    return True


@pytest.fixture(params=["s3", "oss", "oss version 4"])
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Far]:
    if request.param == "s3":
        settings = _settings(tmp_path, "s3", request.getfixturevalue("s3_endpoint"))
        yield Far(settings, _stores(tmp_path, settings), lambda: 0)
        return
    server = OssServer((BUCKET,))
    region = oss_server.REGION if "4" in request.param else ""
    settings = _settings(tmp_path, "oss", server.endpoint, region=region)
    yield Far(settings, _stores(tmp_path, settings), lambda: len(server.parts))
    assert server.versions <= {"OSS4" if region else "OSS"}
    server.close()


def test_objects_go_there_and_come_back(far: Far, tmp_path: Path) -> None:
    content = os.urandom(33 * MIB + 77)
    source, percents = tmp_path / "source", list[int]()
    source.write_bytes(content)
    far.objects.put(BUCKET, "a dir/ö +&.raw", source, report=percents.append)
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert [(one.key, one.size) for one in far.objects.find(BUCKET, "a dir/")] == [("a dir/ö +&.raw", len(content))]
    with far.objects.opened(BUCKET, "a dir/ö +&.raw") as descriptor:
        assert os.pread(descriptor, len(content) + 1, 0) == content
    assert b"".join(far.objects.read(BUCKET, "a dir/ö +&.raw", 5, MIB + 9)) == content[5 : MIB + 9]
    assert os.listdir(tmp_path / "staging") == []
    far.objects.remove(BUCKET, "a dir/ö +&.raw")
    far.objects.remove(BUCKET, "a dir/ö +&.raw")
    with pytest.raises(NoSuchObject):
        far.objects.about(BUCKET, "a dir/ö +&.raw")


def test_what_is_fetched_leaves_the_reserve_of_the_disks(far: Far, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"content")
    far.objects.put(BUCKET, "disk.raw", tmp_path / "source")
    stores = (LocalBuckets(tmp_path / "b"), tmp_path / "staging", remote_stores({BUCKET: far.settings}))
    with (
        pytest.raises(DriverError, match="no room for the object disk"),
        ObjectStores(*stores, lambda total: total).opened(BUCKET, "disk.raw"),
    ):
        pass
    far.objects.remove(BUCKET, "disk.raw")


def test_what_is_cancelled_leaves_nothing(far: Far, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(40 * MIB))
    with pytest.raises(InterruptedError):
        far.objects.put(BUCKET, "x", source, cancelled=lambda: True)
    assert list(far.objects.find(BUCKET)) == []
    assert far.unfinished() == 0
    far.objects.put(BUCKET, "x", source)
    with pytest.raises(InterruptedError), far.objects.opened(BUCKET, "x", cancelled=lambda: True):
        pytest.fail("it was opened")
    assert os.listdir(tmp_path / "staging") == []
    far.objects.remove(BUCKET, "x")


def test_a_wrong_secret_is_one_line_without_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = OssServer((BUCKET,))
    settings = _settings(tmp_path, "oss", server.endpoint)
    settings.credentials_file.write_text('{"access_key_id": "test-key", "access_key_secret": "some-wrong-secret"}')
    with pytest.raises(DriverError) as caught:
        list(_stores(tmp_path, settings).find(BUCKET))
    server.close()
    assert "SignatureDoesNotMatch" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert "some-wrong-secret" not in str(caught.value) + caplog.text


def test_nothing_is_sent_to_this_host_unless_it_is_meant(far: Far, tmp_path: Path) -> None:
    settings = replace(far.settings, allow_private=False)
    with pytest.raises(DriverError, match=r"127\.0\.0\.1.*allow_private"):
        list(_stores(tmp_path, settings).find(BUCKET))


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.1", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "100.100.100.200", "[fe80::1]"],
)
def test_no_endpoint_is_an_address_of_this_host_or_a_metadata_service(host: str) -> None:
    with pytest.raises(DriverError, match="allow_private"):
        check_address("far", f"http://{host}:1")


def test_an_answer_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    server, other = OssServer((BUCKET,)), OssServer((BUCKET,))
    try:
        server.redirect = f"{other.endpoint}/{BUCKET}/x"
        other.objects[BUCKET, "x"] = b"elsewhere"
        with pytest.raises(DriverError):
            _stores(tmp_path, _settings(tmp_path, "oss", server.endpoint)).about(BUCKET, "x")
        assert other.versions == set()
    finally:
        server.close()
        other.close()


def test_a_store_that_is_away_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(DriverError) as caught:
        _stores(tmp_path, _settings(tmp_path, "oss", f"http://127.0.0.1:{free_port()}")).about(BUCKET, "x")
    assert caught.value.transient
