"""What the kernel has of our tables, and bringing it to what is wanted."""

from __future__ import annotations

import logging
import threading

from pyroute2.netlink.nfnetlink import nftsocket as nft

from agent.drivers.network.nfnl import Message, NfError, NfSocket
from agent.drivers.network.ruleset import Table, change, layout, remove, replace, take_over

log = logging.getLogger(__name__)

_CHAIN_NAME, _SET_NAME = 3, 2  # attributes


class KernelTables:
    """Our nftables tables in the namespace of the thread that makes this; usable from any thread."""

    def __init__(self) -> None:
        self._nf = NfSocket()
        self._lock = threading.Lock()
        self._applied: tuple[Table, ...] | None = None  # what the kernel has; None: not known

    def close(self) -> None:
        self._nf.close()

    def apply(self, wanted: tuple[Table, ...]) -> None:
        """One atomic batch, of what differs only.

        The first one takes over what a former agent left, without losing a packet if it can be told what that is.
        """
        with self._lock:
            before, self._applied = self._applied, None
            if before is None or not self._changed(before, wanted):
                self._apply_first(wanted)
            self._applied = wanted

    def forget(self) -> None:
        """The kernel may have anything: the next `apply` looks."""
        with self._lock:
            self._applied = None

    def _changed(self, before: tuple[Table, ...], wanted: tuple[Table, ...]) -> bool:
        """Whether the kernel took the difference; it does not if somebody else changed the tables."""
        try:
            self._nf.commit(m for old, new in zip(before, wanted, strict=True) for m in change(old, new))
        except NfError as error:
            log.warning("the filter is not what it was: %s", error)
            return False
        return True

    def _apply_first(self, wanted: tuple[Table, ...]) -> None:
        try:
            self._nf.commit([message for table in wanted for message in self._first(table)])
        except NfError as error:
            log.warning("replacing the filter, which is not as expected: %s", error)
            self._nf.commit([message for table in wanted for message in replace(table)])

    def _first(self, table: Table) -> list[Message]:
        chains = self._names(table.family, table.name, nft.NFT_MSG_GETCHAIN, _CHAIN_NAME)
        if layout(table) not in chains:
            return list(replace(table))
        return list(take_over(table, chains, self._names(table.family, table.name, nft.NFT_MSG_GETSET, _SET_NAME)))

    def chains(self, family: int, name: str) -> set[str]:
        """The chains of a table, none if there is no such table."""
        with self._lock:
            return self._names(family, name, nft.NFT_MSG_GETCHAIN, _CHAIN_NAME)

    def elements(self, family: int, table: str, name: str) -> list[tuple[bytes, bytes]]:
        """Keys and values of a map, none if there is no such map."""
        with self._lock:
            return self._nf.elements(family, table, name)

    def remove(self, family: int, name: str) -> None:
        with self._lock:
            self._nf.commit(remove(family, name))
            self._applied = None

    def _names(self, family: int, name: str, kind: int, attribute: int) -> set[str]:
        return self._nf.names(kind, family, name, attribute)
