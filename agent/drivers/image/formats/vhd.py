"""VHD of Virtual PC and Hyper-V, fixed and dynamic.

Its size is what the footer calls the current size: whole sectors, and never less than its old-fashioned geometry says.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from agent.drivers.image.formats.source import SECTOR, Budget, Source

MAGIC = b"conectix"
_DYNAMIC_MAGIC = b"cxsparse"
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_NO_BLOCK = 0xFFFFFFFF
_CHECKSUM = slice(64, 68)
_DYNAMIC_CHECKSUM, _DYNAMIC_BYTES = slice(36, 40), 1024


@dataclass(frozen=True)
class _Footer:
    kind: int
    size: int
    data_offset: int


def virtual_bytes(source: Source) -> tuple[int, str]:
    """The size of the disk in the file, all of which is there, and `fixed` or `dynamic`. Raises BadImage."""
    if source.read(0, len(MAGIC), "header") == MAGIC:
        footer = _footer(source, 0)
        if footer.kind == _FIXED:
            raise source.damaged("it begins like a dynamic one and says that it is fixed")
        return _dynamic(source, footer), "dynamic"
    footer = _footer(source, source.size - SECTOR)
    if footer.kind != _FIXED:
        raise source.damaged("its header is missing, only its footer is there")
    size = source.check_virtual(footer.size)
    source.require(SECTOR, footer.size, "data")  # before the footer, which is as long as a sector
    return size, "fixed"


def _footer(source: Source, offset: int) -> _Footer:
    raw = source.read(offset, SECTOR, "footer")
    _check_sum(source, raw, _CHECKSUM, "footer")
    version, data_offset = struct.unpack_from(">IQ", raw, 12)
    (size,) = struct.unpack_from(">Q", raw, 48)
    (kind,) = struct.unpack_from(">I", raw, 60)
    if version >> 16 != 1:
        raise source.refused(f"version {version >> 16}.{version & 0xFFFF} of the format is not known")
    if kind == _DIFFERENCING:
        raise source.refused("it is only the difference to another disk; convert it where that disk is")
    if kind not in (_FIXED, _DYNAMIC):
        raise source.refused(f"it is of type {kind}, neither fixed nor dynamic")
    if size % SECTOR:
        raise source.damaged(f"its size ({size} bytes) is not a number of sectors")
    return _Footer(kind, size, data_offset)


def _check_sum(source: Source, raw: bytes, where: slice, what: str) -> None:
    """All other bytes, added and inverted."""
    (expected,) = struct.unpack(">I", raw[where])
    if (~(sum(raw) - sum(raw[where]))) & 0xFFFFFFFF != expected:
        raise source.damaged(f"the checksum of its {what} is wrong")


def _dynamic(source: Source, footer: _Footer) -> int:
    size = source.check_virtual(footer.size)
    if source.read(source.size - SECTOR, len(MAGIC), "footer") != MAGIC:
        raise source.damaged("it is incomplete: there is no footer at its end; fetch it once more")
    raw = source.read(footer.data_offset, _DYNAMIC_BYTES, "second header")
    if not raw.startswith(_DYNAMIC_MAGIC):
        raise source.damaged("its second header is none")
    _check_sum(source, raw, _DYNAMIC_CHECKSUM, "second header")
    table_offset, version, entries, block = struct.unpack_from(">QIII", raw, 16)
    if version >> 16 != 1:
        raise source.refused(f"version {version >> 16}.{version & 0xFFFF} of its second header is not known")
    if block & (block - 1) or not 4096 <= block <= 1 << 31:
        raise source.damaged(f"blocks of {block} bytes do not exist")
    if entries * block < size:
        raise source.damaged(f"its table is too small for a disk of {size} bytes")
    budget = Budget(source)
    budget.spend(entries)
    bitmap = -(-block // SECTOR // 8 // SECTOR) * SECTOR
    last = (source.size - bitmap - block) // SECTOR
    for entry in source.table("I", table_offset, entries, "table", big_endian=True):
        if last < entry < _NO_BLOCK:
            raise source.truncated("data")
    return size
