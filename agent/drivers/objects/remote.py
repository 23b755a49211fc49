"""Stores in the network: their clients are made when they are first used, since those are slow to load."""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from agent.core.errors import DriverError
from agent.core.specs import ObjectInfo
from agent.drivers.objects.stores import Store

METADATA = ("100.100.100.200", "169.254.169.254", "fd00:ec2::254")  # of clouds that this host may be a guest of


class Settings(Protocol):
    """agent.services.stores.ConfiguredStore is one."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def credentials_file(self) -> Path: ...
    @property
    def allow_private(self) -> bool: ...
    @property
    def ca_file(self) -> str: ...


class Credentials(NamedTuple):
    key_id: str
    secret: str


class GuardedStore:
    """A store whose client is made at the first call. Before each call its address is looked at: nothing of this host
    or its links is ever called unless the configuration says so."""

    def __init__(self, settings: Settings, connect: Callable[[Settings, Credentials], Store]) -> None:
        self._settings, self._connect = settings, connect
        self._guard = threading.Lock()
        self._client: Store | None = None

    def find(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        return self._ready().find(bucket, prefix)

    def about(self, bucket: str, key: str) -> ObjectInfo:
        return self._ready().about(bucket, key)

    def read(self, bucket: str, key: str, start: int, stop: int) -> Iterator[bytes]:
        return self._ready().read(bucket, key, start, stop)

    def put(
        self, bucket: str, key: str, source: Path, report: Callable[[int], None], cancelled: Callable[[], bool]
    ) -> None:
        self._ready().put(bucket, key, source, report, cancelled)

    def remove(self, bucket: str, key: str) -> None:
        self._ready().remove(bucket, key)

    def _ready(self) -> Store:
        if not self._settings.allow_private:
            check_address(self._settings.name, self._settings.endpoint)
        with self._guard:
            if self._client is None:
                self._client = self._connect(self._settings, read_credentials(self._settings))
            return self._client


def remote_stores(by_bucket: Mapping[str, Settings]) -> dict[str, Store]:
    """A store for each bucket; buckets of one store share it."""
    made: dict[str, Store] = {}
    return {
        bucket: made.setdefault(settings.name, GuardedStore(settings, _CONNECT[settings.kind]))
        for bucket, settings in by_bucket.items()
    }


def check_address(name: str, endpoint: str) -> None:
    """Raises DriverError when the endpoint is an address of this host, of its links, or a metadata service."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    try:
        found = socket.getaddrinfo(host, parts.port or parts.scheme, type=socket.SOCK_STREAM)
    except OSError as error:
        raise DriverError(f"cannot find the address of {host}: {error.strerror or error}", transient=True) from None
    for *_, address in found:
        text = str(address[0]).partition("%")[0]
        if not _is_allowed(text):
            raise DriverError(
                f"object_stores.{name}: {host} has the address {text}, which is this host's, of its links or of a "
                "metadata service; nothing is sent there unless allow_private = true is configured"
            )


def _is_allowed(text: str) -> bool:
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    refused = address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
    return not refused and str(address) not in METADATA


def read_credentials(settings: Settings) -> Credentials:
    """From the JSON file of mode 0600; raises DriverError, which never tells the content."""
    where = f"object_stores.{settings.name}.credentials_file {settings.credentials_file}"
    try:
        content = json.loads(settings.credentials_file.read_text())
        return Credentials(str(content["access_key_id"]), str(content["access_key_secret"]))
    except OSError as error:
        raise DriverError(f"cannot read {where}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        why = 'it must be {"access_key_id": "…", "access_key_secret": "…"}'
        raise DriverError(f"cannot use {where}: {why}") from None


def _s3(settings: Settings, credentials: Credentials) -> Store:
    from agent.drivers.objects.s3 import S3Store

    return S3Store(settings, credentials)


def _oss(settings: Settings, credentials: Credentials) -> Store:
    from agent.drivers.objects.oss import OssStore

    return OssStore(settings, credentials)


_CONNECT: dict[str, Callable[[Settings, Credentials], Store]] = {"s3": _s3, "oss": _oss}
