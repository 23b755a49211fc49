"""Downloading from a real server: what is fetched is what somebody signed, and nothing is fetched twice."""

from __future__ import annotations

import lzma
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.core.errors import DriverError
from agent.core.specs import Download
from agent.drivers.image import distribution as driver
from agent.drivers.image import fetch
from agent.drivers.image.distribution import Downloads
from tests.support.distribution import NAME, Distribution

CONTENT = os.urandom(3 * fetch.PIECE_BYTES + 17)
IMAGE = "distro_1_x64"


@pytest.fixture
def distribution(tmp_path: Path) -> Iterator[Distribution]:
    with Distribution(tmp_path) as server:
        yield server


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    (tmp_path / "staging").mkdir()
    return Downloads(tmp_path / "staging")


def described(table: dict[str, Any]) -> Download:
    """Without the recipe's check that what is not signed comes by https."""
    return Download(**{**table, "fingerprints": tuple(table.get("fingerprints", ()))})


def download(downloads: Downloads, recipe: Download, checksum: str) -> Path:
    return downloads.file(IMAGE, recipe, checksum, lambda percent, text: None, lambda: False)


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "staging").iterdir())


def test_a_list_that_is_signed_by_the_right_key(distribution: Distribution) -> None:
    checksum = distribution.publish(CONTENT)
    fingerprint = distribution.new_key()
    distribution.sign()
    recipe = described(distribution.recipe(fingerprint))
    assert driver.newest(IMAGE, recipe) == checksum
    distribution.files["/SUMS"] += b"\n"
    with pytest.raises(DriverError, match=r"its signature by the key [0-9A-F]+ is wrong"):
        driver.newest(IMAGE, recipe)
    # Somebody else's key, though it is the one that is published.
    other = described(distribution.recipe("F" * 40))
    distribution.publish(CONTENT)
    with pytest.raises(DriverError, match=f"signed by the key {fingerprint}, but must be by F"):
        driver.newest(IMAGE, other)
    distribution.sign(clear=True)
    clear = described(distribution.recipe(fingerprint, clear=True))
    assert driver.newest(IMAGE, clear) == checksum
    # Only what was signed counts, and not what stands beside it.
    evil = f"{'f' * 64} *{NAME}\n".encode()
    distribution.files["/SUMS"] = evil + distribution.files["/SUMS"]
    assert driver.newest(IMAGE, clear) == checksum
    distribution.files["/SUMS"] = evil
    with pytest.raises(DriverError, match="cannot be trusted: it has no signature"):
        driver.newest(IMAGE, clear)


def test_a_download_goes_on_where_it_broke_off(
    distribution: Distribution, downloads: Downloads, tmp_path: Path
) -> None:
    checksum, recipe = distribution.publish(CONTENT), described(distribution.recipe())
    distribution.break_after = fetch.PIECE_BYTES + 5
    with pytest.raises(DriverError, match="broke off") as broken:
        download(downloads, recipe, checksum)
    assert broken.value.transient
    assert len(left(tmp_path)) == 2  # what there is, and of what it is a part
    path = download(downloads, recipe, checksum)
    assert path.read_bytes() == CONTENT
    assert distribution.ranges() == ["", f"bytes={fetch.PIECE_BYTES + 5}-"]
    assert download(downloads, recipe, checksum) == path  # it is there
    assert len(distribution.ranges()) == 2
    downloads.discard("distro_1")
    assert path.exists()  # that is another one's
    downloads.discard(IMAGE)
    assert left(tmp_path) == []


@pytest.mark.parametrize("tags", [True, False])
def test_what_cannot_go_on_begins_anew(
    distribution: Distribution, downloads: Downloads, tmp_path: Path, tags: bool
) -> None:
    """The server has another file than before, or does not name its versions."""
    checksum, recipe = distribution.publish(CONTENT), described(distribution.recipe())
    distribution.tags = tags
    distribution.break_after = 1000
    with pytest.raises(DriverError, match="broke off"):
        download(downloads, recipe, checksum)
    if tags:
        [name] = [name for name in left(tmp_path) if not name.endswith(".json")]
        (tmp_path / "staging" / name).write_bytes(os.urandom(len(CONTENT) + 5))  # more than the server has
    assert download(downloads, recipe, checksum).read_bytes() == CONTENT
    newer = distribution.publish(CONTENT[::-1])
    distribution.break_after = 1000
    with pytest.raises(DriverError, match="broke off"):
        download(downloads, recipe, newer)
    newest = distribution.publish(b"newest" * 1000)
    assert download(downloads, recipe, newest).read_bytes() == b"newest" * 1000
    assert len(left(tmp_path)) == 2  # nothing of the older ones


def test_a_wrong_file_is_removed(distribution: Distribution, downloads: Downloads, tmp_path: Path) -> None:
    checksum, recipe = distribution.publish(CONTENT), described(distribution.recipe())
    distribution.files[f"/{NAME}"] = CONTENT[:-1] + b"!"
    with pytest.raises(DriverError, match="does not have the checksum") as wrong:
        download(downloads, recipe, checksum)
    assert not wrong.value.transient
    assert left(tmp_path) == []


def test_servers_that_do_not_have_it(
    distribution: Distribution, downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = described(distribution.recipe())
    with pytest.raises(DriverError, match=r"/SUMS: the server says 404 Not Found"):
        driver.newest(IMAGE, recipe)
    checksum = distribution.publish(CONTENT)
    with pytest.raises(DriverError, match="has no sha256 of gone"):
        driver.newest(IMAGE, described(distribution.recipe(url=f"{distribution.url}/gone")))
    distribution.files["/SUMS"] = b"x" * (fetch.SMALL_BYTES + 1)
    with pytest.raises(DriverError, match="larger than"):
        driver.newest(IMAGE, recipe)
    nowhere = described(distribution.recipe(checksums="https://127.0.0.1:1/SUMS"))
    with pytest.raises(DriverError, match=r"127\.0\.0\.1 cannot be reached \(Connection refused\).*image import"):
        driver.newest(IMAGE, nowhere)
    monkeypatch.setattr(fetch, "LARGEST_BYTES", 1000)
    with pytest.raises(DriverError, match="are more than the 1000 allowed"):
        download(downloads, recipe, checksum)


def test_a_download_can_be_cancelled(distribution: Distribution, downloads: Downloads, tmp_path: Path) -> None:
    checksum, recipe = distribution.publish(CONTENT), described(distribution.recipe())
    distribution.hold.clear()
    with pytest.raises(InterruptedError):
        downloads.file(IMAGE, recipe, checksum, lambda percent, text: None, lambda: True)
    distribution.hold.set()
    assert len(left(tmp_path)) == 2  # whether to go on with it, somebody else decides


def test_a_full_disk_is_said_in_one_line(
    distribution: Distribution, downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    checksum, recipe = distribution.publish(CONTENT), described(distribution.recipe())
    real = fetch.shutil.disk_usage
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: real(path)._replace(free=1000))
    with pytest.raises(DriverError, match="bytes do not fit on the disk of"):
        download(downloads, recipe, checksum)


def test_packed_images_are_unpacked(distribution: Distribution, downloads: Downloads, tmp_path: Path) -> None:
    table = distribution.recipe(compression="xz")
    checksum = distribution.publish(lzma.compress(CONTENT, preset=0))
    path = download(downloads, described(table), checksum)
    assert path.read_bytes() == CONTENT
    downloads.discard(IMAGE)
    assert left(tmp_path) == []
    for damaged in (lzma.compress(CONTENT, preset=0)[:-100], b"no xz" * 100):
        with pytest.raises(DriverError, match="it is damaged"):
            download(downloads, described(table), distribution.publish(damaged))


def test_https_is_verified_and_not_given_up(
    tmp_path: Path, downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secure").mkdir()
    (tmp_path / "plain").mkdir()
    with Distribution(tmp_path / "secure", tls=True) as server, Distribution(tmp_path / "plain") as plain:
        checksum, recipe = server.publish(CONTENT), described(server.recipe())
        with pytest.raises(DriverError, match="certificate verify failed"):
            driver.newest(IMAGE, recipe)
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        assert driver.newest(IMAGE, recipe) == checksum
        assert download(downloads, recipe, checksum).read_bytes() == CONTENT
        downloads.discard(IMAGE)
        server.redirects[f"/{NAME}"] = f"{server.url}/mirror"
        server.files["/mirror"] = CONTENT
        assert download(downloads, recipe, checksum).read_bytes() == CONTENT
        downloads.discard(IMAGE)
        plain.publish(CONTENT)
        server.redirects[f"/{NAME}"] = f"{plain.url}/{NAME}"
        with pytest.raises(DriverError, match=r"leads on to http://.*, which is not https"):
            download(downloads, recipe, checksum)
