"""All buckets there are: those of this host, and those of the configured stores."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from agent.core.errors import DriverError
from agent.core.specs import ObjectInfo
from agent.drivers import durable
from agent.drivers.objects.local import LocalBuckets

_LOOK_BYTES = 32 << 20  # between looks whether to go on


class Store(Protocol):
    """What a bucket lies in; the calls are those of core.protocols.Objects."""

    def find(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]: ...

    def about(self, bucket: str, key: str) -> ObjectInfo: ...

    def read(self, bucket: str, key: str, start: int, stop: int) -> Iterator[bytes]: ...

    def put(
        self, bucket: str, key: str, source: Path, report: Callable[[int], None], cancelled: Callable[[], bool]
    ) -> None: ...

    def remove(self, bucket: str, key: str) -> None: ...


def nothing(percent: int) -> None:
    """For who wants no progress."""


def never() -> bool:
    """For who does not stop it."""
    return False


class ObjectStores:
    """Satisfies core.protocols.Objects. `remote`: the stores of buckets that are not this host's; what comes from
    them is kept in `staging` while it is open. `reserve`: bytes that must stay free of a file system of so many."""

    def __init__(
        self,
        local: LocalBuckets,
        staging: Path,
        remote: Mapping[str, Store],
        reserve: Callable[[int], int] = lambda total: 0,
    ) -> None:
        self._local, self._staging, self._remote, self._reserve = local, staging, remote, reserve

    def make_bucket(self, bucket: str) -> None:
        self._local.make(bucket)

    def drop_bucket(self, bucket: str) -> None:
        self._local.drop(bucket)

    def find(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        return self._of(bucket).find(bucket, prefix)

    def about(self, bucket: str, key: str) -> ObjectInfo:
        return self._of(bucket).about(bucket, key)

    def read(self, bucket: str, key: str, start: int, stop: int) -> Iterator[bytes]:
        return self._of(bucket).read(bucket, key, start, stop)

    @contextlib.contextmanager
    def opened(
        self, bucket: str, key: str, *, report: Callable[[int], None] = nothing, cancelled: Callable[[], bool] = never
    ) -> Iterator[int]:
        if bucket in self._remote:
            with self._fetched(self._remote[bucket], bucket, key, report, cancelled) as descriptor:
                yield descriptor
            return
        descriptor = self._local.open(bucket, key)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def put(
        self,
        bucket: str,
        key: str,
        source: Path,
        *,
        report: Callable[[int], None] = nothing,
        cancelled: Callable[[], bool] = never,
    ) -> None:
        self._of(bucket).put(bucket, key, source, report, cancelled)

    def remove(self, bucket: str, key: str) -> None:
        self._of(bucket).remove(bucket, key)

    def _of(self, bucket: str) -> Store:
        return self._remote.get(bucket, self._local)

    @contextlib.contextmanager
    def _fetched(
        self, store: Store, bucket: str, key: str, report: Callable[[int], None], cancelled: Callable[[], bool]
    ) -> Iterator[int]:
        """A descriptor of a copy in `staging`, which is swept when the agent starts."""
        about = store.about(bucket, key)
        self._staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_room(about)
        path = durable.temporary_path(self._staging / "object")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            self._fill(descriptor, store, bucket, about, report, cancelled)
            yield descriptor
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)

    def _check_room(self, about: ObjectInfo) -> None:
        """Room for what is fetched, and as much again for what is made of it."""
        usage = shutil.disk_usage(self._staging)
        reserved = self._reserve(usage.total)
        if about.size * 2 > usage.free - reserved:
            raise DriverError(
                f"the host's disk has no room for the object {about.key}: {about.size >> 20} MiB, twice, are needed "
                f"and {usage.free >> 20} MiB free, {reserved >> 20} of which are reserved (disk_reserve_gib)"
            )

    def _fill(
        self,
        descriptor: int,
        store: Store,
        bucket: str,
        about: ObjectInfo,
        report: Callable[[int], None],
        cancelled: Callable[[], bool],
    ) -> None:
        done = 0
        for start in range(0, about.size, _LOOK_BYTES):
            if cancelled():
                raise InterruptedError
            for piece in store.read(bucket, about.key, start, min(start + _LOOK_BYTES, about.size)):
                _write(descriptor, piece, about.key)
                done += len(piece)
            report(100 * done // about.size)
        if done != about.size or store.about(bucket, about.key).version != about.version:
            raise DriverError(
                f"the object {about.key} of the bucket {bucket} changed while it was read", transient=True
            )
        os.lseek(descriptor, 0, os.SEEK_SET)


def _write(descriptor: int, piece: bytes, key: str) -> None:
    try:
        view = memoryview(piece)
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        raise DriverError(f"cannot keep the object {key}: {error.strerror}") from None
