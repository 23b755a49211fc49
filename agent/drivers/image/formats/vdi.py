"""VDI, the format of VirtualBox."""

from __future__ import annotations

import struct

from agent.drivers.image.formats.source import SECTOR, Budget, Source

MAGIC_OFFSET, MAGIC = 0x40, struct.pack("<I", 0xBEDA107F)
_VERSION = 0x00010001
_DYNAMIC, _FIXED = 1, 2
_BLOCK_BYTES = 1 << 20
_NO_BLOCK = 0xFFFFFFFE  # from here on: never written, or given back


def virtual_bytes(source: Source) -> int:
    """The size of the disk in the file, all of which is there. Raises BadImage."""
    version, _, kind = source.unpack("<III", 0x44, "header")
    if version != _VERSION:
        raise source.refused(f"version {version >> 16}.{version & 0xFFFF} of the format is not known")
    if kind not in (_DYNAMIC, _FIXED):
        raise source.refused("it is only the difference to another disk; convert it where that disk is")
    map_offset, data_offset = source.unpack("<II", 0x154, "header")
    (sector,) = source.unpack("<I", 0x168, "header")
    size, block, extra, blocks, _ = source.unpack("<QIIII", 0x170, "header")
    link, parent = source.unpack("<16s16s", 0x1A8, "header")
    if any(link) or any(parent):
        raise source.refused("it is only the difference to another disk; convert it where that disk is")
    if sector != SECTOR or block != _BLOCK_BYTES or extra or map_offset % SECTOR or data_offset % SECTOR:
        raise source.refused("its layout is not that of VirtualBox's disks")
    rounded = source.check_virtual(size)
    if blocks * block < size:
        raise source.damaged(f"its map is too small for a disk of {size} bytes")
    budget = Budget(source)
    budget.spend(blocks)
    last = (source.size - data_offset) // block - 1  # block that is wholly inside the file
    for entry in source.table("I", map_offset, blocks, "map", big_endian=False):
        if last < entry < _NO_BLOCK:
            raise source.truncated("data")
    return rounded
