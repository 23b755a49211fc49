"""libvirtError → DriverError: one line that says what was being done, and whether to try again."""

from __future__ import annotations

import libvirt

from agent.core.errors import DriverError

# libvirt, or the guest's QEMU, was busy, starting or not there; the request itself is sound.
_TRANSIENT_CODES = frozenset(
    {
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_OPERATION_TIMEOUT,
        libvirt.VIR_ERR_OPERATION_ABORTED,
        libvirt.VIR_ERR_RESOURCE_BUSY,
        libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
        libvirt.VIR_ERR_NO_MEMORY,
    }
)
# Whatever goes wrong in these parts of libvirt is about the way to it.
_TRANSIENT_DOMAINS = frozenset({libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE})


def is_transient(error: libvirt.libvirtError) -> bool:
    """Whether the same call may succeed a little later."""
    return error.get_error_code() in _TRANSIENT_CODES or error.get_error_domain() in _TRANSIENT_DOMAINS


def driver_error(error: libvirt.libvirtError, doing: str) -> DriverError:
    """`doing` completes "cannot …", e.g. `start domain ecs-i-1`."""
    return DriverError(f"cannot {doing}: {one_line(error)}", transient=is_transient(error))


def unreachable(error: libvirt.libvirtError, uri: str) -> DriverError:
    """No connection to libvirt at all."""
    return DriverError(
        f"cannot reach libvirt at {uri}: {one_line(error)}; "
        "start it with `systemctl start libvirtd`, or without systemd `virtlogd -d; libvirtd -d`",
        transient=True,
    )


def one_line(error: libvirt.libvirtError) -> str:
    return " ".join((error.get_error_message() or str(error)).split())
