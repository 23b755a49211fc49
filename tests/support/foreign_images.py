"""Disk images of every format, small, with a known disk in them."""

from __future__ import annotations

import hashlib
import random
import struct
import subprocess
from pathlib import Path

MIB = 1 << 20
DISK_BYTES = 6 * MIB

# By variant: our format, and how qemu-img makes it.
VARIANTS: dict[str, tuple[str, list[str]]] = {
    "raw": ("raw", ["-O", "raw"]),
    "qcow": ("qcow", ["-O", "qcow"]),
    "qcow2": ("qcow2", ["-O", "qcow2"]),
    "qcow2 of old": ("qcow2", ["-O", "qcow2", "-o", "compat=0.10"]),
    "qcow2 compressed": ("qcow2", ["-c", "-O", "qcow2"]),
    "qcow2 zstd": ("qcow2", ["-c", "-O", "qcow2", "-o", "compression_type=zstd"]),
    "qcow2 sub-clusters": ("qcow2", ["-O", "qcow2", "-o", "extended_l2=on,cluster_size=128k"]),
    "qcow2 small clusters": ("qcow2", ["-O", "qcow2", "-o", "cluster_size=512"]),
    "qed": ("qed", ["-O", "qed"]),
    "vdi": ("vdi", ["-O", "vdi"]),
    "vdi static": ("vdi", ["-O", "vdi", "-o", "static=on"]),
    "vmdk": ("vmdk", ["-O", "vmdk"]),
    "vmdk stream": ("vmdk", ["-O", "vmdk", "-o", "subformat=streamOptimized"]),
    "vhd dynamic": ("vhd", ["-O", "vpc", "-o", "force_size=on"]),
    "vhd fixed": ("vhd", ["-O", "vpc", "-o", "subformat=fixed,force_size=on"]),
    "vhdx": ("vhdx", ["-O", "vhdx", "-o", "block_size=1M"]),
    "vhdx fixed": ("vhdx", ["-O", "vhdx", "-o", "subformat=fixed,block_size=1M"]),
}


def disk(size: int = DISK_BYTES, seed: int = 1) -> bytes:
    """Content of a disk: noise, text, and much that is empty, to its last sector."""
    noise = random.Random(seed).randbytes(300_000)
    content = bytearray(size)
    content[: len(noise)] = noise
    content[size // 2 : size // 2 + 700_000] = b"text that can be compressed " * 25_000
    del content[size:]
    content[-512:] = noise[:512]
    return bytes(content)


def make(directory: Path, variants: list[str], content: bytes) -> dict[str, Path]:
    """A file of each variant with that disk in it, by variant."""
    plain = directory / "plain.raw"
    plain.write_bytes(content)
    made = {}
    for name in variants:
        made[name] = directory / f"{name.replace(' ', '-')}.img"
        subprocess.run(["qemu-img", "convert", "-f", "raw", *VARIANTS[name][1], plain, made[name]], check=True)
    return made


def make_large(path: Path) -> Path:
    """A raw disk that takes seconds to compress."""
    with path.open("wb") as stream:
        for seed in range(32):
            stream.write(disk(DISK_BYTES, seed) * 4)
    return path


def digest(path: Path, size: int | None = None) -> str:
    with path.open("rb") as stream:
        return hashlib.sha256(stream.read(size)).hexdigest()


def patched(source: Path, target: Path, *changes: tuple[int, bytes], cut: int | None = None) -> Path:
    """A copy with other bytes at some offsets (negative: from the end), cut off at `cut`."""
    content = bytearray(source.read_bytes())
    for offset, new in changes:
        start = offset if offset >= 0 else len(content) + offset
        content[start : start + len(new)] = new
    target.write_bytes(content[:cut] if cut is not None else content)
    return target


def with_vhd_sum(raw: bytes, position: int) -> bytes:
    """A header of a VHD with its checksum, at `position`, made right."""
    without = raw[:position] + bytes(4) + raw[position + 4 :]
    return raw[:position] + struct.pack(">I", ~sum(without) & 0xFFFFFFFF) + raw[position + 4 :]
