"""Fixtures of tests.support.cloud, for the suites that use them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.store.store import Store
from tests.support.cloud import Cloud


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to start from: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("database") / "ecs.db"
    Store(path).close()
    return path


@pytest.fixture
def make_cloud(tmp_path: Path, empty_database: Path) -> Iterator[Callable[..., Cloud]]:
    made: list[Cloud] = []

    def make(**config: Any) -> Cloud:
        directory = tmp_path / str(len(made))
        directory.mkdir()
        shutil.copy(empty_database, directory / "ecs.db")
        made.append(Cloud(directory, **config))
        return made[-1]

    yield make
    for cloud in made:
        cloud.close()


@pytest.fixture
def cloud(make_cloud: Callable[..., Cloud]) -> Cloud:
    return make_cloud()
