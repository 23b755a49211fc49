"""Job of a password that is set at once, in the running guest, by its guest agent (an extra to SPEC I6)."""

from __future__ import annotations

import datetime as dt

from sqlalchemy.orm import Session

from agent.jobs import translate
from agent.jobs.model import Context, Finish, Kind, Step, register
from agent.store.schema import Instance, Job

USER = "root"
PATIENCE_SECONDS = 30


def _tell_guest(context: Context) -> Finish:
    """The guest first: when it cannot take the password, the one it has stays the wanted one."""
    name = translate.domain_name(context.config, context.resource_id)
    context.drivers.hypervisor.set_password(name, USER, context.data["password_hash"])
    password_hash = context.data.pop("password_hash")

    def finish(session: Session) -> None:
        session.get_one(Instance, context.resource_id).password_hash = password_hash

    return finish


def _forget(session: Session, job: Job, now: dt.datetime) -> None:
    row = session.get_one(Job, job.sequence)
    row.data = {}


register(Kind("instance.password", (Step("guest agent", _tell_guest),), patience=PATIENCE_SECONDS, failed=_forget))
