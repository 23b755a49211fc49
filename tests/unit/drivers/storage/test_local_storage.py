"""Disks and images as files: whole or not there, and open to QEMU alone."""

import json
import subprocess
from pathlib import Path

import pytest

from agent.core.errors import DriverError
from agent.drivers import durable, qemu_user
from agent.drivers.storage.local import LocalStorage
from tests.support.disk_io import qemu_io
from tests.support.small_disk import fill, small_disk, small_disk_for_guests

DISK = "d-bp1000000000000000aa"
GIB = 1 << 30
USER = qemu_user.lookup()


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "data")


def make_image(path: Path, gib: int = 1, *options: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, f"{gib}G"], check=True)
    return path


def header(path: Path) -> dict:
    answer = subprocess.run(
        ["qemu-img", "info", "-U", "--output=json", path], check=True, capture_output=True, text=True
    )
    return json.loads(answer.stdout)


def test_an_empty_disk(storage: LocalStorage) -> None:
    path = storage.create_layer(DISK, 20, None)
    assert path == storage.layer_path(DISK)
    found = header(path)
    assert found["format"] == "qcow2"
    assert found["virtual-size"] == 20 * GIB == storage.virtual_size_bytes(path)
    assert found["cluster-size"] == 128 << 10
    assert found["format-specific"]["data"]["extended-l2"] is True
    assert "backing-filename" not in found
    assert storage.list_layers() == {DISK}


def test_an_overlay_on_an_image(storage: LocalStorage, tmp_path: Path) -> None:
    image = storage.install_image("debian_12_x64", make_image(tmp_path / "built.qcow2", 2))
    path = storage.create_layer(DISK, 40, image)
    found = header(path)
    assert found["virtual-size"] == 40 * GIB
    assert found["backing-filename"] == str(image)
    assert found["backing-filename-format"] == "qcow2"
    assert path.stat().st_blocks * 512 < 1 << 20


def test_again_is_the_same(storage: LocalStorage) -> None:
    path = storage.create_layer(DISK, 20, None)
    before = path.stat()
    assert storage.create_layer(DISK, 20, None) == path
    assert path.stat().st_ino == before.st_ino
    storage.delete_layer(DISK)
    storage.delete_layer(DISK)
    assert storage.list_layers() == set()


def test_owners_and_modes(storage: LocalStorage, tmp_path: Path) -> None:
    image = storage.install_image("tiny_x64", make_image(tmp_path / "built.qcow2"))
    disk = storage.create_layer(DISK, 20, image)
    assert owner(disk) == (USER.uid, USER.gid, 0o600)
    assert owner(image) == (0, USER.own_gid, 0o440)
    for directory in (disk.parent, image.parent):
        assert owner(directory) == (0, USER.own_gid, 0o750)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o711


def owner(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid, status.st_mode & 0o777


def test_smaller_than_the_image(storage: LocalStorage, tmp_path: Path) -> None:
    image = storage.install_image("big", make_image(tmp_path / "built.qcow2", 3))
    with pytest.raises(DriverError, match=rf"cannot create disk {DISK}: 2 GiB is less than the 3 GiB of {image}"):
        storage.create_layer(DISK, 2, image)
    assert storage.list_layers() == set()


def test_a_missing_base(storage: LocalStorage, tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"none\.qcow2.*No such file"):
        storage.create_layer(DISK, 2, tmp_path / "none.qcow2")


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 128) as root:
        storage = LocalStorage(root / "data")
        with pytest.raises(DriverError, match=rf"cannot create disk {DISK}.*No space left on device"):
            storage.create_layer(DISK, 20, None)
        assert list(storage.layer_path(DISK).parent.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-x", ".tmp-1", "a\n", "a b"])
def test_names_that_are_no_file_names(storage: LocalStorage, name: str) -> None:
    with pytest.raises(DriverError, match="cannot be a file name"):
        storage.create_layer(name, 1, None)
    with pytest.raises(DriverError, match="cannot be a file name"):
        storage.image_path(name)


def test_sweep_removes_what_was_interrupted(storage: LocalStorage) -> None:
    disk = storage.create_layer(DISK, 1, None)
    disk.rename(durable.temporary_path(disk))
    assert storage.list_layers() == set()
    assert len(storage.sweep()) == 1
    assert storage.sweep() == []


def test_install_an_image(storage: LocalStorage, tmp_path: Path) -> None:
    source = make_image(tmp_path / "built.qcow2")
    image = storage.install_image("tiny_x64", source)
    assert image == storage.image_path("tiny_x64")
    assert not source.exists()
    assert storage.install_image("tiny_x64", source) == image
    assert storage.list_images() == {"tiny_x64"}
    storage.delete_image("tiny_x64")
    storage.delete_image("tiny_x64")
    assert storage.list_images() == set()


def test_install_from_another_file_system(storage: LocalStorage, tmp_path: Path) -> None:
    with small_disk(tmp_path / "elsewhere", 4096) as elsewhere:
        source = make_image(elsewhere / "built.qcow2")
        content = source.read_bytes()
        image = storage.install_image("tiny_x64", source)
        assert image.read_bytes() == content
        assert not source.exists()


def test_an_image_is_never_replaced(storage: LocalStorage, tmp_path: Path) -> None:
    image = storage.install_image("tiny_x64", make_image(tmp_path / "built.qcow2"))
    same = tmp_path / "same.qcow2"
    same.write_bytes(image.read_bytes())
    storage.install_image("tiny_x64", same)
    assert not same.exists()
    with pytest.raises(DriverError, match="image tiny_x64 exists with other content"):
        storage.install_image("tiny_x64", make_image(tmp_path / "other.qcow2", 2))
    assert storage.virtual_size_bytes(image) == GIB


def test_an_image_that_leads_elsewhere(storage: LocalStorage, tmp_path: Path) -> None:
    base = make_image(tmp_path / "base.qcow2")
    overlay = make_image(tmp_path / "overlay.qcow2", 1, "-F", "qcow2", "-b", str(base))
    with_data = make_image(tmp_path / "with_data.qcow2", 1, "-o", f"data_file={tmp_path}/payload")
    for source in (overlay, with_data):
        with pytest.raises(DriverError, match="refers to another file"):
            storage.install_image("bad", source)
    assert storage.list_images() == set()


def test_an_image_that_is_none(storage: LocalStorage, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no image")
    with pytest.raises(DriverError, match=r"cannot install image bad: .*not in qcow2 format"):
        storage.install_image("bad", tmp_path / "text")
    with pytest.raises(DriverError, match=r"cannot install image bad: .*No such file"):
        storage.install_image("bad", tmp_path / "none")


def test_capacity(storage: LocalStorage) -> None:
    total, available = storage.capacity_bytes()
    assert 0 < available <= total


def test_a_merge_that_finds_the_disk_full_loses_nothing_and_can_be_done_again(tmp_path: Path) -> None:
    mib = 1 << 20
    with small_disk_for_guests(tmp_path / "small", 64) as disk:
        disk.chmod(0o711)
        storage = LocalStorage(disk / "data")
        below = storage.create_layer("below", 1, None)
        qemu_io(below, [f"write -P 1 0 {4 * mib}"])
        above = storage.create_layer("above", 1, below)
        qemu_io(above, [f"write -P 2 {2 * mib} {16 * mib}"])
        content = [f"read -P 1 0 {2 * mib}", f"read -P 2 {2 * mib} {16 * mib}"]
        filler = fill(disk, 6 * mib)
        with pytest.raises(DriverError, match=r"\Acannot merge above into below: .*No space left"):
            storage.merge_layer("above", "below", lambda: False)
        qemu_io(above, content, "-r")
        filler.unlink()
        assert storage.merge_layer("above", "below", lambda: False)
        for path in (above, below):
            qemu_io(path, content, "-r")
            subprocess.run(["qemu-img", "check", "-q", path], check=True)
