"""The kernel's tables while several threads change them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from stage import make_namespace
from vpc_lab import Lab

from agent.drivers.network import expressions as x
from agent.drivers.network import netns
from agent.drivers.network.ruleset import Chain, Table
from agent.drivers.network.tables import KernelTables

pytestmark = pytest.mark.net


@pytest.fixture
def tables(lab: Lab) -> Iterator[KernelTables]:
    place = make_namespace(f"{lab.prefix}-tables")
    try:
        with closing(place.run(KernelTables)) as found:
            yield found
    finally:
        place.close()
        netns.remove(str(place.name))


def table(*chains: str) -> Table:
    return Table(x.NFPROTO_INET, "t", {}, {name: Chain(()) for name in chains})


class Overtaken:
    """The lock of tables: whoever takes it comes second, after another thread that applied a table of its own."""

    def __init__(self, tables: KernelTables) -> None:
        self._tables, self._lock = tables, tables._lock
        self.newest = ""

    def __enter__(self) -> None:
        self.newest += "x"
        self._tables._lock = self._lock
        self._tables.apply((table(self.newest),))
        self._tables._lock = self  # type: ignore[assignment]
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def test_a_repair_undoes_nothing_that_was_applied_meanwhile(tables: KernelTables) -> None:
    tables.apply((table("old"),))
    lock, overtaken = tables._lock, Overtaken(tables)
    tables._lock = overtaken  # type: ignore[assignment]
    tables.restore()
    tables._lock = lock
    assert tables.chains(x.NFPROTO_INET, "t") == {overtaken.newest}
