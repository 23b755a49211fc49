"""Other regions, as `[regions.NAME]` of the configuration describes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent.config import Config, ConfigError, check_secret
from agent.core.errors import DriverError
from agent.drivers.region.peer import Peer, is_loopback

_KEYS = ("endpoint", "access_key_id", "secret_file", "ca_file")


@dataclass(frozen=True)
class Region:
    """One of them: its agent's addresses, the access key that ours has there, and the CA of its certificate."""

    name: str
    endpoints: tuple[str, ...]
    access_key_id: str
    secret_file: Path
    ca_file: Path | None

    @property
    def address(self) -> str:
        """HOST[:PORT] of the first endpoint."""
        return urlsplit(self.endpoints[0]).netloc

    def peer(self) -> Peer:
        return Peer(self.name, self.endpoints, self.access_key_id, self.secret_file, self.ca_file)


def regions_of(config: Config) -> dict[str, Region]:
    """By name. Raises ConfigError."""
    return {name: _region(name, table) for name, table in config.regions.items()}


def peer_of(config: Config, name: str) -> Peer:
    """Of a region as it is configured now. Raises DriverError when it is not, or wrongly."""
    try:
        found = regions_of(config).get(name)
    except ConfigError as error:
        raise DriverError(str(error)) from None
    if found is None:
        raise DriverError(f"the region {name} is not configured any more")
    return found.peer()


def check(config: Config) -> None:
    """At the agent's start. Raises ConfigError for what cannot be meant, and secrets that others may read."""
    for region in regions_of(config).values():
        if region.name == config.region_id:
            raise ConfigError(f"regions.{region.name}: that is this region")
        check_secret(f"regions.{region.name}.secret_file", region.secret_file)


def _region(name: str, table: dict[str, Any]) -> Region:
    where = f"regions.{name}"
    if unknown := sorted(set(table) - set(_KEYS)):
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(_KEYS)}")
    given = table.get("endpoint")
    endpoints = [given] if isinstance(given, str) else given
    if not isinstance(endpoints, list) or not endpoints:
        raise ConfigError(f"{where}.endpoint must be https://HOST[:PORT], or a list of such")
    texts = {key: table.get(key, "") for key in _KEYS[1:]}
    for key, value in texts.items():
        if not isinstance(value, str) or not (value or key == "ca_file"):
            raise ConfigError(f"{where}.{key} must be a text")
        if key.endswith("_file") and value and not value.startswith("/"):
            raise ConfigError(f"{where}.{key} = {value!r} must be an absolute path")
    return Region(
        name=name,
        endpoints=tuple(_endpoint(where, one) for one in endpoints),
        access_key_id=texts["access_key_id"],
        secret_file=Path(texts["secret_file"]),
        ca_file=Path(texts["ca_file"]) if texts["ca_file"] else None,
    )


def _endpoint(where: str, text: object) -> str:
    parts = urlsplit(text) if isinstance(text, str) else urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ConfigError(f"{where}.endpoint = {text!r} must be https://HOST[:PORT]")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ConfigError(f"{where}.endpoint = {text!r} must be https: http is for addresses of this host's loopback")
    return f"{parts.scheme}://{parts.netloc}"
