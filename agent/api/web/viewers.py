"""Who is at which console: one at a time (SPEC L5)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from agent.core.clock import iso_seconds
from agent.core.identity import Identity


@dataclass(frozen=True)
class Viewer:
    """`page`: the session's id; `source`: the address the browser connects from."""

    page: str
    identity: Identity
    source: str
    since: dt.datetime

    @property
    def principal(self) -> str:
        kind, name = self.identity.principal_type, self.identity.principal_name
        return f"{kind} {name}" if name else f"the {kind}'s owner"

    def __str__(self) -> str:
        return f"in use by {self.principal} from {self.source} since {iso_seconds(self.since)}"


class Viewers:
    """The viewers by instance. For one thread."""

    def __init__(self) -> None:
        self._present: dict[str, Viewer] = {}

    def other(self, instance_id: str, page: str) -> Viewer | None:
        """Who has the place, if it is another page. One whose connection broke unnoticed may come back at once."""
        viewer = self._present.get(instance_id)
        return viewer if viewer is not None and viewer.page != page else None

    def claim(self, instance_id: str, viewer: Viewer) -> Viewer | None:
        """Take the place; or who has it."""
        other = self.other(instance_id, viewer.page)
        if other is None:
            self._present[instance_id] = viewer
        return other

    def release(self, instance_id: str, viewer: Viewer) -> None:
        """Leave the place; no-op for who has not got it."""
        if self._present.get(instance_id) is viewer:
            del self._present[instance_id]
