"""Opening the database and its transactions.

SQLite in WAL mode with `synchronous=FULL`: what was acknowledged survives a power cut. Writers take the
write lock when they begin, so that what a transaction checked (a quota, a free address) is still true
when it commits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from agent.store import filter_changes

BUSY_SECONDS = 30
MIGRATIONS = Path(__file__).parent / "migrations"


class Store:
    """The database file at `path`, migrated to the newest schema when opened."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self.path = path
        self._readers = _engine(path, begin="BEGIN")
        self._writers = _engine(path, begin="BEGIN IMMEDIATE")
        _migrate(self._writers)
        with self._writers.begin() as connection:
            filter_changes.install(connection)

    def close(self) -> None:
        self._readers.dispose()
        self._writers.dispose()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent view; nothing it changes is kept."""
        session = Session(self._readers)
        try:
            yield session
        finally:
            session.close()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction holding the write lock; committed at the end, rolled back on any exception."""
        session = Session(self._writers, expire_on_commit=False)
        try:
            yield session
            session.commit()
        except BaseException:
            session.rollback()
            raise
        finally:
            session.close()


def _engine(path: Path, begin: str) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS}, pool_size=8, max_overflow=24)

    @event.listens_for(engine, "connect")
    def configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # The driver's own implicit BEGIN is deferred; ours, below, says what we mean.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def start(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def newest_revision() -> str:
    """The schema that the code expects. Migrations are files named `<revision>_<what>.py`, numbered in order."""
    return max(path.name.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _migrate(engine: Engine) -> None:
    with engine.begin() as connection:
        if _revision(connection) == newest_revision():
            return
        # Only now: importing Alembic takes a quarter of the agent's time to start and a tenth of its memory.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    """The schema of the database; None before the first migration."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
