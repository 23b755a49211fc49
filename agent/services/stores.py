"""Object stores other than this host, as `[object_stores.NAME]` of the configuration describes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent.config import Config, ConfigError, check_secret

KINDS = ("s3", "oss")
_KEYS = ("kind", "endpoint", "region", "buckets", "credentials_file", "accounts", "allow_private", "ca_file")


@dataclass(frozen=True)
class ConfiguredStore:
    """One of them. `accounts`: who may use it, besides the host's owner nobody if there are none. `allow_private`: its
    address may be one of this host or of its links."""

    name: str
    kind: str
    endpoint: str
    buckets: tuple[str, ...]
    credentials_file: Path
    region: str = ""
    accounts: tuple[str, ...] = ()
    allow_private: bool = False
    ca_file: str = ""

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).hostname or ""


def stores_of(config: Config) -> dict[str, ConfiguredStore]:
    """By bucket. Raises ConfigError."""
    found: dict[str, ConfiguredStore] = {}
    for name, table in config.object_stores.items():
        store = _store(name, table)
        for bucket in store.buckets:
            if bucket in found:
                raise ConfigError(f"object_stores.{name}: the bucket {bucket!r} is one of {found[bucket].name}, too")
            found[bucket] = store
    return found


def check(config: Config) -> None:
    """At the agent's start. Raises ConfigError for what cannot be meant, and credentials that others may read."""
    for store in set(stores_of(config).values()):
        check_secret(f"object_stores.{store.name}.credentials_file", store.credentials_file)


def _store(name: str, table: dict[str, Any]) -> ConfiguredStore:
    where = f"object_stores.{name}"
    if unknown := sorted(set(table) - set(_KEYS)):
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(_KEYS)}")
    for key, kind in (("kind", str), ("endpoint", str), ("credentials_file", str), ("buckets", list)):
        if not isinstance(table.get(key), kind) or not table[key]:
            raise ConfigError(f"{where}: {key} is missing, or is no {kind.__name__}")
    if table["kind"] not in KINDS:
        raise ConfigError(f"{where}.kind = {table['kind']!r} must be one of {', '.join(KINDS)}")
    parts = urlsplit(table["endpoint"])
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise ConfigError(f"{where}.endpoint = {table['endpoint']!r} must be https://HOST[:PORT]")
    if not table["credentials_file"].startswith("/"):
        raise ConfigError(f"{where}.credentials_file must be an absolute path")
    return ConfiguredStore(
        name=name,
        kind=table["kind"],
        endpoint=table["endpoint"].rstrip("/"),
        buckets=_texts(table, "buckets", where),
        credentials_file=Path(table["credentials_file"]),
        region=_one(table, "region", str, where),
        accounts=_texts(table, "accounts", where),
        allow_private=_one(table, "allow_private", bool, where),
        ca_file=_one(table, "ca_file", str, where),
    )


def _texts(table: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    values = table.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise ConfigError(f"{where}.{key} must be a list of texts")
    return tuple(values)


def _one(table: dict[str, Any], key: str, kind: type, where: str) -> Any:
    value = table.get(key, kind())
    if not isinstance(value, kind):
        raise ConfigError(f"{where}.{key} = {value!r} must be a {kind.__name__}")
    return value
