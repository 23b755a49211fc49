"""The database: migrations match the tables, writers exclude each other, secrets are sealed."""

import datetime as dt
import stat
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from cryptography.fernet import InvalidToken
from sqlalchemy import create_engine, func, select

from agent.store.schema import Account, Base, Disk, Instance
from agent.store.secrets import Sealer
from agent.store.store import MIGRATIONS, Store, newest_revision

COLUMNS_OF_DISKS = "SELECT name, type, \"notnull\" FROM pragma_table_info('disks')"
NOW = dt.datetime(2026, 11, 23, 7, 35, 12, tzinfo=dt.UTC)


@pytest.fixture
def store(tmp_path: Path):
    opened = Store(tmp_path / "ecs.db")
    yield opened
    opened.close()


def test_migrations_lead_to_the_tables_of_the_schema(store: Store) -> None:
    with store.read() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_database_of_the_first_schema_keeps_its_instances(tmp_path: Path) -> None:
    """What an agent of the first version has left is what the next one finds; and the way back works, too."""
    path = tmp_path / "old.db"
    engine = create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql("INSERT INTO accounts VALUES ('1', 'a', 1, '2026-11-23')")
        connection.exec_driver_sql(
            "INSERT INTO key_pairs VALUES ('k', '1', 'mine', 'aa', 'ssh-rsa AAAA', 0, '2026-11-23')"
        )
        columns = connection.exec_driver_sql("SELECT name, type, \"notnull\" FROM pragma_table_info('instances')").all()
        values = {
            name: 0 if "INT" in kind or "BOOL" in kind else f"'{name}'" for name, kind, needed in columns if needed
        }
        values |= {"account_id": "'1'", "key_pair_name": "'mine'", "created_at": "'2026-11-23'"}
        connection.exec_driver_sql(
            f"INSERT INTO instances ({', '.join(values)}) VALUES ({', '.join(map(str, values.values()))})"
        )
        old_disks = connection.exec_driver_sql(COLUMNS_OF_DISKS).all()
        connection.exec_driver_sql(
            "INSERT INTO disks VALUES ('d-1', '1', NULL, 'z', '', '', 'system', 'cloud', 20, NULL, 'Available', 'm',"
            " 'm-1', 1, 1, '2026-11-23', NULL)"
        )
    store = Store(path)
    with store.read() as session:
        instance = session.scalars(select(Instance)).one()
        assert (instance.seeded_keys, instance.virtio) == (["ssh-rsa AAAA"], True)
        assert (instance.metadata_enabled, instance.metadata_token_required) == (True, False)
        disk = session.scalars(select(Disk)).one()
        assert (disk.layer_id, disk.layer.tree, disk.layer.parent_id, disk.layer.image_file) == (
            "d-1",
            "d-1",
            None,
            "m-1",
        )
        assert (disk.layer.size_gib, disk.layer.state) == (20, "ready")
    store.close()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        assert (
            connection.exec_driver_sql("SELECT name, type, \"notnull\" FROM pragma_table_info('instances')").all()
            == columns
        )
        assert connection.exec_driver_sql(COLUMNS_OF_DISKS).all() == old_disks
        assert connection.exec_driver_sql("SELECT id, image_file FROM disks").all() == [("d-1", "m-1")]
    engine.dispose()


def test_the_newest_revision_is_known_without_alembic(store: Store) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [newest_revision()]
    with store.read() as session:
        assert session.connection().exec_driver_sql("SELECT version_num FROM alembic_version").all() == [
            (newest_revision(),)
        ]


def test_opening_again_keeps_the_content(store: Store) -> None:
    with store.write() as session:
        session.add(Account(id="1", name="a", created_at=NOW))
    again = Store(store.path)
    with again.read() as session:
        assert session.get_one(Account, "1").created_at == NOW
    again.close()


def test_an_exception_rolls_everything_back(store: Store) -> None:
    with pytest.raises(RuntimeError, match="stop"), store.write() as session:
        session.add(Account(id="1", name="a", created_at=NOW))
        session.flush()
        raise RuntimeError("stop")
    with store.read() as session:
        assert session.get(Account, "1") is None


def test_concurrent_writers_do_not_overshoot_a_limit(store: Store) -> None:
    """What a writer has counted stays true until it commits: the base of every quota."""

    def add_if_below_five(number: int) -> None:
        with store.write() as session:
            if session.scalar(select(func.count()).select_from(Account)) < 5:
                session.add(Account(id=str(number), name=str(number), created_at=NOW))

    threads = [threading.Thread(target=add_if_below_five, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Account)) == 5


def test_the_database_is_private_and_durable(store: Store) -> None:
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    with store.read() as session:
        connection = session.connection()
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_secrets_are_sealed_with_a_private_key_file(tmp_path: Path) -> None:
    path = tmp_path / "host.key"
    sealed = Sealer(path).seal("secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"secret" not in sealed
    assert Sealer(path).open(sealed) == "secret"
    with pytest.raises(InvalidToken):
        Sealer(tmp_path / "other.key").open(sealed)
