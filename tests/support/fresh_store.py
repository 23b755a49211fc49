"""New databases for tests, quickly: the migrations, which take as long as a whole test, run once per process."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from agent.store.store import Store


def fresh_store(path: Path) -> Store:
    """An opened, empty store in a new file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_empty())
    return Store(path)


@functools.cache
def _empty() -> bytes:
    """The file of a database that has just been migrated; closing it has emptied its journal."""
    with tempfile.TemporaryDirectory(prefix="ecs-test-") as directory:
        path = Path(directory) / "ecs.db"
        Store(path).close()
        return path.read_bytes()
