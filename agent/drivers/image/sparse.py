"""Copying files with holes, in the kernel; on file systems that can, the copy shares the blocks."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator

from agent.core.errors import DriverError

_CHUNK_BYTES, _MOVED_BYTES = 64 << 20, 8 << 20
_ELSEWHERE = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


def copy(
    source: int,
    target: int,
    *,
    report: Callable[[int], None] = lambda percent: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Make the file `target` like `source`, holes too. Raises DriverError; InterruptedError once `cancelled`."""
    with _explained():
        size = _sized(source, target)
        for start, end in _extents(source, size):
            for position in range(start, end, _CHUNK_BYTES):
                stop = min(position + _CHUNK_BYTES, end)
                _fill(source, target, position, stop, cancelled)
                report(stop * 100 // size)


def move(
    source: int,
    target: int,
    *,
    check_room: Callable[[int], None] = lambda count: None,
    report: Callable[[int], None] = lambda percent: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """The same from the end on, where `source`, open for writing, is cut off meanwhile: on one file system both take
    little more room than one. `check_room` is asked before so many bytes are written, and raises when there is none."""
    with _explained():
        size = _sized(source, target)
        for start, end in reversed(list(_extents(source, size))):
            for position in reversed(range(start, end, _MOVED_BYTES)):
                stop = min(position + _MOVED_BYTES, end)
                check_room(stop - position)
                _fill(source, target, position, stop, cancelled)
                os.ftruncate(source, position)
                report((size - position) * 100 // size)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except InterruptedError:
        raise
    except OSError as error:
        raise DriverError(f"cannot copy a disk image: {error.strerror}") from None


def _sized(source: int, target: int) -> int:
    """Make `target` a hole as large as `source`; how large that is."""
    size = os.fstat(source).st_size
    os.ftruncate(target, 0)
    os.ftruncate(target, size)
    return size


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


def _fill(source: int, target: int, position: int, stop: int, cancelled: Callable[[], bool]) -> None:
    while position < stop:
        if cancelled():
            raise InterruptedError("cancelled")
        position += _copy_some(source, target, position, stop - position)


def _copy_some(source: int, target: int, position: int, count: int) -> int:
    try:
        moved = os.copy_file_range(source, target, count, position, position)
    except OSError as error:
        if error.errno not in _ELSEWHERE:
            raise
        moved = os.pwrite(target, os.pread(source, min(count, 1 << 20), position), position)
    if moved == 0:
        raise OSError(errno.EIO, "the file became shorter meanwhile")
    return moved
