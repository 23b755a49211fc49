"""Facts about a Windows system whose file system is mounted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .guest import Guest

DRIVER_FILES = {"viostor": "viostor.sys", "vioscsi": "vioscsi.sys", "netkvm": "netkvm.sys"}
_BOOT_START = 0  # the loader itself loads the driver


def facts(guest: Guest, root: str) -> dict[str, Any]:
    handle = guest.handle
    system_root = guest.tried(handle.inspect_get_windows_systemroot, root, default="/Windows")
    found: dict[str, Any] = {
        "variant": guest.tried(handle.inspect_get_product_variant, root, default="unknown"),
        "drivers": [
            name for name, file in DRIVER_FILES.items() if _there(guest, f"{system_root}/System32/drivers", file)
        ],
        "boot_drivers": [],
        "remote_desktop": None,
        "cloudbase_init": _there(guest, "/Program Files/Cloudbase Solutions", "Cloudbase-Init"),
        "guest_agent": _there(guest, "/Program Files", "Qemu-ga"),
        "interfaces": None,
    }
    hive = guest.tried(handle.inspect_get_windows_system_hive, root, default="")
    controls = guest.tried(handle.inspect_get_windows_current_control_set, root, default="")
    if hive and controls:
        with _opened(guest, hive) as registry:
            if registry:
                found |= _registry(registry, controls)
    return found


def _there(guest: Guest, directory: str, name: str) -> bool:
    """A name in a directory, both in any case, as Windows has it."""
    path = guest.tried(guest.handle.case_sensitive_path, directory, default="")
    return bool(path) and name.lower() in (found.lower() for found in guest.names(path))


@contextlib.contextmanager
def _opened(guest: Guest, hive: str) -> Iterator[Any]:
    handle = guest.handle
    try:
        handle.hivex_open(hive)
    except RuntimeError:
        yield None
        return
    try:
        yield _Registry(guest)
    finally:
        handle.hivex_close()


class _Registry:
    def __init__(self, guest: Guest) -> None:
        self._guest, self._handle = guest, guest.handle

    def number(self, *path: str) -> int | None:
        """A DWORD; the last word is its name."""
        node = self._node(path[:-1])
        value = node and self._guest.tried(self._handle.hivex_node_get_value, node, path[-1], default=0)
        if not value:
            return None
        content: bytes = self._guest.tried(self._handle.hivex_value_value, value, default=b"")
        return int.from_bytes(content[:4], "little") if content else None

    def keys(self, *path: str) -> list[str] | None:
        node = self._node(path)
        if not node:
            return None
        children: list[dict[str, int]] = self._guest.tried(self._handle.hivex_node_children, node, default=[])
        return [
            str(self._guest.tried(self._handle.hivex_node_name, child["hivex_node_h"], default=""))
            for child in children
        ]

    def _node(self, path: tuple[str, ...]) -> int:
        node: int = self._guest.tried(self._handle.hivex_root, default=0)
        for name in path:
            node = node and self._guest.tried(self._handle.hivex_node_get_child, node, name, default=0)
        return node


def _registry(registry: _Registry, controls: str) -> dict[str, Any]:
    services = (controls, "Services")
    denied = registry.number(controls, "Control", "Terminal Server", "fDenyTSConnections")
    profile = (*services, "SharedAccess", "Parameters", "FirewallPolicy")
    interfaces = registry.keys(*services, "Tcpip", "Parameters", "Interfaces")
    return {
        "boot_drivers": [name for name in DRIVER_FILES if registry.number(*services, name, "Start") == _BOOT_START],
        "remote_desktop": None if denied is None else denied == 0,
        "remote_desktop_port": registry.number(
            controls, "Control", "Terminal Server", "WinStations", "RDP-Tcp", "PortNumber"
        ),
        "firewalls": [
            name
            for name in ("DomainProfile", "StandardProfile", "PublicProfile")
            if registry.number(*profile, name, "EnableFirewall") == 1
        ],
        "interfaces": None if interfaces is None else len(interfaces),
    }
