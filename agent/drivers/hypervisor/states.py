"""libvirt's states and reasons in our words: pure."""

from __future__ import annotations

import libvirt

from agent.core.specs import DomainState

UNKNOWN = "unknown"

SHUT_OFF_REASONS = {
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: "shutdown",  # the guest powered off
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: "destroyed",  # by us
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: "crashed",  # the guest panicked or QEMU died
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED: "failed",  # it never started
    libvirt.VIR_DOMAIN_SHUTOFF_SAVED: "saved",
    libvirt.VIR_DOMAIN_SHUTOFF_DAEMON: "daemon",  # libvirtd does not know: it was not there
}

PAUSED_REASONS = {
    libvirt.VIR_DOMAIN_PAUSED_USER: "user",
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: "io error",
    libvirt.VIR_DOMAIN_PAUSED_WATCHDOG: "watchdog",
    libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT: "snapshot",
    libvirt.VIR_DOMAIN_PAUSED_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: "starting up",
    libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN: "shutting down",
}


def domain_state(state: int, reason: int) -> tuple[DomainState, str]:
    """The state and how it came to it, from what `virDomainGetState` says."""
    if state == libvirt.VIR_DOMAIN_SHUTOFF:
        return DomainState.SHUT_OFF, SHUT_OFF_REASONS.get(reason, UNKNOWN)
    if state == libvirt.VIR_DOMAIN_CRASHED:
        return DomainState.SHUT_OFF, "crashed"
    if state == libvirt.VIR_DOMAIN_PAUSED:
        return DomainState.PAUSED, PAUSED_REASONS.get(reason, UNKNOWN)
    if state == libvirt.VIR_DOMAIN_PMSUSPENDED:
        return DomainState.PAUSED, "suspended"
    # One that is shutting down still has its QEMU, its disks and its tap.
    return DomainState.RUNNING, "shutting down" if state == libvirt.VIR_DOMAIN_SHUTDOWN else "running"
