"""Job that lets a guest go on which QEMU has paused because the host's disk was full (jobs/stalled.py)."""

from __future__ import annotations

from sqlalchemy.orm import Session

from agent.core.specs import DomainState
from agent.jobs import stalled, translate
from agent.jobs.model import Context, Finish, Kind, Step, register
from agent.store.schema import Instance


def _resume(context: Context) -> Finish:
    """A guest that finds the disk full again is paused again, and this journalled once more."""
    name, hypervisor = translate.domain_name(context.config, context.resource_id), context.drivers.hypervisor
    info = hypervisor.info(name)
    if info is not None and info.state is not DomainState.SHUT_OFF:
        hypervisor.resume(name)

    def finish(session: Session) -> None:
        instance = session.get_one(Instance, context.resource_id)
        if instance.status_reason == stalled.REASON:
            instance.status_reason = ""

    return finish


register(Kind(stalled.RESUME, (Step("resume", _resume),)))
