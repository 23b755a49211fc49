"""The network: public addresses, port forwards, routes, secondary addresses, the classic network, bandwidth"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("vpcs", sa.Column("is_classic", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("vswitches", sa.Column("nat", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("network_interfaces", sa.Column("nic_type", sa.String(), nullable=False, server_default="intranet"))
    for way in ("in", "out"):
        op.add_column("instances", sa.Column(f"internet_{way}_mbps", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(
        "instances", sa.Column("internet_charge_type", sa.String(), nullable=False, server_default="PayByTraffic")
    )
    _add_addresses()
    _add_forwards()
    _add_routes()
    op.create_table(
        "filter_changes",
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("resource_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        sqlite_autoincrement=True,
    )


def _add_addresses() -> None:
    op.create_table(
        "secondary_addresses",
        sa.Column("vpc_id", sa.String(), nullable=False),
        sa.Column("ip", sa.String(), nullable=False),
        sa.Column("interface_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["vpc_id"], ["vpcs.id"]),
        sa.ForeignKeyConstraint(["interface_id"], ["network_interfaces.id"]),
        sa.PrimaryKeyConstraint("vpc_id", "ip"),
    )
    op.create_index("ix_secondary_addresses_interface_id", "secondary_addresses", ["interface_id"])
    op.create_table(
        "public_addresses",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("ip", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("bandwidth_mbps", sa.Integer(), nullable=False),
        sa.Column("charge_type", sa.String(), nullable=False),
        sa.Column("interface_id", sa.String(), nullable=True),
        sa.Column("private_ip", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"]),
        sa.ForeignKeyConstraint(["interface_id"], ["network_interfaces.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("ip"),
    )
    op.create_index("ix_public_addresses_account_id", "public_addresses", ["account_id"])
    op.create_index("ix_public_addresses_interface_id", "public_addresses", ["interface_id"])


def _add_forwards() -> None:
    op.create_table(
        "port_forwards",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("protocol", sa.String(), nullable=False),
        sa.Column("host_address", sa.String(), nullable=False),
        sa.Column("host_port", sa.Integer(), nullable=False),
        sa.Column("interface_id", sa.String(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"]),
        sa.ForeignKeyConstraint(["interface_id"], ["network_interfaces.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("protocol", "host_port", "host_address"),
    )
    op.create_index("ix_port_forwards_account_id", "port_forwards", ["account_id"])
    op.create_index("ix_port_forwards_interface_id", "port_forwards", ["interface_id"])


def _add_routes() -> None:
    op.create_table(
        "route_entries",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("vpc_id", sa.String(), nullable=False),
        sa.Column("cidr", sa.String(), nullable=False),
        sa.Column("next_hop_type", sa.String(), nullable=False),
        sa.Column("interface_id", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["vpc_id"], ["vpcs.id"]),
        sa.ForeignKeyConstraint(["interface_id"], ["network_interfaces.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("vpc_id", "cidr"),
    )
    op.create_index("ix_route_entries_vpc_id", "route_entries", ["vpc_id"])
    op.create_index("ix_route_entries_interface_id", "route_entries", ["interface_id"])


def _drop_triggers() -> None:
    """Those that store/filter_changes.py made."""
    found = sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'filter_changes_%'")
    for name in op.get_bind().scalars(found).all():
        op.execute(f"DROP TRIGGER {name}")


def downgrade() -> None:
    _drop_triggers()
    for table in ("filter_changes", "route_entries", "port_forwards", "public_addresses", "secondary_addresses"):
        op.drop_table(table)
    for column in ("internet_in_mbps", "internet_out_mbps", "internet_charge_type"):
        op.drop_column("instances", column)
    op.drop_column("network_interfaces", "nic_type")
    op.drop_column("vswitches", "nat")
    op.drop_column("vpcs", "is_classic")
