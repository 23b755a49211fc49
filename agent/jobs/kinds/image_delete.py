"""Job that removes the files of a deleted image, as far as no disk needs them. `data`: their names as `files`."""

from __future__ import annotations

import datetime as dt

from sqlalchemy.orm import Session

from agent.jobs import journal
from agent.jobs.kinds.image import drop_unused_layer
from agent.jobs.model import Context, Kind, Step, register

DROP_FILES = "image.drop_files"


def enqueue_drop(session: Session, file: str | None, now: dt.datetime) -> None:
    """The same for a file that something else referred to until now; no-op for None."""
    if file:
        journal.enqueue(session, DROP_FILES, file, now, lock=f"file:{file}", data={"files": [file]})


def _drop(context: Context) -> None:
    for file in context.data["files"]:
        drop_unused_layer(context, file)


register(Kind(DROP_FILES, (Step("files", _drop),), patience=None))
