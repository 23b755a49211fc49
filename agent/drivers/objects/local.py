"""Buckets of this host: the directories below one directory. Whatever regular file is in one is an object."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.core.errors import DriverError, NoSuchObject
from agent.core.specs import ObjectInfo
from agent.drivers import durable
from agent.drivers.objects import beneath

PIECE = 1 << 20


class LocalBuckets:
    """`root` is only for root, and so are the buckets in it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o700)

    def make(self, bucket: str) -> None:
        path = self._root / bucket
        if not path.is_dir():
            try:
                path.mkdir(mode=0o700, exist_ok=True)
                durable.sync(self._root)
            except OSError as error:
                raise DriverError(f"cannot make the bucket {bucket} in {self._root}: {error.strerror}") from None

    def drop(self, bucket: str) -> None:
        try:
            (self._root / bucket).rmdir()
            durable.sync(self._root)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                raise DriverError(f"the bucket {bucket} is not empty") from None
            raise DriverError(f"cannot delete the bucket {bucket}: {error.strerror}") from None

    def find(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        path = self._root / bucket
        if not path.is_dir():
            return
        for found in beneath.walk(path, prefix):
            yield ObjectInfo(found.key, found.size, found.modified)

    def about(self, bucket: str, key: str) -> ObjectInfo:
        descriptor = self.open(bucket, key)
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        version = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
        return ObjectInfo(key, status.st_size, status.st_mtime, version)

    def open(self, bucket: str, key: str) -> int:
        """A descriptor, which the caller closes."""
        if not (self._root / bucket).is_dir():
            raise NoSuchObject(f"there is no bucket {bucket}")
        return beneath.open_file(self._root / bucket, key)

    def read(self, bucket: str, key: str, start: int, stop: int) -> Iterator[bytes]:
        descriptor = self.open(bucket, key)
        try:
            while start < stop and (piece := os.pread(descriptor, min(PIECE, stop - start), start)):
                yield piece
                start += len(piece)
        finally:
            os.close(descriptor)

    def put(
        self, bucket: str, key: str, source: Path, report: Callable[[int], None], cancelled: Callable[[], bool]
    ) -> None:
        """The file is on the same file system: it only gets one more name."""
        self.make(bucket)
        beneath.put(self._root / bucket, key, source)

    def remove(self, bucket: str, key: str) -> None:
        if (self._root / bucket).is_dir():
            beneath.remove(self._root / bucket, key)
