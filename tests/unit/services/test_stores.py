"""Which stores a configuration describes, and what it must not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.config import Config, ConfigError
from agent.services import stores

TABLE = {"kind": "s3", "endpoint": "https://s3.example.com/", "buckets": ["one", "two"], "credentials_file": "/x"}


def _config(**change: Any) -> Config:
    return Config(object_stores={"far": {k: v for k, v in (TABLE | change).items() if v is not None}})


def test_stores_are_known_by_their_buckets() -> None:
    found = stores.stores_of(_config())
    assert set(found) == {"one", "two"}
    assert (found["one"].endpoint, found["one"].host, found["one"].allow_private) == (
        "https://s3.example.com",
        "s3.example.com",
        False,
    )


def test_what_cannot_be_meant_is_told_with_its_name() -> None:
    for change in (
        {"kind": "ftp"},
        {"kind": None},
        {"buckets": []},
        {"buckets": [1]},
        {"buckets": ["one", "one"]},
        {"endpoint": "s3.example.com"},
        {"endpoint": "https://s3.example.com/path"},
        {"credentials_file": "relative"},
        {"allow_private": "yes"},
        {"secret": "never here"},
    ):
        with pytest.raises(ConfigError, match=r"object_stores\.far"):
            stores.stores_of(_config(**change))


def test_credentials_are_for_nobody_else_to_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    config = _config(credentials_file=str(secret))
    with pytest.raises(ConfigError, match="No such file"):
        stores.check(config)
    secret.write_text("{}")
    secret.chmod(0o640)
    with pytest.raises(ConfigError, match="0600"):
        stores.check(config)
    secret.chmod(0o600)
    stores.check(config)
