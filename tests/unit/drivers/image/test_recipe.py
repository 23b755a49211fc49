"""What a recipe may say, and reading lists of checksums."""

from __future__ import annotations

from typing import Any

import pytest

from agent.drivers.image.recipe import checksum_in, parse

A, B = "a" * 64, "b" * 64
URL = "https://d.test/x/disk.qcow2"
RECIPE: dict[str, Any] = {
    **{"id": "d_1_x64", "description": "D", "os_name": "D  1", "os_type": "linux", "platform": "D", "version": "1"},
    **{"architecture": "x86_64", "default_user": "d", "size_gib": 2},
}
DOWNLOAD = {"url": URL, "checksums": "https://d.test/SUMS", "algorithm": "sha256"}
SIGNED = DOWNLOAD | {
    "key": "https://d.test/key",
    "fingerprints": ["0123 4567 89ab cdef 0123  4567 89AB CDEF 0123 4567"],
}


def test_a_recipe_to_build_and_one_to_download() -> None:
    built = parse(RECIPE)
    assert (built.download, built.virtio, built.setup, built.version) == (None, True, "seed", "1")
    assert parse(RECIPE | {"os_type": "windows"}).virtio is False
    download = parse(RECIPE | {"download": SIGNED}).download
    assert download is not None
    assert download.fingerprints == ("0123456789ABCDEF0123456789ABCDEF01234567",)
    # What is signed may come from anywhere.
    assert parse(RECIPE | {"download": SIGNED | {"url": "http://mirror.test/disk.qcow2"}}).download


@pytest.mark.parametrize(
    ("download", "why"),
    [
        (DOWNLOAD | {"url": "http://d.test/disk.qcow2"}, "must begin with https://"),
        (DOWNLOAD | {"checksums": "http://d.test/SUMS"}, "must begin with https://"),
        (DOWNLOAD | {"url": "file:///etc/shadow"}, "must begin with https://"),
        (SIGNED | {"url": "file:///etc/shadow"}, "must begin with https:// or http://"),
        (DOWNLOAD | {"algorithm": "md5"}, "algorithm 'md5'"),
        (DOWNLOAD | {"compression": "rar"}, "compression 'rar'"),
        (DOWNLOAD | {"signature": "https://d.test/SUMS.gpg"}, "a signature needs fingerprints"),
        (DOWNLOAD | {"key": "https://d.test/key"}, "key and fingerprints need each other"),
        (SIGNED | {"fingerprints": ["7C7DB87C81"]}, "is no fingerprint"),
    ],
)
def test_a_download_that_could_not_be_trusted(download: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(RECIPE | {"download": download})


@pytest.mark.parametrize(
    "listing",
    [
        f"{A}  disk.qcow2\n{B}  disk.qcow2.zst\n",
        f"{B} *other\n{A.upper()} *disk.qcow2\n",
        f"# disk.qcow2: 5 bytes\nSHA256 (disk.qcow2) = {A}\nSHA256 (other) = {B}\n",
        f"{A}  disk.qcow2\n{A}  disk.qcow2\n",
        f"SHA512 (disk.qcow2) = {B}{B}\nSHA256 (disk.qcow2) = {A}\n",
    ],
)
def test_lists_of_checksums(listing: str) -> None:
    assert checksum_in(listing, URL, "https://d.test/SUMS", "sha256") == A


def test_a_list_of_one_file_may_call_it_otherwise() -> None:
    for listing in (f"{A}  disk-Build7.qcow2\n", f"{A}\n"):
        assert checksum_in(listing, URL, f"{URL}.sha256", "sha256") == A
        with pytest.raises(ValueError, match=r"has no sha256 of disk\.qcow2"):
            checksum_in(listing, URL, "https://d.test/SUMS", "sha256")


def test_lists_that_do_not_tell() -> None:
    for listing, why in (("", "has no"), (f"{A}  disk.qcow2\n{B}  disk.qcow2\n", "has 2"), ("<html>", "has no")):
        with pytest.raises(ValueError, match=why):
            checksum_in(listing, URL, f"{URL}.sha256", "sha256")
