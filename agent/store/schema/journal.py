"""The journal of jobs."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import false
from sqlalchemy.orm import Mapped, mapped_column

from agent.store.schema.base import Base


class Job(Base):
    """One journalled operation. `step` is the first step not yet done; `data` passes values between steps.

    `lock` is the resource that no two jobs work on at once, in order of `sequence`.
    """

    __tablename__ = "jobs"
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    account_id: Mapped[str | None] = mapped_column(index=True)
    kind: Mapped[str]
    lock: Mapped[str] = mapped_column(index=True)
    resource_id: Mapped[str] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(index=True)  # pending | running | undoing | succeeded | failed | cancelled
    step: Mapped[int] = mapped_column(default=0)
    step_count: Mapped[int]
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    progress: Mapped[int] = mapped_column(default=0)
    message: Mapped[str] = mapped_column(default="")
    failures: Mapped[int] = mapped_column(default=0)
    cancelling: Mapped[bool] = mapped_column(default=False, server_default=false())  # somebody asked for it to end
    request_id: Mapped[str] = mapped_column(default="")
    created_at: Mapped[dt.datetime]
    step_started_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]
