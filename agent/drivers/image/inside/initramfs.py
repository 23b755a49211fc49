"""Which kernels a Linux system has, and whether they find a virtio disk at boot: built in, or in their initramfs."""

from __future__ import annotations

import bz2
import lzma
import re
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .guest import Guest

DRIVERS = ("virtio_blk", "virtio_pci", "virtio_net")
BUILT_IN, IN_INITRAMFS, MODULE, MISSING, UNKNOWN = "built in", "initramfs", "module", "missing", "unknown"
MAX_FILE_BYTES = 256 << 20
MAX_CONTENT_BYTES = 1 << 29
MAX_KERNELS = 4  # the newest; others are seldom booted, and each takes seconds
_CHUNK = 1 << 20
_MAGIC = (b"070701", b"070702")
_HEADER = 110  # bytes of an entry of a "newc" archive, before its name
_LISTS_BYTES = 2 << 20
# Programs for what Python cannot read itself, by the magic number.
PROGRAMS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4", b"\x04\x22\x4d\x18": "lz4"}
_DECOMPRESSORS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16),
    b"\xfd7zXZ\0": lzma.LZMADecompressor,
    b"BZh": bz2.BZ2Decompressor,
    b"\x5d\0\0": lzma.LZMADecompressor,
}


class _Unreadable(Exception):
    pass


def kernels(guest: Guest) -> list[dict[str, Any]]:
    """The newest ones: version, initramfs (a path, or empty) and where each driver is."""
    versions = [name for name in guest.names("/lib/modules") if re.match(r"[0-9]+\.", name)]
    return [_kernel(guest, version) for version in sorted(versions, key=_age)[-MAX_KERNELS:] or [""]]


def _age(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", version)]


def _kernel(guest: Guest, version: str) -> dict[str, Any]:
    path = _initramfs(guest, version)
    inside = _modules_inside(guest, path) if path else set()
    modules = f"/lib/modules/{version}" if version else "/lib/modules"
    built_in = _module_names(guest.bytes(f"{modules}/modules.builtin", _LISTS_BYTES).decode(errors="replace"))
    loadable = _module_names(guest.bytes(f"{modules}/modules.dep", _LISTS_BYTES).decode(errors="replace"))
    loadable |= _module_names("\n".join(guest.names(modules, "*.ko")))  # a small system may have no list
    return {
        "version": version,
        "initramfs": path,
        "drivers": {driver: _place(driver, built_in, inside, loadable) for driver in DRIVERS},
    }


def _place(driver: str, built_in: set[str], inside: set[str] | None, loadable: set[str]) -> str:
    if driver in built_in:
        return BUILT_IN
    if inside is None:
        return UNKNOWN
    if driver in inside:
        return IN_INITRAMFS
    return MODULE if driver in loadable else MISSING


def _initramfs(guest: Guest, version: str) -> str:
    flavour = version.rsplit("-", 1)[-1]
    names = (
        (f"initrd.img-{version}", f"initramfs-{version}.img", f"initrd-{version}", f"initramfs-{flavour}")
        if version
        else ()
    )
    places = [f"/boot/{name}" for name in (*names, "initrd.img", "initramfs-linux.img", "initrd")]
    return next((path for path in [*places, "/initrd.img"] if guest.is_file(path)), "")


def _module_names(text: str) -> set[str]:
    """Of the paths that end in .ko, or .ko.xz and the like."""
    return {match.replace("-", "_") for match in re.findall(r"([\w-]+)\.ko\b", text)}


def _modules_inside(guest: Guest, path: str) -> set[str] | None:
    """None when the initramfs cannot be read."""
    if guest.tried(guest.handle.filesize, path, default=MAX_FILE_BYTES + 1) > MAX_FILE_BYTES:
        return None
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory, "initramfs")
        try:
            guest.handle.download(path, str(copy))
            return _module_names("\n".join(entries(copy.read_bytes())))
        except (RuntimeError, _Unreadable, OSError, ValueError, EOFError, MemoryError, lzma.LZMAError, zlib.error):
            return None


def entries(content: bytes) -> Iterator[str]:
    """Names in an initramfs: archives one after the other, each plain or compressed. Raises for what is neither."""
    while rest := content.lstrip(b"\0"):
        if rest.startswith(_MAGIC):
            names, length = _archive(rest)
            yield from names
            content = rest[length:]
        else:
            plain, content = _decompressed(rest)
            yield from entries(plain)


def _archive(content: bytes) -> tuple[list[str], int]:
    """The names in one "newc" archive, and its length."""
    names: list[str] = []
    position = 0
    while content[position : position + 6] in _MAGIC:
        size = int(content[position + 54 : position + 62], 16)
        name_size = int(content[position + 94 : position + 102], 16)
        name = content[position + _HEADER : position + _HEADER + name_size].rstrip(b"\0").decode(errors="replace")
        data = _aligned(position + _HEADER + name_size)
        position = _aligned(data + size)
        if name == "TRAILER!!!":
            return names, position
        names.append(name)
    raise _Unreadable


def _aligned(position: int) -> int:
    return -(-position // 4) * 4


def _decompressed(content: bytes) -> tuple[bytes, bytes]:
    """What a compressed archive holds, and what follows it."""
    for magic, program in PROGRAMS.items():
        if content.startswith(magic):
            return _by_program(program, content), b""
    for magic, make in _DECOMPRESSORS.items():
        if content.startswith(magic):
            stream = make()
            plain: bytes = stream.decompress(content, MAX_CONTENT_BYTES)
            if not stream.eof:
                raise _Unreadable
            return plain, stream.unused_data
    raise _Unreadable


def _by_program(program: str, content: bytes) -> bytes:
    with tempfile.TemporaryFile() as source:
        source.write(content)
        source.seek(0)
        with subprocess.Popen(
            [program, "-dc"], stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout
            plain = process.stdout.read(MAX_CONTENT_BYTES)
            process.kill()
    if not plain:
        raise _Unreadable
    return plain
