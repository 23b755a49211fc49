"""Which security groups and network interfaces changed, in an order: kept by triggers, so that no writer can forget it.

Whoever knows the filters as they were at a `sequence` reads what changed since, not everything. The triggers are made
anew whenever the database is opened: a migration that copies a table loses them.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.orm import Session

from agent.store.schema import FilterChange

_KEPT = 10_000  # changes; whoever is further behind reads everything
# By table, the column that says which group or interface a row of it belongs to.
_OWNERS = {
    "security_groups": "id",
    "security_group_rules": "group_id",
    "network_interfaces": "id",
    "group_memberships": "interface_id",
    "secondary_addresses": "interface_id",
    "route_entries": "interface_id",
}
_ROWS = {"INSERT": ("NEW",), "UPDATE": ("OLD", "NEW"), "DELETE": ("OLD",)}


def install(connection: Connection) -> None:
    """Make the triggers, where they are not what they should be."""
    wanted = dict(_triggers())
    found = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'filter_changes_%'"
    present = {str(name): str(sql) for name, sql in connection.exec_driver_sql(found)}
    for name in [name for name in present if present[name] != wanted.get(name)]:
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
        del present[name]
    for name in wanted.keys() - present.keys():
        connection.exec_driver_sql(wanted[name])


def _triggers() -> Iterator[tuple[str, str]]:
    for table, column in _OWNERS.items():
        for event, rows in _ROWS.items():
            name = f"filter_changes_{table}_{event.lower()}"
            owners = " UNION ".join(f"SELECT {row}.{column} AS owner" for row in rows)
            noted = f"INSERT INTO filter_changes (resource_id) SELECT owner FROM ({owners}) WHERE owner IS NOT NULL"
            yield name, f"CREATE TRIGGER {name} AFTER {event} ON {table} BEGIN {noted}; END"


def newest(session: Session) -> int:
    """The sequence of the last change, 0 before the first one."""
    return session.scalar(select(func.max(FilterChange.sequence))) or 0


def since(session: Session, sequence: int) -> set[str] | None:
    """Ids of groups and interfaces that changed after `sequence`, new and deleted ones too; None: not known so far
    back."""
    oldest = session.scalar(select(func.min(FilterChange.sequence))) or 0
    if sequence + 1 < oldest:
        return None
    found = select(FilterChange.resource_id).where(FilterChange.sequence > sequence).distinct()
    return set(session.scalars(found))


def prune(session: Session) -> None:
    """Forget all but the last changes."""
    session.execute(delete(FilterChange).where(FilterChange.sequence <= newest(session) - _KEPT))
