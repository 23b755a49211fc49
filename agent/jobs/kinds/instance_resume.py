"""Job that lets a guest go on which QEMU has paused because the host's disk was full (jobs/stalled.py)."""

from __future__ import annotations

from agent.core.specs import DomainState
from agent.jobs import stalled, translate
from agent.jobs.model import Context, Kind, Step, register


def _resume(context: Context) -> None:
    """A guest that finds the disk full again is paused again, and this journalled once more."""
    name, hypervisor = translate.domain_name(context.config, context.resource_id), context.drivers.hypervisor
    info = hypervisor.info(name)
    if info is not None and info.state is not DomainState.SHUT_OFF:
        hypervisor.resume(name)


register(Kind(stalled.RESUME, (Step("resume", _resume),)))
