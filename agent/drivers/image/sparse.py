"""Copying files with holes, in the kernel; on file systems that can, the copy shares the blocks."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

from agent.core.errors import DriverError

_CHUNK_BYTES = 64 << 20
_ELSEWHERE = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


def copy(
    source: int,
    target: int,
    *,
    report: Callable[[int], None] = lambda percent: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Make the file `target` like `source`, holes too. Raises DriverError; InterruptedError once `cancelled`."""
    try:
        size = os.fstat(source).st_size
        os.ftruncate(target, 0)
        os.ftruncate(target, size)
        for start, end in _extents(source, size):
            position = start
            while position < end:
                if cancelled():
                    raise InterruptedError("cancelled")
                position += _move(source, target, position, min(_CHUNK_BYTES, end - position))
                report(position * 100 // size)
    except InterruptedError:
        raise
    except OSError as error:
        raise DriverError(f"cannot copy a disk image: {error.strerror}") from None


def _extents(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Where the file has content, as far as its file system knows of holes."""
    position = 0
    while position < size:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return  # only a hole is left
        position = os.lseek(source, start, os.SEEK_HOLE)
        yield start, min(position, size)


def _move(source: int, target: int, position: int, count: int) -> int:
    try:
        moved = os.copy_file_range(source, target, count, position, position)
    except OSError as error:
        if error.errno not in _ELSEWHERE:
            raise
        moved = os.pwrite(target, os.pread(source, min(count, 1 << 20), position), position)
    if moved == 0:
        raise OSError(errno.EIO, "the file became shorter meanwhile")
    return moved
