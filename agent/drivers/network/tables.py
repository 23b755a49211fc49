"""What the kernel has of our tables, and bringing it to what is wanted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from pyroute2.netlink.nfnetlink import nftsocket as nft

from agent.drivers.network.nfnl import NfError, NfSocket, attributes, number, string
from agent.drivers.network.ruleset import Found, Hook, SetKind, Table, change, prepared, remove, replace, taken_over

log = logging.getLogger(__name__)

_TABLE_FLAGS = 2  # attributes
_CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 3, 4, 5, 7
_HOOK_NUMBER, _HOOK_PRIORITY = 1, 2
_SET_NAME, _SET_FLAGS, _KEY_TYPE, _KEY_LENGTH, _DATA_TYPE = 2, 3, 4, 5, 6
_DROP = 0


class KernelTables:
    """Our nftables tables in the namespace of the thread that makes this; usable from any thread."""

    def __init__(self) -> None:
        self._nf = NfSocket()
        self._lock = threading.Lock()
        self._applied: tuple[Table, ...] | None = None  # what the kernel has; None: not known
        self._wanted: tuple[Table, ...] = ()

    def close(self) -> None:
        with self._lock:  # not while another thread waits for the kernel's answer
            self._nf.close()

    @property
    def port(self) -> int:
        """By which the kernel says that we changed something."""
        return self._nf.port

    def names(self) -> set[tuple[int, str]]:
        """Family and name of each table that was applied last."""
        return {(table.family, table.name) for table in self._wanted}

    def apply(self, wanted: tuple[Table, ...]) -> None:
        """What differs only: a batch with what is new and nothing leads to, then, at one moment, all that decides.

        The first call takes over what a former agent left, without losing a packet if it can be told what that is.
        """
        with self._lock:
            self._apply(wanted)

    def _apply(self, wanted: tuple[Table, ...]) -> None:
        before, self._applied = self._applied, None
        self._wanted = wanted
        if before is None or not self._changed(before, wanted):
            self._apply_first(wanted)
        self._applied = wanted

    def applied(self) -> tuple[Table, ...] | None:
        """What the kernel has, None if that is not known."""
        with self._lock:
            return self._applied

    def forget(self) -> None:
        """The kernel may have anything: the next `apply` looks."""
        with self._lock:
            self._applied = None

    def restore(self) -> None:
        """Somebody else changed the tables: they become again what was applied last, whoever applies more meanwhile."""
        with self._lock:
            self._applied = None
            if self._wanted:
                self._apply(self._wanted)

    def _changed(self, before: tuple[Table, ...], wanted: tuple[Table, ...]) -> bool:
        """Whether the kernel took the difference; it does not if somebody else changed the tables."""
        try:
            self._bring(before, wanted)
        except NfError as error:
            log.warning("the filter is not what it was: %s", error)
            return False
        return True

    def _apply_first(self, wanted: tuple[Table, ...]) -> None:
        try:
            self._bring([self._taken_over(table) for table in wanted], wanted)
        except NfError as error:
            log.warning("replacing the filter, which is not as expected: %s", error)
            self._bring([None] * len(wanted), wanted)

    def _bring(self, before: Sequence[Table | None], wanted: tuple[Table, ...]) -> None:
        """From what the kernel has to what is wanted; what is None is not known, and gives way."""
        middle = [prepared(old, new) for old, new in zip(before, wanted, strict=True)]
        first = zip(before, middle, strict=True)
        self._nf.commit(m for old, new in first for m in (change(old, new) if old else replace(new)))
        self._nf.commit(m for old, new in zip(middle, wanted, strict=True) for m in change(old, new))

    def _taken_over(self, table: Table) -> Table | None:
        found = self._found(table)
        return taken_over(table, found) if found else None

    def chains(self, family: int, name: str) -> set[str]:
        """The chains of a table, none if there is no such table."""
        with self._lock:
            return {string(one[_CHAIN_NAME]) for one in self._nf.things(nft.NFT_MSG_GETCHAIN, family, name)}

    def elements(self, family: int, table: str, name: str) -> list[tuple[bytes, bytes]]:
        """Keys and values of a map, none if there is no such map."""
        with self._lock:
            return self._nf.elements(family, table, name)

    def remove(self, family: int, name: str) -> None:
        with self._lock:
            self._nf.commit(remove(family, name))
            self._applied = None
            self._wanted = tuple(table for table in self._wanted if (table.family, table.name) != (family, name))

    def _found(self, table: Table) -> Found | None:
        def ask(kind: int) -> list[dict[int, bytes]]:
            return self._nf.things(kind, table.family, table.name)

        tables = ask(nft.NFT_MSG_GETTABLE)
        if not tables:
            return None
        others = any(ask(kind) for kind in (nft.NFT_MSG_GETOBJ, nft.NFT_MSG_GETFLOWTABLE))
        return Found(
            {string(one[_CHAIN_NAME]): _hook(one) for one in ask(nft.NFT_MSG_GETCHAIN)},
            {string(one[_SET_NAME]): _set_kind(one) for one in ask(nft.NFT_MSG_GETSET)},
            plain=not others and not any(tables[0].get(_TABLE_FLAGS, b"")),
            intact=self._intact(table),
        )

    def _intact(self, table: Table) -> frozenset[str]:
        """Interval sets are looked into: to fill one anew takes the kernel many times as long."""
        return frozenset(
            name
            for name, value in table.sets.items()
            if value.interval and self._nf.intervals(table.family, table.name, name, value.key_length) == value.bounds()
        )


def _hook(chain: dict[int, bytes]) -> Hook | None:
    if _CHAIN_HOOK not in chain:
        return None
    where = dict(attributes(chain[_CHAIN_HOOK]))
    drop = number(chain[_CHAIN_POLICY]) == _DROP
    return Hook(number(where[_HOOK_NUMBER]), number(where[_HOOK_PRIORITY]), string(chain[_CHAIN_TYPE]), drop=drop)


def _set_kind(one: dict[int, bytes]) -> SetKind:
    flags, data = (number(one[kind]) if kind in one else 0 for kind in (_SET_FLAGS, _DATA_TYPE))
    return number(one[_KEY_TYPE]), number(one[_KEY_LENGTH]), flags, data & 0xFFFFFFFF
