"""Who is at which console: one at a time (SPEC L5)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from agent.core.clock import iso_seconds
from agent.core.identity import Identity


@dataclass(frozen=True)
class Viewer:
    """`source`: the address the browser connects from."""

    identity: Identity
    source: str
    since: dt.datetime

    @property
    def principal(self) -> str:
        return f"{self.identity.principal_type} {self.identity.principal_name}".strip()

    def __str__(self) -> str:
        return f"in use by {self.principal} from {self.source} since {iso_seconds(self.since)}"


class Viewers:
    """The viewers by instance. For one thread."""

    def __init__(self) -> None:
        self._present: dict[str, Viewer] = {}

    def present(self, instance_id: str) -> Viewer | None:
        return self._present.get(instance_id)

    def claim(self, instance_id: str, viewer: Viewer) -> bool:
        """Take the place; False when somebody has it."""
        return self._present.setdefault(instance_id, viewer) is viewer

    def release(self, instance_id: str, viewer: Viewer) -> None:
        """Leave the place; no-op for who has not got it."""
        if self._present.get(instance_id) is viewer:
            del self._present[instance_id]
