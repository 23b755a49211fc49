"""Guests that wait for room on the host: QEMU pauses one when its write finds the disk full, and nothing is lost.

They are told of, and resumed by themselves once there is room. Who waits is kept in memory: the database may be on the
same disk and cannot be written then.
"""

from __future__ import annotations

import datetime as dt

from sqlalchemy.orm import Session

from agent.core.protocols import Storage
from agent.core.specs import DomainInfo, DomainState
from agent.jobs import journal
from agent.store.schema import Instance

RESUME = "instance.resume"
REASON = "paused because the host's disk is full: free some space there, the guest then goes on by itself"
AGAIN_SECONDS = 5.0  # between looks for room
# Less room than this would only pause them again: the smaller one of so much and of a part of the file system.
ENOUGH_BYTES, ENOUGH_PART = 256 * 2**20, 50


class Stalled:
    """`guests`: ids of the instances that wait."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.guests: set[str] = set()

    def problems(self) -> list[str]:
        """One line each, for the host's owner."""
        return [f"{instance_id} is {REASON}" for instance_id in sorted(self.guests)]

    def compare(self, session: Session, instance: Instance, info: DomainInfo, now: dt.datetime) -> None:
        """Of an instance whose domain is active and that no job works on."""
        if info.state is DomainState.PAUSED and info.reason == "io error":
            self.guests.add(instance.id)
            if self._is_room():
                journal.enqueue(session, RESUME, instance.id, now, account_id=instance.account_id)
            return
        self.guests.discard(instance.id)

    def reason(self, instance_id: str) -> str:
        """Why a guest waits; empty: it does not."""
        return REASON if instance_id in self.guests else ""

    def keep(self, ids: set[str]) -> None:
        """Forget those that are off or gone."""
        self.guests &= ids

    def _is_room(self) -> bool:
        total, available = self._storage.capacity_bytes()
        return available >= min(ENOUGH_BYTES, total // ENOUGH_PART)
