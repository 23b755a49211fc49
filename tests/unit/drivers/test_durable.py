"""Files that are whole or not there."""

from pathlib import Path

import pytest

from agent.core.errors import DriverError
from agent.drivers import durable


def test_write_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a" / "file"
    durable.write(target, b"one", 0o600)
    durable.write(target, b"two", 0o640)
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_write_names_what_it_could_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DriverError, match=r"cannot write .*/file/below: "):
        durable.write(tmp_path / "file" / "below", b"", 0o600)


def test_sweep_takes_only_the_unfinished(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    unfinished = durable.temporary_path(tmp_path / "kept")
    unfinished.touch()
    staging = durable.temporary_path(tmp_path / "staging")
    staging.mkdir()
    (staging / "secret").touch()
    assert durable.sweep(tmp_path) == sorted([unfinished.name, staging.name])
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert durable.sweep(tmp_path) == []
    assert durable.sweep(tmp_path / "missing") == []


def test_remove_is_repeatable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    durable.remove(tmp_path / "file")
    durable.remove(tmp_path / "file")
    assert not list(tmp_path.iterdir())
