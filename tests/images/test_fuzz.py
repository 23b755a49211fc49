"""Hundreds of changed headers of every format, and every way we know to make an image show a file of the host."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from agent.core.errors import BadImage
from agent.core.specs import ImageInfo
from agent.drivers.image.converter import SandboxedConverter
from tests.images.test_converter import CANARY, convert, opened, processes_of_the_jail
from tests.support.foreign_images import VARIANTS, disk, make, with_vhd_sum

NAMES = [name for name in VARIANTS if name not in ("raw", "vhdx fixed")]
MUTANTS = 300  # of each variant
CONVERTED = 8  # of those that our readers take: the jail is started for each
TELLING = (
    0,
    1,
    2,
    3,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 40,
    (1 << 64) - 1,
)
# Where what is parsed is: the beginning, the end, and for VHDX its tables.
REGIONS = {"vhdx": [(0, 16), (64 << 10, 80), (192 << 10, 96), (2 << 20, 256), (2 << 20 | 64 << 10, 128), (3 << 20, 64)]}


def mutants(name: str, content: bytes) -> list[bytes]:
    """Always the same ones."""
    chance = random.Random(name)
    made = []
    for _ in range(MUTANTS):
        changed = bytearray(content)
        for _ in range(chance.choice((1, 1, 2, 5))):
            _change(chance, VARIANTS[name][0], changed)
        if chance.random() < 0.1:
            del changed[chance.randrange(len(changed)) :]
        if VARIANTS[name][0] == "vhd" and chance.random() < 0.8 and len(changed) > 4096:
            changed[:512] = with_vhd_sum(bytes(changed[:512]), 64)
            changed[512:1536] = with_vhd_sum(bytes(changed[512:1536]), 36)
            changed[-512:] = with_vhd_sum(bytes(changed[-512:]), 64)
        made.append(bytes(changed))
    return made


def _change(chance: random.Random, form: str, content: bytearray) -> None:
    start, length = chance.choice(REGIONS.get(form, [(0, 128), (0, 128), (0, 600), (0, 70_000), (-512, 100)]))
    start = start if start >= 0 else max(0, len(content) + start)
    offset = min(start + chance.randrange(length), max(0, len(content) - 9))
    if form == "vmdk" and chance.random() < 0.3:
        offset = 512 + chance.randrange(400)  # its descriptor
    width = chance.choice((1, 2, 4, 8))
    value = chance.choice(TELLING) if chance.random() < 0.7 else chance.getrandbits(64)
    new = (value & ((1 << 8 * width) - 1)).to_bytes(width, chance.choice(("big", "little")))
    content[offset : offset + width] = new


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make(tmp_path_factory.mktemp("images"), NAMES, disk(2 << 20))


@pytest.mark.parametrize("name", NAMES)
def test_changed_headers_end_in_one_clear_line(name: str, images: dict[str, Path], tmp_path: Path) -> None:
    converter = SandboxedConverter(tmp_path / "staging")
    outcomes: Counter[str] = Counter()
    lines: list[str] = []
    mutant, target = tmp_path / "mutant", tmp_path / "out"
    for content in mutants(name, images[name].read_bytes()):
        mutant.write_bytes(content)
        with opened(mutant) as descriptor:
            try:
                info = converter.probe(descriptor, VARIANTS[name][0])
                if outcomes["taken"] < CONVERTED:
                    outcomes["taken"] += 1
                    converter.convert(descriptor, info, target, "qcow2")
                    outcomes["converted"] += 1
            except BadImage as error:
                lines.append(str(error))
        target.unlink(missing_ok=True)
    assert len(lines) > MUTANTS // 10, outcomes
    assert [line for line in lines if "\n" in line or not 10 < len(line) < 400] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mutant", "staging"]
    assert list((tmp_path / "staging").iterdir()) == []
    assert processes_of_the_jail(tmp_path) == []


# ------------------------------------------------------------------------------ every trick in the book


def overlay(form: str, backing: str, path: Path) -> Path:
    command = ["qemu-img", "create", "-q", "-u", "-f", form, "-F", "raw", "-b", backing, path, "1M"]
    subprocess.run(command, check=True)
    return path


def vmdk_descriptor(extents: str, kind: str = "monolithicFlat", parent: str = "ffffffff") -> bytes:
    return (
        f"# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID={parent}\n"
        f'createType="{kind}"\n{extents}\nddb.adapterType = "ide"\n'
    ).encode()


def tricks(canary: Path, images: dict[str, Path], directory: Path) -> dict[str, tuple[str, Path]]:
    """By what it tries: the format that it is called, and the file."""
    made: dict[str, tuple[str, Path]] = {}
    for form in ("qcow2", "qcow", "qed"):
        for number, name in enumerate((str(canary), f"file:{canary}", f"/proc/1/root{canary}", "nbd:127.0.0.1:1")):
            made[f"{form} over {name}"] = (form, overlay(form, name, directory / f"backed-{number}.{form}"))
    name = f'json:{{"driver": "raw", "file": {{"driver": "file", "filename": "{canary}"}}}}'
    made["qcow2 over json"] = ("qcow2", overlay("qcow2", name, directory / "backed.json"))
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-o"]
    data = directory / "data.qcow2"
    subprocess.run([*create, f"data_file={directory}/data.raw,data_file_raw=on", data, "1M"], check=True)
    (directory / "data.raw").unlink()
    (directory / "data.raw").symlink_to(canary)
    made["qcow2 with its data in the canary"] = ("qcow2", data)
    flat = vmdk_descriptor(f'RW 2048 FLAT "{canary}" 0')
    (directory / "flat.vmdk").write_bytes(flat)
    made["a VMDK that is a descriptor"] = ("vmdk", directory / "flat.vmdk")
    content = bytearray(images["vmdk"].read_bytes())
    offset, size = (value * 512 for value in struct.unpack_from("<QQ", content, 28))
    for number, (what, capacity, text) in enumerate(
        (
            ("without a capacity", 0, flat),
            ("with a flat extent", 4096, flat),
            ("with two extents", 4096, vmdk_descriptor(f'RW 1 SPARSE "a"\nRW 2048 FLAT "{canary}" 0', "custom")),
            ("with a parent", 4096, vmdk_descriptor('RW 4096 SPARSE "x"', "monolithicSparse", "12345678")),
        )
    ):
        hidden = bytearray(content)
        struct.pack_into("<Q", hidden, 12, capacity)
        hidden[offset : offset + size] = text.ljust(size, b"\0")
        path = directory / f"hidden-{number}.vmdk"
        path.write_bytes(hidden)
        made[f"a VMDK {what}"] = ("vmdk", path)
    return made


def test_no_trick_shows_a_file_of_the_host(images: dict[str, Path], tmp_path: Path) -> None:
    """Refused by our readers; and without them, as if they had been fooled, the jail shows nothing."""
    canary = tmp_path / "canary"
    canary.write_bytes(CANARY * (1 << 15))
    converter = SandboxedConverter(tmp_path / "staging")
    for what, (form, path) in tricks(canary, images, tmp_path).items():
        with opened(path) as descriptor:
            with pytest.raises(BadImage):
                converter.probe(descriptor, form)
            with pytest.raises(BadImage):
                converter.probe(descriptor)
            fooled = ImageInfo(form, "", 1 << 20, path.stat().st_size)
            target = tmp_path / "out"
            with contextlib.suppress(BadImage):
                converter.convert(descriptor, fooled, target, "raw")
            if target.exists():
                assert CANARY not in target.read_bytes(), what
                target.unlink()
    assert canary.read_bytes() == CANARY * (1 << 15)


def test_an_image_that_changes_between_looking_and_reading(images: dict[str, Path], tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_bytes(CANARY * (1 << 15))
    converter = SandboxedConverter(tmp_path / "staging")
    evil = overlay("qcow2", str(canary), tmp_path / "evil.qcow2").read_bytes()
    image = tmp_path / "image.qcow2"
    image.write_bytes(images["qcow2"].read_bytes())
    with opened(image) as descriptor:
        info = converter.probe(descriptor)
        image.write_bytes(evil)
        with contextlib.suppress(BadImage):
            converter.convert(descriptor, info, tmp_path / "out", "raw")
    assert not (tmp_path / "out").exists() or CANARY not in (tmp_path / "out").read_bytes()


def test_a_link_is_no_way_around(images: dict[str, Path], tmp_path: Path) -> None:
    """What is read is the open file: whoever could open it may read it; its name plays no part."""
    (tmp_path / "link").symlink_to(images["qcow2"])
    converter = SandboxedConverter(tmp_path / "staging")
    assert convert(converter, tmp_path / "link", tmp_path / "out", "raw").stat().st_size == 2 << 20
    with pytest.raises(OSError):
        os.open(tmp_path / "link", os.O_RDONLY | os.O_NOFOLLOW)
