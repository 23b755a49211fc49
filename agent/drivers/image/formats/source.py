"""Bounded reading from a file nobody vouches for."""

from __future__ import annotations

import os
import stat
import struct
import sys
from array import array
from dataclasses import dataclass
from typing import Any

from agent.core.errors import BadImage

TIB = 1 << 40
MAX_VIRTUAL_BYTES = 2 * TIB
SECTOR = 512
MAX_TABLE_BYTES = 512 << 20  # of one table, in memory
MAX_ENTRIES = 1 << 26  # of all tables together: 4 TiB in clusters of 64 KiB


@dataclass(frozen=True)
class Source:
    """An open regular file. `called`: its format, for messages."""

    descriptor: int
    size: int
    called: str = "disk image"

    def read(self, offset: int, length: int, what: str) -> bytes:
        """Exactly so many bytes. Raises BadImage when the file ends before, or cannot be read."""
        self.require(offset, length, what)
        try:
            content = os.pread(self.descriptor, length, offset)
        except OSError as error:
            raise BadImage(f"the {self.called} cannot be read: {error.strerror}") from None
        if len(content) != length:
            raise self.truncated(what)
        return content

    def unpack(self, form: str, offset: int, what: str) -> tuple[Any, ...]:
        return struct.unpack(form, self.read(offset, struct.calcsize(form), what))

    def table(self, code: str, offset: int, count: int, what: str, *, big_endian: bool) -> array[int]:
        """`count` integers of array type `code` (I: 4 bytes, Q: 8)."""
        found = array(code)
        if count * found.itemsize > MAX_TABLE_BYTES:
            raise BadImage(f"the {self.called} is damaged: its {what} has {count} entries")
        found.frombytes(self.read(offset, count * found.itemsize, what))
        if big_endian != (sys.byteorder == "big"):
            found.byteswap()
        return found

    def require(self, offset: int, length: int, what: str) -> None:
        """Raises BadImage unless that part is inside the file."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise self.truncated(what)

    def truncated(self, what: str) -> BadImage:
        return BadImage(
            f"the {self.called} is damaged or incomplete: its {what} would be beyond the end of the file "
            f"({self.size} bytes); fetch it once more"
        )

    def damaged(self, why: str) -> BadImage:
        return BadImage(f"the {self.called} is damaged: {why}")

    def refused(self, why: str) -> BadImage:
        return BadImage(f"the {self.called} cannot be taken: {why}")

    def check_virtual(self, size: int) -> int:
        """The size of the disk inside, if it is one we can have. Raises BadImage."""
        if size <= 0:
            raise self.damaged("the disk in it has no size")
        if size > MAX_VIRTUAL_BYTES:
            raise self.refused(f"the disk in it would have {size} bytes, {MAX_VIRTUAL_BYTES // TIB} TiB is the limit")
        return -(-size // SECTOR) * SECTOR


def opened(descriptor: int) -> Source:
    """Raises BadImage for what is no regular file with content."""
    try:
        found = os.fstat(descriptor)
    except OSError as error:
        raise BadImage(f"the disk image cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise BadImage("the disk image is no regular file; devices, pipes and directories are not read")
    if found.st_size == 0:
        raise BadImage("the disk image is an empty file")
    return Source(descriptor, found.st_size)


class Budget:
    """How many entries of tables are looked at, so that no file keeps us busy for long."""

    def __init__(self, source: Source) -> None:
        self._source, self._left = source, MAX_ENTRIES

    def spend(self, entries: int) -> None:
        self._left -= entries
        if self._left < 0:
            raise self._source.refused("it is divided into too many parts; convert it with larger clusters")
