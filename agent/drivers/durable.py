"""Files that are whole or not there: temporary name, fsync, rename, fsync of the directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from agent.core.errors import DriverError
from agent.core.ids import random_word

TEMPORARY = ".tmp-"  # begins the names of unfinished files; whatever has it at start may be removed


def temporary_path(final: Path) -> Path:
    """A new name beside `final`, so that a rename stays within the file system."""
    return final.with_name(f"{TEMPORARY}{random_word(8)}-{final.name}")


@contextlib.contextmanager
def replacing(final: Path) -> Iterator[Path]:
    """A temporary path to make the file at; at the end it gets its name, durably. After an error nothing is left."""
    temporary = temporary_path(final)
    try:
        yield temporary
        sync(temporary)
        os.rename(temporary, final)
        sync(final.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Unlink durably; no-op if it is not there."""
    if path.exists() or path.is_symlink():
        path.unlink(missing_ok=True)
        sync(path.parent)


def sync(path: Path) -> None:
    """fsync a file or directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(final: Path, content: bytes, mode: int) -> None:
    """Replace `final` by a file with this content; raises DriverError naming it."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with replacing(final) as temporary:
            temporary.write_bytes(content)
            temporary.chmod(mode)
    except OSError as error:
        raise DriverError(f"cannot write {final}: {error.strerror}") from None


def sweep_old(directory: Path, seconds: float) -> list[str]:
    """Remove files that nobody wrote to for so long; their names."""
    limit = time.time() - seconds
    old = sorted(path for path in directory.iterdir() if path.is_file() and path.lstat().st_mtime < limit)
    for path in old:
        path.unlink(missing_ok=True)
    return [path.name for path in old]


def sweep(directory: Path) -> list[str]:
    """Remove unfinished files and directories; their names. Only while nobody writes into `directory`."""
    if not directory.is_dir():
        return []
    leftovers = sorted(path for path in directory.iterdir() if path.name.startswith(TEMPORARY))
    for path in leftovers:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if leftovers:
        sync(directory)
    return [path.name for path in leftovers]
