"""Job of replacing an instance's system disk (SPEC D8). `data`: ids of the `old` and the `new` disk, and `before`,
what the instance was by its columns' names."""

from __future__ import annotations

import base64
import datetime as dt

from sqlalchemy.orm import Session

from agent.core import states
from agent.jobs.kinds.image_delete import enqueue_drop
from agent.jobs.layers import tree
from agent.jobs.model import Context, Finish, Kind, Step, register
from agent.store.schema import Disk, Instance, Job

BYTES = ("password",)  # columns that JSON holds as Base64


def _make_and_swap(context: Context) -> Finish:
    """The new disk's file first; then the rows change places in the transaction that ends the job."""
    with context.store.read() as session:
        trees = [session.get_one(Disk, context.data["new"]).layer.tree]
    with context.turns.claim(trees), context.store.read() as session:
        layer = session.get_one(Disk, context.data["new"]).layer
        tree.ensure_file(context.drivers.storage, layer)

    def finish(session: Session) -> None:
        _swap(session, context)
        before = context.data.pop("before")  # it may hold a password's hash
        if before["iso_file"] != session.get_one(Instance, context.resource_id).iso_file:
            enqueue_drop(session, before["iso_file"], context.clock.now())

    return finish


def _swap(session: Session, context: Context) -> None:
    now = context.clock.now()
    old, new = session.get_one(Disk, context.data["old"]), session.get_one(Disk, context.data["new"])
    new.instance_id, new.device, new.status, new.attached_at = context.resource_id, old.device, states.IN_USE, now
    new.layer.state = "ready"
    tree.forget_disk(session, old, now)


def _put_back(session: Session, job: Job, now: dt.datetime) -> None:
    """The old disk is the instance's as before, with everything that belongs to it."""
    instance = session.get_one(Instance, job.resource_id)
    for name, value in job.data["before"].items():
        setattr(instance, name, base64.b64decode(value) if name in BYTES and value is not None else value)
    session.get_one(Disk, job.data["old"]).status = states.IN_USE
    tree.forget_disk(session, session.get_one(Disk, job.data["new"]), now)
    session.get_one(Job, job.sequence).data = {}


register(Kind("system_disk.replace", (Step("system disk", _make_and_swap),), failed=_put_back))
