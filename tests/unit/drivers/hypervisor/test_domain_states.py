"""libvirt's states, reasons and errors in our words."""

import libvirt
import pytest

from agent.core.specs import DomainState
from agent.drivers.hypervisor import errors
from agent.drivers.hypervisor.libvirt_driver import _unless_off
from agent.drivers.hypervisor.states import domain_state


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED, (DomainState.RUNNING, "running")),
        (libvirt.VIR_DOMAIN_BLOCKED, 0, (DomainState.RUNNING, "running")),
        (libvirt.VIR_DOMAIN_SHUTDOWN, 0, (DomainState.RUNNING, "shutting down")),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER, (DomainState.PAUSED, "user")),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR, (DomainState.PAUSED, "io error")),
        (libvirt.VIR_DOMAIN_PAUSED, 999, (DomainState.PAUSED, "unknown")),
        (libvirt.VIR_DOMAIN_PMSUSPENDED, 0, (DomainState.PAUSED, "suspended")),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN, (DomainState.SHUT_OFF, "shutdown")),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED, (DomainState.SHUT_OFF, "destroyed")),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, (DomainState.SHUT_OFF, "crashed")),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED, (DomainState.SHUT_OFF, "failed")),
        (libvirt.VIR_DOMAIN_SHUTOFF, 0, (DomainState.SHUT_OFF, "unknown")),
        (libvirt.VIR_DOMAIN_CRASHED, 1, (DomainState.SHUT_OFF, "crashed")),
    ],
)
def test_states(state: int, reason: int, expected: tuple[DomainState, str]) -> None:
    assert domain_state(state, reason) == expected


def a_libvirt_error(code: int, domain: int, message: str) -> libvirt.libvirtError:
    error = libvirt.libvirtError("")
    error.err = (code, domain, message, 2, None, None, None, 0, 0)
    return error


@pytest.mark.parametrize(
    ("code", "domain", "transient"),
    [
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, libvirt.VIR_FROM_QEMU, True),
        (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC, True),
        (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC, True),
        (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_QEMU, False),
        (libvirt.VIR_ERR_XML_ERROR, libvirt.VIR_FROM_DOMAIN, False),
    ],
)
def test_errors(code: int, domain: int, transient: bool) -> None:
    error = errors.driver_error(a_libvirt_error(code, domain, "it\nbroke"), "start domain ecs-i-1")
    assert str(error) == "cannot start domain ecs-i-1: it broke"
    assert error.transient is transient


def test_unreachable_says_what_to_do() -> None:
    error = errors.unreachable(
        a_libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC, "No such file"), "qemu:///system"
    )
    assert str(error).startswith("cannot reach libvirt at qemu:///system: No such file; start it with")
    assert error.transient


class Dying:
    """An active domain in some state."""

    def __init__(self, state: int) -> None:
        self._state = state

    def isActive(self) -> int:
        return 1

    def state(self) -> list[int]:
        return [self._state, 0]


def test_a_guest_that_is_just_powering_off_need_not_be_told() -> None:
    def shut_down() -> None:
        raise libvirt.libvirtError("domain is not running")

    _unless_off(Dying(libvirt.VIR_DOMAIN_SHUTDOWN), shut_down)  # type: ignore[arg-type]
    with pytest.raises(libvirt.libvirtError):
        _unless_off(Dying(libvirt.VIR_DOMAIN_RUNNING), shut_down)  # type: ignore[arg-type]
