"""What disks and snapshots really take of the host's disk, beside what they are in the lists."""

from __future__ import annotations

from ecsctl.client import OWN, Client, unwrap
from ecsctl.errors import ApiError
from ecsctl.output import Column, Row, View, at

_AT_ONCE = 100
_KEY = "StorageUsage"  # in an item, beside what its own action says of it


def wanted(output: str, query: str | None) -> bool:
    """Whether it would be shown in a list."""
    return output == "wide" and not query


def add(client: Client, items: list[Row], noun: str) -> list[Row]:
    """The items with what is known of them; `noun`: Disk or Snapshot. A caller who may not see it gets them as they
    are, and so are items left that are gone meanwhile."""
    known: dict[str, Row] = {}
    ids = [str(item[f"{noun}Id"]) for item in items]
    for begin in range(0, len(ids), _AT_ONCE):
        try:
            answer = client.call("DescribeStorageUsage", OWN, **{f"{noun}Id": ids[begin : begin + _AT_ONCE]})
        except ApiError as error:
            if not error.forbidden and not error.code.endswith(".NotFound"):
                raise
            continue
        known |= {str(found[f"{noun}Id"]): found for found in unwrap(answer, f"{noun}s.{noun}")}
    return [{**item, _KEY: known.get(str(item[f"{noun}Id"]), {})} for item in items]


def size(count: int | None) -> str:
    """`1.5 GiB`; empty when it is not known."""
    if count is None:
        return ""
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B"


def _own(item: Row) -> str:
    """What is gone with the disk alone."""
    total, shared = at(item, f"{_KEY}.TotalBytes"), at(item, f"{_KEY}.SharedBytes")
    return "" if total is None else size(total - shared)


VIRTUAL = Column("VIRTUAL", lambda item: size(at(item, f"{_KEY}.VirtualBytes")), wide=True)
DISK_COLUMNS = (
    Column("REAL", _own, wide=True),
    Column("SHARED", lambda item: size(at(item, f"{_KEY}.SharedBytes")), wide=True),
    VIRTUAL,
)
SNAPSHOT_COLUMNS = (Column("REAL", lambda item: size(at(item, f"{_KEY}.AllocatedBytes")), wide=True), VIRTUAL)


def shown(view: View, *columns: Column) -> View:
    """The view with more columns at its end."""
    return View(columns=(*view.columns, *columns), name=view.name)
