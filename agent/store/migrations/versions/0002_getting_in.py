"""Getting in: roles and policies, keys and passwords in effect, metadata options, the terminal's password"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _add_roles()
    # Columns are added in place, not by copying the tables: others refer to their rows.
    op.add_column("images", sa.Column("virtio", sa.Boolean(), nullable=False, server_default=sa.true()))
    for column in (
        sa.Column("password", sa.LargeBinary(), nullable=True),
        sa.Column("windows_seed_id", sa.String(), nullable=True),
        sa.Column("seeded_keys", sa.JSON(), nullable=False, server_default="[]"),
        sa.Column("virtio", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("ram_role_name", sa.String(), nullable=True),
        sa.Column("metadata_enabled", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("metadata_token_required", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("vnc_password", sa.LargeBinary(), nullable=True),
        sa.Column("vnc_password_active", sa.LargeBinary(), nullable=True),
        sa.Column("vnc_password_shown", sa.Boolean(), nullable=False, server_default=sa.false()),
    ):
        op.add_column("instances", column)
    _remember_seeded_keys()


def _add_roles() -> None:
    op.create_table(
        "roles",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("folded", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("trust_policy", sa.String(), nullable=False),
        sa.Column("max_session_seconds", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account_id", "folded"),
    )
    op.create_table(
        "policies",
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("folded", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"]),
        sa.PrimaryKeyConstraint("account_id", "folded"),
    )
    op.create_table(
        "policy_attachments",
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("principal_type", sa.String(), nullable=False),
        sa.Column("principal_id", sa.String(), nullable=False),
        sa.Column("policy_type", sa.String(), nullable=False),
        sa.Column("policy_folded", sa.String(), nullable=False),
        sa.Column("attached_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"]),
        sa.PrimaryKeyConstraint("account_id", "principal_type", "principal_id", "policy_type", "policy_folded"),
    )


def _remember_seeded_keys() -> None:
    """Until now a key was bound at creation only: what is bound is what the guest was started with."""
    connection = op.get_bind()
    bound = connection.execute(
        sa.text(
            "SELECT instances.id, key_pairs.public_key FROM instances JOIN key_pairs"
            " ON key_pairs.account_id = instances.account_id AND key_pairs.name = instances.key_pair_name"
        )
    ).all()
    for instance_id, public_key in bound:
        connection.execute(
            sa.text("UPDATE instances SET seeded_keys = :keys WHERE id = :id"),
            {"keys": json.dumps([public_key]), "id": instance_id},
        )


def downgrade() -> None:
    for table in ("policy_attachments", "policies", "roles"):
        op.drop_table(table)
    op.drop_column("images", "virtio")
    for name in (
        *("password", "windows_seed_id", "seeded_keys", "virtio", "ram_role_name", "metadata_enabled"),
        *("metadata_token_required", "vnc_password", "vnc_password_active", "vnc_password_shown"),
    ):
        op.drop_column("instances", name)
