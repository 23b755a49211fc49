"""Our readers of foreign formats: what is whole is taken, what is damaged or leads elsewhere refused in one line."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from agent.core.errors import BadImage
from agent.core.specs import IMAGE_FORMATS, ImageInfo
from agent.drivers.image.formats import detect
from tests.support.foreign_images import DISK_BYTES, VARIANTS, disk, make, patched, with_vhd_sum

TIB = 1 << 40


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make(tmp_path_factory.mktemp("images"), list(VARIANTS), disk())


def inspect(path: Path, declared: str = "") -> ImageInfo:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return detect.inspect(descriptor, declared)
    finally:
        os.close(descriptor)


def refusal(path: Path, declared: str = "") -> str:
    with pytest.raises(BadImage) as raised:
        inspect(path, declared)
    text = str(raised.value)
    assert "\n" not in text
    assert len(text) < 300
    return text


def test_every_format_is_recognised_and_measured(images: dict[str, Path]) -> None:
    for name, path in images.items():
        wanted = VARIANTS[name][0]
        found = inspect(path)
        assert (found.format, found.virtual_bytes, found.file_bytes) == (wanted, DISK_BYTES, path.stat().st_size), name
        assert inspect(path, wanted) == found
        for other in set(IMAGE_FORMATS) - {wanted}:
            assert wanted in refusal(path, other)
    variants = {name: inspect(images[name]).variant for name in images}
    assert {name: variant for name, variant in variants.items() if variant} == {
        "vmdk": "sparse",
        "vmdk stream": "stream-optimised",
        "vhd dynamic": "dynamic",
        "vhd fixed": "fixed",
    }
    assert "no format 'iso'" in refusal(images["raw"], "iso")


def test_a_file_that_was_cut_off_is_refused(images: dict[str, Path], tmp_path: Path) -> None:
    for name, path in images.items():
        if name == "raw":
            continue  # it is a disk of whatever size it has
        size = path.stat().st_size
        for cut in (size - 140_000, size // 2, 66_000, 1500, 513, 40):
            text = refusal(patched(path, tmp_path / "cut", cut=cut), VARIANTS[name][0])
            assert any(word in text for word in ("incomplete", "damaged", "content is raw")), (name, cut, text)


QCOW2 = [
    ([(8, struct.pack(">QI", 1024, 11)), (1024, b"/etc/passwd")], "backing file"),
    ([(4, struct.pack(">I", 9))], "version 9"),
    ([(20, struct.pack(">I", 40))], "clusters of 2^40"),
    ([(24, struct.pack(">Q", 3 * TIB))], "2 TiB is the limit"),
    ([(24, struct.pack(">Q", 0))], "no size"),
    ([(24, struct.pack(">Q", TIB))], "too small for a disk"),
    ([(32, struct.pack(">I", 2))], "encrypted"),
    ([(36, struct.pack(">I", 0))], "too small for a disk"),
    ([(36, struct.pack(">I", 0xFFFFFFFF))], "larger than any"),
    ([(40, struct.pack(">Q", 1 << 50))], "beyond the end"),
    ([(40, struct.pack(">Q", 100))], "within a cluster"),
    ([(48, struct.pack(">Q", 1 << 50))], "beyond the end"),
    ([(56, struct.pack(">I", 0xFFFF))], "larger than any"),
    ([(60, struct.pack(">I", 0xFFFFFF))], "snapshots"),
    ([(60, struct.pack(">IQ", 9, 1 << 40))], "beyond the end"),
    ([(72, struct.pack(">Q", 2))], "corrupt"),
    ([(72, struct.pack(">Q", 4))], "in another file"),
    ([(72, struct.pack(">Q", 1 << 40))], "not known (0x10000000000)"),
    ([(96, struct.pack(">I", 60))], "makes no sense"),
    ([(100, struct.pack(">I", 103))], "makes no sense"),
    ([(72, struct.pack(">Q", 8)), (104, b"\x07")], "compression (7)"),
    ([(112, struct.pack(">II", 0x44415441, 11) + b"/etc/passwd")], "in another file"),
    ([(112, struct.pack(">II", 0x0537BE77, 16))], "encrypted"),
    ([(112, struct.pack(">II", 0x12345678, 0xFFFFFFF0))], "longer than the header"),
]
OTHERS = [
    ("qcow", [(8, struct.pack(">QI", 64, 11))], "backing file"),
    ("qcow", [(24, struct.pack(">Q", 1 << 62))], "2 TiB is the limit"),
    ("qcow", [(32, b"\x30")], "clusters of 2^48"),
    ("qcow", [(36, struct.pack(">I", 1))], "encrypted"),
    ("qcow", [(40, struct.pack(">Q", 1 << 62))], "beyond the end"),
    ("qed", [(16, struct.pack("<Q", 1))], "backing file"),
    ("qed", [(16, struct.pack("<Q", 64))], "not known"),
    ("qed", [(4, struct.pack("<I", 3000))], "clusters of 3000"),
    ("qed", [(8, struct.pack("<I", 5))], "tables of 5"),
    ("qed", [(40, struct.pack("<Q", 1 << 60))], "beyond the end"),
    ("vdi", [(0x4C, struct.pack("<I", 4))], "difference to another disk"),
    ("vdi", [(0x1A8, b"\x01")], "difference to another disk"),
    ("vdi", [(0x178, struct.pack("<I", 512))], "layout"),
    ("vdi", [(0x170, struct.pack("<Q", TIB))], "too small for a disk"),
    ("vdi", [(0x180, struct.pack("<I", 0xF0000000))], "too many parts"),
    ("vdi", [(0x154, struct.pack("<I", 0xFFFFFE00))], "beyond the end"),
    ("vdi", [(0x44, struct.pack("<I", 0x20000))], "version 2.0"),
    ("vmdk", [(12, struct.pack("<Q", 0))], "no size"),
    ("vmdk", [(12, struct.pack("<Q", 1 << 50))], "2 TiB is the limit"),
    ("vmdk", [(20, struct.pack("<Q", 3))], "grains of 3"),
    ("vmdk", [(28, struct.pack("<Q", 0))], "one of several files"),
    ("vmdk", [(44, struct.pack("<I", 0))], "grain tables of 0"),
    ("vmdk", [(56, struct.pack("<Q", 1 << 40))], "beyond the end"),
    ("vmdk", [(73, b"\n\n\n\n")], "text mode"),
    ("vmdk", [(77, b"\x09\x00")], "compression (9)"),
    ("vmdk", [(4, struct.pack("<I", 77))], "version 77"),
    ("vhd fixed", [(-512 + 48, struct.pack(">Q", TIB))], "checksum"),
    ("vhd dynamic", [(60, struct.pack(">I", 4))], "checksum"),
    ("vhd dynamic", [(-512, bytes(512))], "no footer"),
    ("vhd dynamic", [(0, bytes(512))], "only its footer"),
    ("vhd dynamic", [(512, b"x")], "second header is none"),
    ("vhd dynamic", [(512 + 28, struct.pack(">I", 1))], "checksum"),
    ("vhdx", [(64 << 10, bytes(4096)), (128 << 10, bytes(4096))], "no intact header"),
    ("vhdx", [(192 << 10, bytes(4096)), (256 << 10, bytes(4096))], "no intact region table"),
    ("vhdx", [(64 << 10, b"\0"), (128 << 10 | 100, b"\x01")], "no intact header"),
    ("raw", [(0, b"\x1f\x8b\x08\x00")], "gunzip"),
    ("raw", [(257, b"ustar")], ".ova"),
    ("raw", [(0, b"LUKS\xba\xbe")], "LUKS"),
    ("raw", [(-512, b"koly")], "Apple"),
    ("raw", [(0, b'# Disk DescriptorFile\nRW 1 FLAT "/etc/passwd" 0\n')], "single file"),
    ("raw", [(0, b"COWD")], "single file"),
]


def test_what_is_refused(images: dict[str, Path], tmp_path: Path) -> None:
    for name, changes, why in [("qcow2", *case) for case in QCOW2] + OTHERS:
        assert why in refusal(patched(images[name], tmp_path / "changed", *changes)), (name, changes)


def test_a_vmdk_that_leads_elsewhere(images: dict[str, Path], tmp_path: Path) -> None:
    whole = images["vmdk"].read_bytes()
    offset, size = (value * 512 for value in struct.unpack_from("<QQ", whole, 28))
    text = whole[offset : offset + size].partition(b"\0")[0]
    for old, new, why in (
        (b"parentCID=ffffffff", b"parentCID=12345678", "difference to another disk"),
        (b'createType="monolithicSparse"', b'createType="twoGbMaxExtentSparse"', "twoGbMaxExtentSparse"),
        (b'createType="monolithicSparse"', b'createType="monolithicFlat"', "monolithicFlat"),
        (b" SPARSE ", b" FLAT ", "in other files"),
        (b"\nRW ", b'\nRW 9 FLAT "/etc/shadow" 0\nRW ', "in other files"),
    ):
        assert old in text
        changed = text.replace(old, new).ljust(size, b"\0")
        assert why in refusal(patched(images["vmdk"], tmp_path / "changed", (offset, changed)))


def test_a_vhd_whose_checksums_are_right(images: dict[str, Path], tmp_path: Path) -> None:
    footer = images["vhd dynamic"].read_bytes()[:512]
    second = images["vhd dynamic"].read_bytes()[512:1536]
    for offset, new, why in (
        (60, struct.pack(">I", 4), "difference to another disk"),
        (60, struct.pack(">I", 9), "type 9"),
        (60, struct.pack(">I", 2), "says that it is fixed"),
        (48, struct.pack(">Q", 3 * TIB), "2 TiB is the limit"),
        (48, struct.pack(">Q", TIB), "too small for a disk"),
        (48, struct.pack(">Q", 513), "sectors"),
        (16, struct.pack(">Q", 1 << 60), "beyond the end"),
        (12, struct.pack(">I", 5 << 16), "version 5.0"),
    ):
        changed = with_vhd_sum(footer[:offset] + new + footer[offset + len(new) :], 64)
        assert why in refusal(patched(images["vhd dynamic"], tmp_path / "changed", (0, changed)))
    for offset, new, why in (
        (16, struct.pack(">Q", 1 << 60), "beyond the end"),
        (28, struct.pack(">I", 0xFFFFFFFF), "too many parts"),
        (32, struct.pack(">I", 12345), "blocks of 12345"),
    ):
        changed = with_vhd_sum(second[:offset] + new + second[offset + len(new) :], 36)
        assert why in refusal(patched(images["vhd dynamic"], tmp_path / "changed", (512, changed)))


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    for path, why in (
        (tmp_path, "no regular file"),
        (Path("/dev/zero"), "no regular file"),
        (tmp_path / "empty", "empty"),
    ):
        assert why in refusal(path)
    descriptor = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(BadImage, match="no regular file"):
        detect.inspect(descriptor)
    os.close(descriptor)
    writing = os.open(tmp_path / "new", os.O_WRONLY | os.O_CREAT)
    os.write(writing, b"x" * 1024)
    with pytest.raises(BadImage, match="cannot be read"):
        detect.inspect(writing)
    os.close(writing)
    with pytest.raises(BadImage, match="cannot be read"):
        detect.inspect(writing)


def test_a_raw_disk_has_whole_sectors(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"x" * 1000)
    assert inspect(tmp_path / "odd").virtual_bytes == 1024
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(2 * TIB + 1)
    assert "2 TiB is the limit" in refusal(tmp_path / "huge")
