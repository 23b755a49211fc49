"""Sending objects in pieces and fetching them again, over a real connection."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
from typing import Any

import pytest

from agent.api.edge.registry import HOST
from agent.core.errors import Conflict, InvalidParameter, NoStock, NotFound
from agent.services.upload import LARGEST_PIECE, LIFETIME
from tests.support.cloud import Cloud

PIECE = 1 << 20


def _digest(piece: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(piece).digest()).decode()}:"


def _exchange(
    address: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def _put(
    address: str, path: str, content: bytes, start: int, stop: int, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    piece = content[start:stop]
    named = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}", "Content-Digest": _digest(piece)}
    status, _, body = _exchange(address, "PUT", path, piece, named | (headers or {}))
    return status, json.loads(body)


def _begin(cloud: Cloud, content: bytes, key: str = "a/b.img", **params: Any) -> dict[str, Any]:
    wanted = {"Bucket": "files", "Object": key, "Size": len(content), "Sha256": hashlib.sha256(content).hexdigest()}
    return cloud.call("CreateUpload", wanted | params, version=HOST)


@pytest.fixture
def bucket(cloud: Cloud) -> str:
    return str(cloud.call("CreateBucket", {"Bucket": "files"}, version=HOST)["Bucket"])


def test_an_object_is_sent_in_pieces_and_fetched_again(cloud: Cloud, address: str, bucket: str) -> None:
    content = os.urandom(2 * PIECE + 12345)
    sent = _begin(cloud, content)
    offset = 0
    while offset < len(content):
        status, answer = _put(address, sent["Path"], content, offset, min(offset + PIECE, len(content)))
        assert status == 200
        offset = answer["Offset"]
    assert answer == {"Offset": len(content), "Complete": True}
    assert cloud.call("DescribeObjects", {"Bucket": bucket}, version=HOST)["TotalCount"] == 0, "it is not complete"
    cloud.call("CompleteUpload", {"UploadId": sent["UploadId"]}, version=HOST)
    (found,) = cloud.call("DescribeObjects", {"Bucket": bucket, "Prefix": "a/"}, version=HOST)["Objects"]["Object"]
    assert (found["Object"], found["Size"]) == ("a/b.img", len(content))
    assert cloud.uploads.files.list() == set()
    path = cloud.call("OpenDownload", {"Bucket": bucket, "Object": "a/b.img"}, version=HOST)["Path"]
    status, headers, body = _exchange(address, "GET", path)
    assert (status, body) == (200, content)
    status, headers, body = _exchange(address, "GET", path, headers={"Range": f"bytes={PIECE}-"})
    assert (status, body) == (206, content[PIECE:])
    assert headers["Content-Range"] == f"bytes {PIECE}-{len(content) - 1}/{len(content)}"
    only_this = {"Range": "bytes=5-9", "If-Range": headers["ETag"]}
    assert _exchange(address, "GET", path, headers=only_this)[2] == content[5:10]
    assert _exchange(address, "GET", path, headers=only_this | {"If-Range": '"other"'})[2] == content
    assert _exchange(address, "GET", path, headers={"Range": f"bytes={len(content)}-"})[0] == 416
    assert _exchange(address, "HEAD", path)[1]["Content-Length"] == str(len(content))


def test_what_broke_off_goes_on(cloud: Cloud, address: str, bucket: str) -> None:
    content = os.urandom(3 * PIECE)
    sent = _begin(cloud, content)
    assert _put(address, sent["Path"], content, 0, PIECE)[0] == 200
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.putrequest("PUT", sent["Path"])
    connection.putheader("Content-Range", f"bytes {PIECE}-{2 * PIECE - 1}/{len(content)}")
    connection.putheader("Content-Length", str(PIECE))
    connection.endheaders(content[PIECE : PIECE + 1000])
    connection.close()
    again = _begin(cloud, content)
    assert (again["UploadId"], again["Offset"]) == (sent["UploadId"], PIECE)
    assert cloud.call("DescribeUpload", {"UploadId": sent["UploadId"]}, version=HOST)["Offset"] == PIECE
    status, answer = _put(address, again["Path"], content, 0, PIECE)
    assert (status, answer["Code"], answer["Offset"]) == (409, "InvalidOffset", PIECE), "its answer was lost"
    with pytest.raises(Conflict, match="1048576 of 3145728 bytes"):
        cloud.call("CompleteUpload", {"UploadId": sent["UploadId"]}, version=HOST)
    for start in (PIECE, 2 * PIECE):
        assert _put(address, sent["Path"], content, start, start + PIECE)[0] == 200
    cloud.call("CompleteUpload", {"UploadId": sent["UploadId"]}, version=HOST)


def test_damage_is_noticed(cloud: Cloud, address: str, bucket: str) -> None:
    content = os.urandom(1000)
    sent = _begin(cloud, content)
    status, answer = _put(address, sent["Path"], content, 0, 500, {"Content-Digest": _digest(b"other")})
    assert (status, answer["Code"]) == (422, "BadDigest")
    wrong = _begin(cloud, content, Object="other", Sha256=hashlib.sha256(b"other").hexdigest())
    status, answer = _put(address, wrong["Path"], content, 0, 1000)
    assert (status, answer["Offset"]) == (422, 0)
    assert "send it again from the beginning" in answer["Message"]
    assert cloud.call("DescribeUpload", {"UploadId": wrong["UploadId"]}, version=HOST)["Offset"] == 0


WRONG_PIECES = [
    ({"Content-Range": "bytes 0-999/2000"}, 400),
    ({"Content-Range": "bytes 1000-1999/1000"}, 400),
    ({"Content-Range": "all"}, 400),
    ({"Content-Range": "bytes 0-9/1000"}, 400),
    ({"Content-Digest": "sha-256=nonsense"}, 400),
    ({"Content-Digest": "sha-256=:nonsens:"}, 400),
    ({"Content-Digest": "sha-256=:nonsense:"}, 422),
]


def test_a_piece_that_does_not_fit_is_refused(cloud: Cloud, address: str, bucket: str) -> None:
    content = bytes(1000)
    sent = _begin(cloud, content)
    for headers, status in WRONG_PIECES:
        assert _put(address, sent["Path"], content, 0, 1000, headers)[0] == status, headers
    assert cloud.uploads.files.offset(sent["UploadId"]) == 0


def test_paths_are_only_what_they_were_made_for(cloud: Cloud, address: str, bucket: str) -> None:
    content = bytes(10)
    sent = _begin(cloud, content)
    assert _put(address, sent["Path"][:-8] + "AAAAAAAA", content, 0, 10)[0] == 404
    assert _exchange(address, "GET", sent["Path"].replace("upload", "download"))[0] == 404
    cloud.clock.advance(25 * 3600)
    assert _put(address, sent["Path"], content, 0, 10)[0] == 404
    fresh = cloud.call("DescribeUpload", {"UploadId": sent["UploadId"]}, version=HOST)
    assert _put(address, fresh["Path"], content, 0, 10)[0] == 200
    cloud.call("AbortUpload", {"UploadId": sent["UploadId"]}, version=HOST)
    assert _put(address, fresh["Path"], content, 0, 10)[0] == 404
    assert cloud.uploads.files.list() == set()
    large = _begin(cloud, content, Size=2 * LARGEST_PIECE)
    too_much = {"Content-Range": f"bytes 0-{LARGEST_PIECE}/{2 * LARGEST_PIECE}"}
    assert _put(address, large["Path"], content, 0, 10, too_much)[0] == 413


def test_a_full_disk_takes_no_upload(cloud: Cloud, address: str, bucket: str) -> None:
    content = bytes(PIECE)
    sent = _begin(cloud, content)
    cloud.storage.available = 0
    status, answer = _put(address, sent["Path"], content, 0, PIECE)
    assert (status, answer["Code"]) == (507, "OperationDenied.NoStock")
    with pytest.raises(NoStock):
        _begin(cloud, content, Object="other")


def test_what_nobody_goes_on_with_is_forgotten(cloud: Cloud, bucket: str) -> None:
    old = _begin(cloud, b"old", "old")["UploadId"]
    cloud.clock.advance(LIFETIME.total_seconds() + 1)
    new = _begin(cloud, b"new", "new")["UploadId"]
    cloud.uploads.files.begin("upload-of-nobody")
    assert cloud.uploads.sweep() == sorted([old, "upload-of-nobody"])
    assert cloud.uploads.files.list() == {new}


def test_others_see_nothing_of_an_upload(cloud: Cloud, bucket: str) -> None:
    sent = _begin(cloud, b"mine")
    other = cloud.add_account()
    for action in ("DescribeUpload", "AbortUpload", "CompleteUpload"):
        with pytest.raises(NotFound) as caught:
            cloud.call(action, {"UploadId": sent["UploadId"]}, version=HOST, account_id=other)
        assert caught.value.code == "NoSuchUpload"
    with pytest.raises(NotFound, match="files"):
        cloud.call("CreateUpload", {"Bucket": "files", "Object": "x", "Size": 1}, version=HOST, account_id=other)
    hidden = cloud.call("CreateUpload", {"Object": "x", "Size": 1}, version=HOST, account_id=other)
    assert hidden["Bucket"] == f"ecs-import-{other}"


def test_objects_have_no_names_that_lead_elsewhere(cloud: Cloud, bucket: str) -> None:
    for key in ("../x", "/x", "a//b", ".", "a/./b", ".tmp-x", "a\nb", "x" * 300, "d/" * 33 + "x"):
        with pytest.raises(InvalidParameter) as caught:
            _begin(cloud, b"content", key)
        assert caught.value.code == "InvalidObjectName", key
