"""Giving up a file of storage's images that something referred to. The resource is the file's name."""

from __future__ import annotations

import datetime as dt

from sqlalchemy.orm import Session

from agent.jobs import journal
from agent.jobs.kinds.image import drop_unused_layer
from agent.jobs.model import Context, Kind, Step, register

DROP = "image.drop_file"


def enqueue_drop(session: Session, file: str | None, now: dt.datetime) -> None:
    """Journal that the file goes if nothing else needs it; no-op for None. Call when the reference is gone."""
    if file:
        journal.enqueue(session, DROP, file, now, lock=f"file:{file}")


def _drop(context: Context) -> None:
    drop_unused_layer(context, context.resource_id)


register(Kind(DROP, (Step("drop file", _drop),), patience=None))
