"""VHDX of Hyper-V ([MS-VHDX])."""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass

from agent.drivers.image.formats.source import Budget, Source

MAGIC = b"vhdxfile"
MIB = 1 << 20
_HEADERS, _HEADER_BYTES = (64 << 10, 128 << 10), 4096
_REGIONS, _REGION_BYTES = (192 << 10, 256 << 10), 64 << 10
_MAX_REGIONS, _MAX_ITEMS = 2047, 2047
_PARTLY_PRESENT, _FULLY_PRESENT, _STATE = 7, 6, 7
_HAS_PARENT = 2
_REQUIRED = 1
_CHUNK_BLOCKS = 1 << 23  # sectors that one block of a bitmap is for


def _guid(text: str) -> bytes:
    return uuid.UUID(text).bytes_le


_BAT = _guid("2dc27766-f623-4200-9d64-115e9bfd4a08")
_METADATA = _guid("8b7ca206-4790-4b9a-b8fe-575f050f886e")
_PARAMETERS = _guid("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
_SIZE = _guid("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
_LOGICAL_SECTOR = _guid("8141bf1d-a96f-4709-ba47-f233a8faab5f")
_PHYSICAL_SECTOR = _guid("cda348c7-445d-4471-9cc9-e9885251c556")
_PAGE_83 = _guid("beca12ab-b2e6-4523-93ef-c309e000c746")
_KNOWN_ITEMS = {_PARAMETERS, _SIZE, _LOGICAL_SECTOR, _PHYSICAL_SECTOR, _PAGE_83}


@dataclass(frozen=True)
class _Region:
    offset: int
    length: int


def virtual_bytes(source: Source) -> int:
    """The size of the disk in the file, all of which is there. Raises BadImage."""
    _check_headers(source)
    regions = _regions(source)
    items = _items(source, regions[_METADATA])
    block, flags = struct.unpack("<II", _item(source, items, _PARAMETERS, 8))
    (size,) = struct.unpack("<Q", _item(source, items, _SIZE, 8))
    (sector,) = struct.unpack("<I", _item(source, items, _LOGICAL_SECTOR, 4))
    if flags & _HAS_PARENT:
        raise source.refused("it is only the difference to another disk; convert it where that disk is")
    if block & (block - 1) or not MIB <= block <= 256 * MIB:
        raise source.damaged(f"blocks of {block} bytes do not exist")
    if sector not in (512, 4096):
        raise source.damaged(f"sectors of {sector} bytes do not exist")
    rounded = source.check_virtual(size)
    _check_blocks(source, regions[_BAT], size, block, sector)
    return rounded


def _check_headers(source: Source) -> None:
    """The newest intact header says that no log is left to be written into the disk."""
    newest, pending = -1, False
    for offset in _HEADERS:
        raw = source.read(offset, _HEADER_BYTES, "header")
        if not raw.startswith(b"head") or not _sum_is_right(raw):
            continue
        (number,) = struct.unpack_from("<Q", raw, 8)
        log_version, version, log_bytes, log_offset = struct.unpack_from("<HHIQ", raw, 64)
        if log_version != 0 or version != 1:
            raise source.refused(f"version {version} of the format is not known")
        if number > newest:
            newest, pending = number, any(raw[48:64])
            source.require(log_offset, log_bytes, "log")
    if newest < 0:
        raise source.damaged("it has no intact header")
    if pending:
        raise source.refused("it was not closed properly, a log is left; open and close it once in Hyper-V")


def _regions(source: Source) -> dict[bytes, _Region]:
    for offset in _REGIONS:
        raw = source.read(offset, _REGION_BYTES, "region table")
        if raw.startswith(b"regi") and _sum_is_right(raw):
            break
    else:
        raise source.damaged("it has no intact region table")
    (count,) = struct.unpack_from("<I", raw, 8)
    if count > _MAX_REGIONS:
        raise source.damaged(f"its region table has {count} entries")
    found = {}
    for number in range(count):
        kind, start, length, flags = struct.unpack_from("<16sQII", raw, 16 + 32 * number)
        if kind in (_BAT, _METADATA):
            if start < MIB or start % MIB or kind in found:
                raise source.damaged("a region is where none can be")
            source.require(start, length, "region")
            found[kind] = _Region(start, length)
        elif flags & _REQUIRED:
            raise source.refused("it uses features that are not known")
    if len(found) != 2:
        raise source.damaged("its block table or its metadata is missing")
    return found


def _items(source: Source, region: _Region) -> dict[bytes, _Region]:
    magic, _, count = source.unpack("<8sHH", region.offset, "metadata")
    if magic != b"metadata" or count > _MAX_ITEMS:
        raise source.damaged("its metadata is none")
    found = {}
    for number in range(count):
        kind, offset, length, flags = source.unpack("<16sIII", region.offset + 32 + 32 * number, "metadata")
        if kind in _KNOWN_ITEMS:
            found[kind] = _Region(region.offset + offset, length)
        elif flags & 4:  # required
            raise source.refused("it is only the difference to another disk, or uses features that are not known")
    return found


def _item(source: Source, items: dict[bytes, _Region], kind: bytes, length: int) -> bytes:
    region = items.get(kind)
    if region is None or region.length < length:
        raise source.damaged("its metadata is incomplete")
    return source.read(region.offset, length, "metadata")


def _check_blocks(source: Source, region: _Region, size: int, block: int, sector: int) -> None:
    chunk = _CHUNK_BLOCKS * sector // block  # blocks of the disk, after which comes one of a bitmap
    blocks = -(-size // block)
    entries = blocks + (blocks - 1) // chunk
    if entries * 8 > region.length:
        raise source.damaged(f"its block table is too small for a disk of {size} bytes")
    budget = Budget(source)
    budget.spend(entries)
    table = source.table("Q", region.offset, entries, "block table", big_endian=False)
    for number, entry in enumerate(table):
        if number % (chunk + 1) == chunk:
            continue  # a bitmap, which only differencing disks use
        state, offset = entry & _STATE, (entry >> 20) * MIB
        if state == _PARTLY_PRESENT:
            raise source.refused("it is only the difference to another disk; convert it where that disk is")
        if state == _FULLY_PRESENT:
            position = (number - number // (chunk + 1)) * block
            source.require(offset, min(block, size - position), "data")


# ------------------------------------------------------------------------------ CRC-32C


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC = _crc_table()


def _sum_is_right(raw: bytes) -> bool:
    """The checksum (CRC-32C) at byte 4 counts as zeros itself."""
    (expected,) = struct.unpack_from("<I", raw, 4)
    crc = 0xFFFFFFFF
    for byte in raw[:4] + bytes(4) + raw[8:]:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return bool(crc ^ 0xFFFFFFFF == expected)
