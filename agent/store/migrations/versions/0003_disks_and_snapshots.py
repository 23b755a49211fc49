"""Disks and snapshots: the tree of layers, snapshots, their policies, what disks did"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_DISK_COLUMNS = (
    "layer_id",
    "source_snapshot_id",
    "auto_snapshot_policy_id",
    "auto_snapshot_hour",
    "auto_snapshot_skipped",
    "detached_at",
    "enable_auto_snapshot",
)


def upgrade() -> None:
    _add_layers()
    _add_policies()
    _add_snapshots()
    _add_samples()
    _add_disk_columns()


def _add_layers() -> None:
    op.create_table(
        "layers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tree", sa.String(), nullable=False),
        sa.Column("parent_id", sa.String(), nullable=True),
        sa.Column("image_file", sa.String(), nullable=True),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["parent_id"], ["layers.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("tree", "parent_id", "image_file"):
        op.create_index(f"ix_layers_{column}", "layers", [column])
    # Until now each disk was one file, named after it.
    op.execute(
        "INSERT INTO layers (id, tree, parent_id, image_file, size_gib, state, created_at) SELECT id, id, NULL,"
        " image_file, size_gib, CASE status WHEN 'Creating' THEN 'creating' ELSE 'ready' END, created_at FROM disks"
    )


def _add_policies() -> None:
    op.create_table(
        "auto_snapshot_policies",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("hours", sa.JSON(), nullable=False),
        sa.Column("weekdays", sa.JSON(), nullable=False),
        sa.Column("retention_days", sa.Integer(), nullable=False),
        sa.Column("time_zone", sa.String(), nullable=True),
        sa.Column("last_hour", sa.DateTime(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_auto_snapshot_policies_account_id", "auto_snapshot_policies", ["account_id"])


def _add_snapshots() -> None:
    op.create_table(
        "snapshots",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("disk_id", sa.String(), nullable=False),
        sa.Column("layer_id", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("policy_id", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("consistency", sa.String(), nullable=False),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("disk_kind", sa.String(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.Column("image_id", sa.String(), nullable=True),
        sa.Column("retention_days", sa.Integer(), nullable=True),
        sa.Column("expires_at", sa.DateTime(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"]),
        sa.ForeignKeyConstraint(["layer_id"], ["layers.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("layer_id"),
    )
    for column in ("account_id", "disk_id", "expires_at"):
        op.create_index(f"ix_snapshots_{column}", "snapshots", [column])


def _add_samples() -> None:
    op.create_table(
        "disk_samples",
        sa.Column("disk_id", sa.String(), nullable=False),
        sa.Column("period", sa.Integer(), nullable=False),
        sa.Column("start", sa.DateTime(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("reads", sa.Integer(), nullable=False),
        sa.Column("writes", sa.Integer(), nullable=False),
        sa.Column("bytes_read", sa.Integer(), nullable=False),
        sa.Column("bytes_written", sa.Integer(), nullable=False),
        sa.Column("read_us", sa.Integer(), nullable=False),
        sa.Column("write_us", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("disk_id", "period", "start"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_disk_samples_age", "disk_samples", ["period", "start"])


def _add_disk_columns() -> None:
    # In place, not by copying the table; SQLite can add a reference only to a column that may be empty.
    op.execute("ALTER TABLE disks ADD COLUMN layer_id VARCHAR REFERENCES layers (id)")
    op.execute("UPDATE disks SET layer_id = id")
    op.create_index("ix_disks_layer_id", "disks", ["layer_id"], unique=True)
    op.add_column("disks", sa.Column("source_snapshot_id", sa.String(), nullable=True))
    op.execute("ALTER TABLE disks ADD COLUMN auto_snapshot_policy_id VARCHAR REFERENCES auto_snapshot_policies (id)")
    op.add_column("disks", sa.Column("auto_snapshot_hour", sa.DateTime(), nullable=True))
    op.add_column("disks", sa.Column("auto_snapshot_skipped", sa.String(), nullable=True))
    op.add_column("disks", sa.Column("detached_at", sa.DateTime(), nullable=True))
    op.add_column("disks", sa.Column("enable_auto_snapshot", sa.Boolean(), nullable=False, server_default=sa.true()))
    for column in ("source_snapshot_id", "auto_snapshot_policy_id"):
        op.create_index(f"ix_disks_{column}", "disks", [column])


def downgrade() -> None:
    """Only without snapshots: the older code knows disks of one file, named after the disk."""
    found = op.get_bind().execute(sa.text("SELECT count(*) FROM disks WHERE layer_id <> id")).scalar()
    if found:
        raise RuntimeError(f"{found} disks consist of layers, which the older version cannot use")
    for column in ("layer_id", "source_snapshot_id", "auto_snapshot_policy_id"):
        op.drop_index(f"ix_disks_{column}", "disks")
    with op.batch_alter_table("disks") as disks:
        for column in _DISK_COLUMNS:
            disks.drop_column(column)
    for table in ("disk_samples", "snapshots", "auto_snapshot_policies", "layers"):
        op.drop_table(table)
