"""What an instance shows: its serial output, its screen, and what is known of one that does not come up."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from sqlalchemy import select

from agent.core import states
from agent.core.errors import IncorrectInstanceStatus
from agent.core.specs import PortEvent
from agent.jobs.translate import domain_name
from agent.services.context import Caller
from agent.store.schema import Instance, Job

TAIL_BYTES = 64 * 1024
# Terminal sequences: ESC [ … letter, ESC ] … BEL or ESC \\, other ESC pairs; then control characters and lone CRs.
_SYMBOLS = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|[\x00-\x08\x0b-\x1f\x7f]"
)


def tail(caller: Caller, instance_id: str, limit_bytes: int = TAIL_BYTES) -> bytes:
    """The last bytes of the instance's serial console, over all its starts."""
    services = caller.services
    return services.hypervisor.console_tail(services.config.console_log(instance_id), limit_bytes)


def last_output(caller: Caller, instance: Instance) -> dt.datetime:
    """When the instance wrote to its serial console last; if it never did, when it was created."""
    services = caller.services
    changed = services.hypervisor.console_changed(services.config.console_log(instance.id))
    return instance.created_at if changed is None else dt.datetime.fromtimestamp(changed, dt.UTC)


def without_symbols(output: bytes) -> bytes:
    """The text alone: no terminal sequences, no control characters but line ends and tabs."""
    return _SYMBOLS.sub(b"", output)


def screenshot(caller: Caller, instance: Instance, *, wake: bool) -> bytes:
    """The screen as PNG. Raises IncorrectInstanceStatus for an instance that has none."""
    if instance.status not in states.ALLOWED["watch"]:
        raise IncorrectInstanceStatus(instance.id, instance.status, states.ALLOWED["watch"])
    services = caller.services
    return services.hypervisor.screenshot(domain_name(services.config, instance.id), wake=wake)


@dataclass(frozen=True)
class Diagnosis:
    """Where an instance hangs, as far as can be seen from outside."""

    console: bytes
    events: list[PortEvent]
    jobs: list[Job]
    advice: str


def diagnose(caller: Caller, instance: Instance) -> Diagnosis:
    """Last console lines, DHCP and metadata history, recent jobs, and what they say together."""
    console = tail(caller, instance.id, 4096)
    network = caller.services.network
    events = [event for i in instance.interfaces for event in network.port_history(i.tap)]
    recent = select(Job).where(Job.resource_id == instance.id).order_by(Job.sequence.desc()).limit(5)
    jobs = list(caller.session.scalars(recent))
    return Diagnosis(console, events, jobs, _advice(caller, instance, console, events, jobs))


def status_reason(caller: Caller, instance: Instance) -> str:
    """Why the instance is as it is; empty: there is nothing to say."""
    return caller.services.stalled(instance.id) or instance.status_reason


def _advice(caller: Caller, instance: Instance, console: bytes, events: list[PortEvent], jobs: list[Job]) -> str:
    reason = status_reason(caller, instance)
    if instance.status != states.RUNNING:
        why = reason or (jobs[0].message if jobs else "")
        return f"The instance is {instance.status}{f': {why}' if why else ''}."
    if reason:
        return f"The instance is Running, {reason}."
    if not console.strip():
        return "The guest has written nothing to its serial console: it has not booted, or does not use ttyS0."
    leased = any(event.what.startswith("DHCPACK") for event in events)
    if not leased and any(event.what.startswith("DHCPDISCOVER") for event in events):
        return "The guest asks for an address but does not take the answer: look at its console for network errors."
    if not leased:
        return "The guest has not asked for an address yet: it is still booting, or its network is not set up by DHCP."
    return "The guest has its address: wait for its SSH server, or look at its console for what cloud-init says."
