"""VMDK in one file: monolithic sparse and stream-optimised. All other kinds are spread over several files."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from agent.drivers.image.formats.source import SECTOR, Budget, Source

MAGIC = b"KDMV"
OLD_MAGIC = b"COWD"  # a part of an ESX server's disk
DESCRIPTOR = b"# Disk DescriptorFile"
_GRAIN_DIRECTORY_AT_END = 0xFFFFFFFFFFFFFFFF
_COMPRESSED = 1 << 16
_NO_PARENT = "ffffffff"
_VARIANTS = {"monolithicsparse": "sparse", "streamoptimized": "stream-optimised"}
_MAX_DESCRIPTOR = 1 << 20
_FOOTER_FROM_END = 1024


@dataclass(frozen=True)
class _Header:
    version: int
    flags: int
    capacity: int  # sectors, like all that follow
    grain: int
    descriptor: int
    descriptor_size: int
    entries: int  # of a grain table
    directory: int
    compression: int


def virtual_bytes(source: Source) -> tuple[int, str]:
    """The size of the disk in the file, all of which is there, and `sparse` or `stream-optimised`. Raises BadImage."""
    header = _header(source, 0)
    variant = _variant(source, header)
    if header.directory == _GRAIN_DIRECTORY_AT_END:
        header = _at_end(source, header)
    # Without a capacity QEMU would read the descriptor as that of a disk spread over other files.
    size = source.check_virtual(header.capacity * SECTOR)
    if header.grain & (header.grain - 1) or not 1 <= header.grain <= 4096:
        raise source.damaged(f"grains of {header.grain} sectors do not exist")
    if not 1 <= header.entries <= 512:
        raise source.damaged(f"grain tables of {header.entries} entries do not exist")
    if header.compression not in (0, 1):
        raise source.refused(f"its compression ({header.compression}) is not known")
    _check_grains(source, header)
    return size, variant


def _header(source: Source, offset: int) -> _Header:
    raw = source.read(offset, SECTOR, "header")
    version, flags, capacity, grain, descriptor, descriptor_size, entries, _, directory = struct.unpack_from(
        "<IIQQQQIQQ", raw, 4
    )
    (compression,) = struct.unpack_from("<H", raw, 77)
    if not raw.startswith(MAGIC) or version not in (1, 2, 3):
        raise source.refused(f"version {version} of the format is not known")
    if raw[73:77] != b"\n \r\n":
        raise source.damaged("its line ends were changed, as by a transfer in text mode; fetch it once more")
    return _Header(version, flags, capacity, grain, descriptor, descriptor_size, entries, directory, compression)


def _at_end(source: Source, first: _Header) -> _Header:
    last = _header(source, source.size - _FOOTER_FROM_END)
    if last.directory == _GRAIN_DIRECTORY_AT_END or (last.capacity, last.grain) != (first.capacity, first.grain):
        raise source.damaged("its header and its footer do not fit together")
    return last


def _variant(source: Source, header: _Header) -> str:
    if not header.descriptor or not 0 < header.descriptor_size * SECTOR <= _MAX_DESCRIPTOR:
        raise source.refused("it is one of several files of a disk; give the disk as a single file (stream-optimised)")
    raw = source.read(header.descriptor * SECTOR, header.descriptor_size * SECTOR, "descriptor")
    text = raw.partition(b"\0")[0].decode("utf-8", "replace")
    values = {key.lower(): value for key, value in re.findall(r'^[ \t]*(\w+)[ \t]*=[ \t]*"?([^"\r\n]*)', text, re.M)}
    if values.get("parentcid", _NO_PARENT).strip().lower() != _NO_PARENT or "parentfilenamehint" in values:
        raise source.refused("it is only the difference to another disk; convert it where that disk is")
    kind = values.get("createtype", "").strip()
    if kind.lower() not in _VARIANTS:
        raise source.refused(f"its kind is {kind[:40]!r}: only monolithicSparse and streamOptimized are one file")
    extents = re.findall(r"^[ \t]*(?:RW|RDONLY|NOACCESS)[ \t]+\d+[ \t]+(\w+)", text, re.M)
    if extents != ["SPARSE"]:
        raise source.refused("it says that its content is in other files; give the disk as a single file")
    return _VARIANTS[kind.lower()]


def _check_grains(source: Source, header: _Header) -> None:
    """All grains begin inside the file; where they are compressed QEMU notices that one is cut off."""
    budget = Budget(source)
    tables = -(-header.capacity // (header.grain * header.entries))
    budget.spend(tables)
    whole = 1 if header.flags & _COMPRESSED else header.grain
    last = source.size // SECTOR - whole
    for offset in set(source.table("I", header.directory * SECTOR, tables, "grain directory", big_endian=False)) - {0}:
        budget.spend(header.entries)
        for entry in source.table("I", offset * SECTOR, header.entries, "grain table", big_endian=False):
            if entry > last and entry > 1:
                raise source.truncated("data")
