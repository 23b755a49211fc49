"""Converting disk images that callers handed over, or sent (SPEC M10)."""

from __future__ import annotations

from typing import Any

from agent.core.ids import random_word
from agent.jobs import journal
from agent.jobs.kinds.image_convert import CONVERT, CONVERT_OBJECT
from agent.services import bucket as buckets
from agent.services import handed_file, image_import, space
from agent.services.context import Caller
from agent.services.image_import import Source
from agent.store.schema import Job

_DOING = "convert a disk image"


def convert(caller: Caller, source: str, target: str, source_format: str, target_format: str) -> Job:
    """The job that writes the disk of the file `source` to the empty file `target`; both are handles of the caller's.
    `source_format`: empty, or what he knows that the file is."""
    handed_file.name_of(caller, "Source", source)
    handed_file.check_target(caller, "Target", target)
    space.check(caller, 0, _DOING)  # it is made beside the disks
    data = {"source": source, "target": target, "source_format": source_format, "target_format": target_format}
    return _enqueue(caller, CONVERT.name, target, data)


def convert_object(caller: Caller, source: Source, source_format: str, target_format: str) -> Job:
    """The job that writes the disk of an object to a new one of the caller's hidden bucket; its `data` says which."""
    located = image_import.located(caller, "", source)
    where, word = buckets.hidden(caller).name, random_word(16)
    space.check(caller, 0, _DOING)
    data = {
        "source": located,
        "bucket": where,
        "object": f"converted-{word}.{target_format}",
        "source_format": source_format,
        "target_format": target_format,
    }
    return _enqueue(caller, CONVERT_OBJECT.name, f"oss://{located['bucket']}/{located['object']}", data)


def _enqueue(caller: Caller, kind: str, resource_id: str, data: dict[str, Any]) -> Job:
    return journal.enqueue(
        caller.session,
        kind,
        resource_id,
        caller.services.clock.now(),
        account_id=caller.account_id,
        request_id=caller.request_id,
        data=data,
    )
