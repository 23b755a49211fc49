"""The directories of this host that files are imported from by name, because its owner configured them."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from agent.core.errors import DriverError

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not make us wait


class ImportDirectories:
    """Nothing outside them is opened: no `..`, no symbolic link, nothing but regular files."""

    def __init__(self, directories: Sequence[str]) -> None:
        self._directories = [Path(directory) for directory in directories]

    @contextlib.contextmanager
    def opened(self, path: Path) -> Iterator[int]:
        """A descriptor of the file, to read. Raises DriverError."""
        descriptor = self._open(path)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DriverError(f"cannot read {path}: it is no regular file")
            yield descriptor
        finally:
            os.close(descriptor)

    def find(self, volume: Path) -> Path:
        """Where a volume of a Proxmox storage is: as given if that is a whole path, else below a configured directory,
        which may be the storage's or that of its images. Raises DriverError when it is nowhere."""
        if volume.is_absolute():
            return volume
        tried = [directory / between / volume for directory in self._directories for between in ("images", ".")]
        for path in tried:
            with contextlib.suppress(DriverError), self.opened(path):
                return path
        raise DriverError(
            f"cannot find the disk {volume} in import_dirs: {', '.join(map(str, tried)) or 'none is set'}"
        )

    def _open(self, path: Path) -> int:
        for directory in self._directories:
            if path.is_relative_to(directory):
                try:
                    return _open_beneath(directory, path.relative_to(directory).parts)
                except OSError as error:
                    raise DriverError(f"cannot read {path}: {error.strerror}") from None
        raise DriverError(f"cannot read {path}: it is in none of the directories in import_dirs")


def _open_beneath(directory: Path, parts: tuple[str, ...]) -> int:
    if not parts or ".." in parts:
        raise DriverError(f"cannot read {directory.joinpath(*parts)}: `..` leads out of the directory, or it is one")
    at = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _DIRECTORY, dir_fd=at)
            os.close(at)
            at = inner
        return os.open(parts[-1], _FILE, dir_fd=at)
    finally:
        os.close(at)
