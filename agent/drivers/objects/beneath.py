"""Files below a directory, and never outside: no link is followed, no name leads upwards, nothing special is opened.

Names come from callers of the API, and whoever may write into a bucket's directory may change it at any moment. So each
part of a name is opened in the directory before it, which stays open: what is checked is what is used.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agent.core import object_names
from agent.core.errors import DriverError, NoSuchObject

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a FIFO must not hold up whoever only wants to see that it is none of ours.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


class Found(NamedTuple):
    """`modified`: seconds since the epoch."""

    key: str
    size: int
    modified: float


def open_file(root: Path, key: str) -> int:
    """A descriptor of the regular file, for reading; the caller closes it. Raises NoSuchObject or DriverError."""
    *directories, name = _parts(key)
    try:
        with _directory(root, directories) as parent:
            descriptor = os.open(name, _FILE, dir_fd=parent)
    except OSError as error:
        raise _failure(error, key, "read") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NoSuchObject(f"{key} is no regular file")
    return descriptor


def put(root: Path, key: str, source: Path) -> None:
    """Give the whole file `source`, of the same file system, this name too; what had it before is replaced. Durable."""
    *directories, name = _parts(key)
    temporary = object_names.UNFINISHED + os.urandom(8).hex()
    try:
        with _directory(root, directories, make=True) as parent:
            os.link(source, temporary, dst_dir_fd=parent)
            try:
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            finally:
                # Also when all went well: renaming one name of a file to another of the same file does nothing.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=parent)
            os.fsync(parent)
    except OSError as error:
        raise _failure(error, key, "write") from None


def remove(root: Path, key: str) -> None:
    """Unlink, durably, and the directories that are empty then; no-op when there is no such file."""
    *directories, name = _parts(key)
    try:
        with _directory(root, directories) as parent:
            os.unlink(name, dir_fd=parent)
            os.fsync(parent)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return
        raise _failure(error, key, "delete") from None
    _remove_empty(root, directories)


def walk(root: Path, prefix: str = "") -> Iterator[Found]:
    """Every regular file whose name begins with `prefix`, by name. A name that is no UTF-8 is left out."""
    with _directory(root, []) as top:
        yield from _walk(top, "", prefix, object_names.DEEPEST)


def _walk(directory: int, path: str, prefix: str, depth: int) -> Iterator[Found]:
    with os.scandir(directory) as entries:
        found = sorted((entry.name + "/" * entry.is_dir(follow_symlinks=False), entry) for entry in entries)
    for name, entry in found:
        key = path + name
        if not (key.startswith(prefix) or prefix.startswith(key)) or not _is_text(name):
            continue
        try:
            if name.endswith("/") and depth > 1:
                child = os.open(entry.name, _DIRECTORY, dir_fd=directory)
                try:
                    yield from _walk(child, key, prefix, depth - 1)
                finally:
                    os.close(child)
            elif entry.is_file(follow_symlinks=False) and key.startswith(prefix):
                status = entry.stat(follow_symlinks=False)
                yield Found(key, status.st_size, status.st_mtime)
        except FileNotFoundError:
            continue  # deleted meanwhile


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return not name.startswith(object_names.UNFINISHED)


def _parts(key: str) -> list[str]:
    try:
        return object_names.parts(key)
    except ValueError as error:
        raise NoSuchObject(f"{key!r} is no name of an object: {error}") from None


@contextlib.contextmanager
def _directory(root: Path, names: list[str], *, make: bool = False) -> Iterator[int]:
    """The directory `names` below `root`, open; made, durably, if `make`."""
    current = os.open(root, _DIRECTORY)
    try:
        for name in names:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=current)
                    os.fsync(current)
            below = os.open(name, _DIRECTORY, dir_fd=current)
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)


def _remove_empty(root: Path, names: list[str]) -> None:
    while names:
        *names, last = names
        try:
            with _directory(root, names) as parent:
                os.rmdir(last, dir_fd=parent)
        except OSError:
            return  # not empty, or changed by somebody else: as it is, it does no harm


def _failure(error: OSError, key: str, doing: str) -> DriverError:
    if error.errno in _NOT_THERE:
        return NoSuchObject(f"there is no object {key}")
    return DriverError(f"cannot {doing} the object {key}: {error.strerror}")
