"""Buckets of an OSS-compatible store, by oss2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import oss2

from agent.core.errors import DriverError, NoSuchObject
from agent.core.specs import ObjectInfo

if TYPE_CHECKING:
    from agent.drivers.objects.remote import Credentials, Settings

CONNECT_SECONDS = 60  # also for each read: the client knows one time limit only
PIECE = 1 << 20
PART = 16 << 20  # bytes, of what is sent; grows with the object, which may have 10,000 of them
MOST_PARTS = 10_000


class OssStore:
    """Satisfies agent.drivers.objects.stores.Store."""

    def __init__(self, settings: Settings, credentials: Credentials) -> None:
        self._settings = settings
        self._auth = (
            oss2.AuthV4(credentials.key_id, credentials.secret)
            if settings.region
            else oss2.Auth(credentials.key_id, credentials.secret)
        )
        self._session = oss2.Session()
        # Answers that lead elsewhere could lead anywhere.
        self._session.session.max_redirects = 0
        self._session.session.trust_env = False
        if settings.ca_file:
            self._session.session.verify = settings.ca_file

    def find(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        with self._told(f"list the bucket {bucket}"):
            for found in oss2.ObjectIteratorV2(self._bucket(bucket), prefix=prefix):
                yield ObjectInfo(found.key, found.size, float(found.last_modified), found.etag)

    def about(self, bucket: str, key: str) -> ObjectInfo:
        with self._told(f"look at {key} of the bucket {bucket}"):
            found = self._bucket(bucket).head_object(key)
        return ObjectInfo(key, found.content_length or 0, float(found.last_modified or 0), found.etag or "")

    def read(self, bucket: str, key: str, start: int, stop: int) -> Iterator[bytes]:
        if start >= stop:
            return
        with self._told(f"read {key} of the bucket {bucket}"):
            # Also the checksum of a part is right only for the part: the whole is checked by its size and version.
            found = self._bucket(bucket).get_object(key, byte_range=(start, stop - 1))
            try:
                while piece := found.read(PIECE):
                    yield piece
            finally:
                found.close()

    def put(
        self, bucket: str, key: str, source: Path, report: Callable[[int], None], cancelled: Callable[[], bool]
    ) -> None:
        """In parts that appear as one object at the end; the parts of one that is broken off are taken away."""
        size = source.stat().st_size
        part_size = max(PART, -(-size // MOST_PARTS))
        target = self._bucket(bucket)
        with self._told(f"write {key} to the bucket {bucket}"):
            upload_id = target.init_multipart_upload(key).upload_id
            try:
                parts = []
                with open(source, "rb") as stream:
                    for number, start in enumerate(range(0, max(1, size), part_size), 1):
                        if cancelled():
                            raise InterruptedError
                        content = oss2.SizedFileAdapter(stream, min(part_size, size - start))
                        sent = target.upload_part(key, upload_id, number, content)
                        parts.append(oss2.models.PartInfo(number, sent.etag, part_crc=sent.crc))
                        report(min(100, 100 * (start + part_size) // max(1, size)))
                target.complete_multipart_upload(key, upload_id, parts)
            except BaseException:
                with suppress(oss2.exceptions.OssError):  # what went wrong first is what counts
                    target.abort_multipart_upload(key, upload_id)
                raise

    def remove(self, bucket: str, key: str) -> None:
        with self._told(f"delete {key} of the bucket {bucket}"):
            self._bucket(bucket).delete_object(key)

    def _bucket(self, name: str) -> Any:
        settings = self._settings
        return oss2.Bucket(
            self._auth,
            settings.endpoint,
            name,
            session=self._session,
            connect_timeout=CONNECT_SECONDS,
            region=settings.region or None,
        )

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Its errors as ours: one line. Its own texts hold request headers, and those a signature."""
        where = self._settings.endpoint
        try:
            yield
        except (oss2.exceptions.NoSuchKey, oss2.exceptions.NoSuchBucket, oss2.exceptions.NotFound):
            raise NoSuchObject(f"cannot {doing}: {where} has no such object") from None
        except oss2.exceptions.RequestError as error:
            why = type(getattr(error, "exception", error)).__name__
            raise DriverError(f"cannot {doing}: no connection with {where} ({why})", transient=True) from None
        except oss2.exceptions.OssError as error:
            why = f"{error.code}: {error.message}".strip(": ") or f"HTTP {error.status}"
            raise DriverError(f"cannot {doing}: {where} answers {why}", transient=error.status >= 500) from None
