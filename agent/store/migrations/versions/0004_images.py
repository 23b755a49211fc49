"""Images: what they are made of and shared with, buckets and uploads, cancelling jobs"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_IMAGE_COLUMNS = {
    "family": "",
    "version": "",
    "message": "",
    "origin": "catalogue",
    "source_id": "",
    "setup": "seed",
    "default_user": "root",
}


def upgrade() -> None:
    for name, default in _IMAGE_COLUMNS.items():
        op.add_column("images", sa.Column(name, sa.String(), nullable=False, server_default=default))
    _add_disks()
    _add_shares()
    _add_buckets()
    op.add_column("jobs", sa.Column("cancelling", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("instances", sa.Column("setup", sa.String(), nullable=False, server_default="seed"))
    op.add_column("instances", sa.Column("iso_file", sa.String(), nullable=True))
    op.add_column("snapshots", sa.Column("system", sa.JSON(), nullable=True))


def _add_disks() -> None:
    op.create_table(
        "image_disks",
        sa.Column("image_id", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("snapshot_id", sa.String(), nullable=True),
        sa.Column("file", sa.String(), nullable=True),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("import_format", sa.String(), nullable=False),
        sa.Column("import_bucket", sa.String(), nullable=False),
        sa.Column("import_object", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"]),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"]),
        sa.PrimaryKeyConstraint("image_id", "device"),
    )
    for column in ("snapshot_id", "file"):
        op.create_index(f"ix_image_disks_{column}", "image_disks", [column])
    # Until now every image was one file.
    op.execute(
        "INSERT INTO image_disks SELECT id, '/dev/xvda', 'system', size_gib, NULL, file, 'qcow2', '', '', ''"
        " FROM images WHERE file IS NOT NULL"
    )
    op.drop_column("images", "file")


def _add_shares() -> None:
    op.create_table(
        "image_shares",
        sa.Column("image_id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("shared_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"]),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"]),
        sa.PrimaryKeyConstraint("image_id", "account_id"),
    )
    op.create_index("ix_image_shares_account_id", "image_shares", ["account_id"])


def _add_buckets() -> None:
    op.create_table(
        "buckets",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"]),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("bucket", sa.String(), nullable=False),
        sa.Column("object", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("touched_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_buckets_account_id", "buckets", ["account_id"])
    op.create_index("ix_uploads_account_id", "uploads", ["account_id"])
    op.create_index("ix_uploads_touched_at", "uploads", ["touched_at"])


def downgrade() -> None:
    op.add_column("images", sa.Column("file", sa.String(), nullable=True))
    op.execute(
        "UPDATE images SET file = (SELECT file FROM image_disks WHERE image_id = images.id AND kind = 'system'"
        " AND format = 'qcow2')"
    )
    for table in ("uploads", "buckets", "image_shares", "image_disks"):
        op.drop_table(table)
    for name in _IMAGE_COLUMNS:
        op.drop_column("images", name)
    op.drop_column("jobs", "cancelling")
    op.drop_column("snapshots", "system")
    op.drop_column("instances", "setup")
    op.drop_column("instances", "iso_file")
