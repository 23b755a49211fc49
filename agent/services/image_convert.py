"""Converting disk images that callers handed over (SPEC M10)."""

from __future__ import annotations

from agent.jobs import journal
from agent.jobs.kinds.image_convert import CONVERT
from agent.services import handed_file
from agent.services.context import Caller
from agent.store.schema import Job


def convert(caller: Caller, source: str, target: str, source_format: str, target_format: str) -> Job:
    """The job that writes the disk of the file `source` to the empty file `target`; both are handles of the caller's.
    `source_format`: empty, or what he knows that the file is."""
    handed_file.name_of(caller, "Source", source)
    handed_file.check_target(caller, "Target", target)
    data = {"source": source, "target": target, "source_format": source_format, "target_format": target_format}
    return journal.enqueue(
        caller.session,
        CONVERT.name,
        target,
        caller.services.clock.now(),
        account_id=caller.account_id,
        request_id=caller.request_id,
        data=data,
    )
