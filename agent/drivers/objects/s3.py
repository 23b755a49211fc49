"""Buckets of an S3-compatible store, by boto3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from agent.core.errors import DriverError, NoSuchObject
from agent.core.specs import ObjectInfo

if TYPE_CHECKING:
    from agent.drivers.objects.remote import Credentials, Settings

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 10, 60, 4
PIECE = 1 << 20
_GONE = ("404", "NoSuchKey", "NoSuchBucket", "NotFound")


class S3Store:
    """Satisfies agent.drivers.objects.stores.Store."""

    def __init__(self, settings: Settings, credentials: Credentials) -> None:
        self._where = settings.endpoint
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"max_attempts": ATTEMPTS, "mode": "standard"},
            s3={"addressing_style": "path"},
            proxies={},  # what the environment says of proxies is not meant for this
        )
        self._client: Any = boto3.session.Session().client(
            "s3",
            endpoint_url=settings.endpoint,
            region_name=settings.region or "us-east-1",
            aws_access_key_id=credentials.key_id,
            aws_secret_access_key=credentials.secret,
            verify=settings.ca_file or None,
            config=config,
        )

    def find(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        with self._told(f"list the bucket {bucket}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            for page in pages:
                for found in page.get("Contents", ()):
                    yield ObjectInfo(found["Key"], found["Size"], found["LastModified"].timestamp(), _version(found))

    def about(self, bucket: str, key: str) -> ObjectInfo:
        with self._told(f"look at {key} of the bucket {bucket}"):
            found = self._client.head_object(Bucket=bucket, Key=key)
        return ObjectInfo(key, found["ContentLength"], found["LastModified"].timestamp(), _version(found))

    def read(self, bucket: str, key: str, start: int, stop: int) -> Iterator[bytes]:
        if start >= stop:
            return
        with self._told(f"read {key} of the bucket {bucket}"):
            body = self._client.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}")["Body"]
            try:
                yield from body.iter_chunks(PIECE)
            finally:
                body.close()

    def put(
        self, bucket: str, key: str, source: Path, report: Callable[[int], None], cancelled: Callable[[], bool]
    ) -> None:
        """In parts that appear as one object at the end; the parts of one that is broken off are taken away."""
        size, done = max(1, source.stat().st_size), 0

        def sent(count: int) -> None:
            nonlocal done
            done += count
            if cancelled():
                raise InterruptedError
            report(min(100, 100 * done // size))

        with self._told(f"write {key} to the bucket {bucket}"):
            self._client.upload_file(str(source), bucket, key, Callback=sent, Config=TransferConfig(use_threads=False))

    def remove(self, bucket: str, key: str) -> None:
        with self._told(f"delete {key} of the bucket {bucket}"):
            self._client.delete_object(Bucket=bucket, Key=key)

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Its errors as ours: one line, without anything that belongs to the credentials."""
        try:
            yield
        except ClientError as error:
            told = error.response.get("Error", {})
            code = str(told.get("Code", "unknown"))
            if code in _GONE:
                raise NoSuchObject(f"cannot {doing}: {self._where} has no such object") from None
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            why = f"{code}: {told.get('Message', '')}".rstrip(": ")
            raise DriverError(f"cannot {doing}: {self._where} answers {why}", transient=status >= 500) from None
        except HTTPClientError as error:
            raise DriverError(f"cannot {doing}: {error}", transient=True) from None
        except (BotoCoreError, Boto3Error) as error:
            raise DriverError(f"cannot {doing}: {error}") from None


def _version(found: dict[str, Any]) -> str:
    return str(found.get("ETag", "")).strip('"')
