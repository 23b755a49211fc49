"""Files of buckets: nothing outside is read, written or listed, whatever lies in a bucket's directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.core.errors import DriverError, NoSuchObject, WrongContent
from agent.drivers.objects import beneath
from agent.drivers.objects.local import LocalBuckets
from agent.drivers.objects.uploads import PartialFiles


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A bucket with one object, and with everything that is none."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    bucket = tmp_path / "bucket"
    (bucket / "dir").mkdir(parents=True)
    (bucket / "dir/object").write_text("content")
    (bucket / "link").symlink_to(outside / "secret")
    (bucket / "up").symlink_to(outside)
    (bucket / "self").symlink_to("self")
    (bucket / ".tmp-unfinished").write_text("half")
    os.mkfifo(bucket / "pipe")
    return bucket


def test_only_regular_files_are_objects(root: Path) -> None:
    assert [(found.key, found.size) for found in beneath.walk(root)] == [("dir/object", 7)]
    assert [found.key for found in beneath.walk(root, "dir/o")] == ["dir/object"]
    assert list(beneath.walk(root, "dir/x")) == []
    descriptor = beneath.open_file(root, "dir/object")
    assert os.read(descriptor, 100) == b"content"
    os.close(descriptor)
    for key in (
        "link",
        "up/secret",
        "self",
        "pipe",
        "dir",
        "gone",
        "dir/object/x",
        "../outside/secret",
        "",
        "/etc/passwd",
    ):
        with pytest.raises(NoSuchObject):
            beneath.open_file(root, key)


def test_nothing_is_written_or_removed_outside(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("new")
    with pytest.raises(DriverError):
        beneath.put(root, "up/secret", source)
    beneath.remove(root, "up/secret")
    assert (tmp_path / "outside/secret").read_text() == "secret"
    beneath.put(root, "link", source)  # the link itself is replaced
    assert (tmp_path / "outside/secret").read_text() == "secret"
    assert (root / "link").read_text() == "new"
    beneath.put(root, "some/new/place", source)
    beneath.put(root, "some/new/place", source)
    assert sorted(path.name for path in root.rglob("*") if path.name.startswith(".tmp-")) == [".tmp-unfinished"]
    beneath.remove(root, "some/new/place")
    assert not (root / "some").exists(), "empty directories are no objects"


def test_a_bucket_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    buckets = LocalBuckets(tmp_path / "buckets")
    assert list(buckets.find("gone")) == []
    with pytest.raises(NoSuchObject):
        buckets.open("gone", "x")
    buckets.remove("gone", "x")
    buckets.drop("gone")
    buckets.make("there")
    (tmp_path / "buckets/there/x").write_text("x")
    with pytest.raises(DriverError, match="not empty"):
        buckets.drop("there")


def test_pieces_make_a_whole(tmp_path: Path) -> None:
    files = PartialFiles(tmp_path / "uploads")
    files.begin("upload-1")
    assert files.append("upload-1", 0, b"first ") == 6
    files.begin("upload-1")
    assert files.append("upload-1", 6, b"second") == 12
    with pytest.raises(WrongContent):
        files.finish("upload-1", "0" * 64)
    assert (files.offset("upload-1"), files.is_whole("upload-1")) == (0, False)
    files.append("upload-1", 0, b"again")
    files.finish("upload-1", "")
    files.finish("upload-1", "")
    assert files.whole("upload-1").read_bytes() == b"again"
    assert files.list() == {"upload-1"}
    files.remove("upload-1")
    assert files.list() == set()
