"""The hypervisor driver: domains of this agent on the local libvirt."""

from __future__ import annotations

import builtins
import contextlib
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt

from agent.core.errors import DriverError
from agent.core.specs import (
    Acceleration,
    DiskSpec,
    DomainInfo,
    DomainSpec,
    DomainState,
    GuestCounters,
    HostCapacity,
    NicSpec,
)
from agent.drivers import qemu_user
from agent.drivers.hypervisor import blocks, console, guest_agent, host, hotplug, hotplug_nic, screen
from agent.drivers.hypervisor.acceleration import AccelerationProbe
from agent.drivers.hypervisor.domain_xml import domain_xml
from agent.drivers.hypervisor.events import Watcher
from agent.drivers.hypervisor.pool import ConnectionPool, close_quietly, connect
from agent.drivers.hypervisor.serial import SerialConsole
from agent.drivers.hypervisor.states import domain_state
from agent.drivers.hypervisor.statistics import Statistics

# Kept in a live domain's metadata from its first resume on: tells a guest on its way up from one paused later.
METADATA_URI = "urn:ecs:domain"
METADATA_KEY = "ecs"
RESUMED = "<resumed/>"

_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)
# A state that somebody saved with libvirt's tools must not come up instead of the guest we describe.
_START = libvirt.VIR_DOMAIN_START_PAUSED | libvirt.VIR_DOMAIN_START_FORCE_BOOT


class LibvirtDriver:
    """Satisfies core.protocols.Hypervisor for domains named `<prefix>-i-…`; touches no other.

    `acceleration` is `auto`, `kvm` or `tcg`; `state_dir` keeps the outcome of the probe; `probe_kernel` is a kernel
    to probe with instead of the small built-in one; `qemu_user_name` owns the disks and runs QEMU.
    """

    def __init__(
        self,
        uri: str,
        prefix: str,
        acceleration: str,
        state_dir: Path,
        *,
        probe_kernel: Path | None = None,
        qemu_user_name: str = qemu_user.DEFAULT,
    ) -> None:
        state_dir.mkdir(parents=True, exist_ok=True)
        self._uri = uri
        self._own = f"{prefix}-i-"
        self._state_dir = state_dir
        self._qemu_user = qemu_user_name
        self._pool = ConnectionPool(uri)
        self._probe = AccelerationProbe(acceleration, state_dir, probe_kernel, qemu_user_name)
        self._statistics = Statistics()
        self._watchers: list[Watcher] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the threads and connections."""
        with self._lock:
            watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.close()
        self._pool.close()

    # ------------------------------------------------------------------------------ life of a domain

    def start_paused(self, spec: DomainSpec) -> None:
        """Define and create paused. A domain that is active already is left as it is."""
        self._check(spec.name)
        description = domain_xml(spec, qemu_user.lookup(self._qemu_user))
        with self._pool.connection(f"start domain {spec.name}") as connection:
            domain = _lookup(connection, spec.name)
            if domain is not None and domain.isActive():
                return
            if domain is not None and domain.UUIDString() != spec.uuid:
                domain.undefineFlags(_UNDEFINE)
            _check_taps(spec)
            spec.console_log.parent.mkdir(parents=True, exist_ok=True)
            connection.defineXML(description).createWithFlags(_START)

    def resume(self, name: str) -> None:
        """Let a paused domain run. Raises DriverError if it is not active."""
        self._check(name)
        with self._pool.connection(f"resume domain {name}") as connection:
            domain = _lookup(connection, name)
            if domain is None or not domain.isActive():
                raise DriverError(f"cannot resume domain {name}: it is not active, start it")
            if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                domain.resume()
            domain.setMetadata(
                libvirt.VIR_DOMAIN_METADATA_ELEMENT,
                RESUMED,
                METADATA_KEY,
                METADATA_URI,
                libvirt.VIR_DOMAIN_AFFECT_LIVE,
            )

    def shutdown(self, name: str) -> None:
        """Press the guest's power button; it may take its time or ignore it."""
        self._check(name)
        with self._pool.connection(f"shut down domain {name}") as connection:
            domain = _lookup(connection, name)
            if domain is not None:
                _unless_off(domain, lambda: domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN))

    def destroy(self, name: str) -> None:
        """Pull the plug. QEMU writes out what it has accepted, the guest's own caches are lost."""
        self._check(name)
        with self._pool.connection(f"destroy domain {name}") as connection:
            domain = _lookup(connection, name)
            if domain is not None:
                _unless_off(domain, domain.destroy)

    def undefine(self, name: str) -> None:
        """Forget the inactive domain. Raises DriverError if it is active."""
        self._check(name)
        with self._pool.connection(f"undefine domain {name}") as connection:
            domain = _lookup(connection, name)
            if domain is None:
                return
            if domain.isActive():
                raise DriverError(f"cannot undefine domain {name}: it is active, destroy it first")
            domain.undefineFlags(_UNDEFINE)

    # ------------------------------------------------------------------------------ the guest agent

    def guest_agent_connected(self, name: str) -> bool:
        self._check(name)
        with self._pool.connection(f"look for the guest agent of domain {name}") as connection:
            domain = _lookup(connection, name)
            return domain is not None and domain.isActive() and guest_agent.is_connected(domain.XMLDesc())

    def set_password(self, name: str, user: str, password_hash: str) -> None:
        """Raises DriverError if no guest agent answers within some seconds, or it cannot do it."""
        self._check(name)
        with self._pool.connection(f"set the password of {user} in domain {name} by its guest agent") as connection:
            domain = _lookup(connection, name)
            if domain is None or not domain.isActive():
                raise DriverError(f"cannot set the password of {user} in domain {name}: it is not active")
            domain.agentSetResponseTimeout(guest_agent.ANSWER_SECONDS)
            domain.setUserPassword(user, password_hash, libvirt.VIR_DOMAIN_PASSWORD_ENCRYPTED)

    # ------------------------------------------------------------------------------ layers of disks

    def disk_files(self, name: str) -> dict[str, tuple[Path, ...]]:
        with self._if_active(name, "look at the disks of") as domain:
            return blocks.chains(domain) if domain else {}

    def switch_layer(self, name: str, serial: str, new: Path, *, quiet: bool) -> None:
        with self._if_active(name, f"take a snapshot of disk {serial} of") as domain:
            blocks.switch(_known(domain, name), serial, new, quiet=quiet)

    def thaw(self, name: str) -> None:
        with self._if_active(name, "thaw the file systems of") as domain:
            if domain:
                blocks.thaw(domain)

    def start_merging(self, name: str, serial: str, layer: Path, into: Path) -> None:
        with self._if_active(name, f"merge layers of disk {serial} of") as domain:
            blocks.start_merging(_known(domain, name), serial, layer, into)

    def merging(self, name: str, serial: str) -> tuple[int, int] | None:
        with self._if_active(name, f"see the merge below disk {serial} of") as domain:
            return blocks.merging(domain, serial) if domain else None

    def stop_merging(self, name: str, serial: str) -> None:
        with self._if_active(name, f"stop the merge below disk {serial} of") as domain:
            if domain:
                blocks.stop_merging(domain, serial)

    @contextlib.contextmanager
    def _if_active(self, name: str, doing: str) -> Iterator[libvirt.virDomain | None]:
        """The domain if it is active. `doing` completes "cannot … domain NAME"."""
        self._check(name)
        with self._pool.connection(f"{doing} domain {name}") as connection:
            domain = _lookup(connection, name)
            yield domain if domain is not None and domain.isActive() else None

    # ------------------------------------------------------------------------------ disks of a running guest

    def attached_disks(self, name: str) -> builtins.set[str] | None:
        with self._if_active(name, "look at the disks of") as domain:
            return set(hotplug.attached(domain)) if domain else None

    def attach_disk(self, name: str, disk: DiskSpec) -> None:
        with self._if_active(name, f"attach disk {disk.serial} to") as domain:
            hotplug.attach(_known(domain, name), disk)

    def request_detach(self, name: str, serial: str) -> None:
        with self._if_active(name, f"detach disk {serial} from") as domain:
            if domain:
                hotplug.request_detach(domain, serial)

    def mounted(self, name: str, serial: str) -> builtins.list[str] | None:
        with self._if_active(name, f"look for file systems of disk {serial} of") as domain:
            return hotplug.mounted(domain, serial) if domain else None

    def resize_disk(self, name: str, serial: str, size_bytes: int) -> None:
        with self._if_active(name, f"grow disk {serial} of") as domain:
            hotplug.resize(_known(domain, name), serial, size_bytes)

    def limit_disk(self, name: str, disk: DiskSpec) -> None:
        with self._if_active(name, f"limit disk {disk.serial} of") as domain:
            hotplug.limit(_known(domain, name), disk)

    # ------------------------------------------------------------------------------ network cards of a running guest

    def attached_nics(self, name: str) -> builtins.set[str] | None:
        with self._if_active(name, "look at the network cards of") as domain:
            return set(hotplug_nic.attached(domain)) if domain else None

    def attach_nic(self, name: str, nic: NicSpec) -> None:
        with self._if_active(name, f"plug network card {nic.mac} into") as domain:
            hotplug_nic.attach(_known(domain, name), nic)

    def request_detach_nic(self, name: str, mac: str) -> None:
        with self._if_active(name, f"unplug network card {mac} from") as domain:
            if domain:
                hotplug_nic.request_detach(domain, mac)

    # ------------------------------------------------------------------------------ looking

    def info(self, name: str) -> DomainInfo | None:
        self._check(name)
        with self._pool.connection(f"look at domain {name}") as connection:
            domain = _lookup(connection, name)
            if domain is None:
                return None
            state, reason = domain.state()
            return _info(domain, state, reason)

    def list(self) -> dict[str, DomainInfo]:
        found = {}
        with self._pool.connection("list the domains") as connection:
            flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
            for domain, values in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, flags):
                if domain.name().startswith(self._own):
                    found[domain.name()] = _info(domain, values["state.state"], values["state.reason"])
        return found

    def counters(self) -> dict[str, GuestCounters]:
        with self._pool.connection("read what guests do") as connection:
            return self._statistics.read(connection, self._own)

    def on_change(self, callback: Callable[[str | None], None]) -> None:
        def ours(name: str | None) -> None:
            if name is None or name.startswith(self._own):
                callback(name)

        with self._lock:
            self._watchers.append(Watcher(lambda: connect(self._uri), ours))

    # ------------------------------------------------------------------------------ consoles

    def open_console(self, name: str, *, force: bool, ended: Callable[[str], None]) -> SerialConsole:
        """The serial line, over a connection of its own: streams are long and must not share one with calls."""
        self._check(name)
        connection = connect(self._uri)
        try:
            return SerialConsole(connection, name, force=force, ended=ended)
        except DriverError:
            close_quietly(connection)
            raise

    def screenshot(self, name: str, *, wake: bool) -> bytes:
        """The screen as a PNG. Raises DriverError when the domain is off."""
        self._check(name)
        with self._pool.connection(f"take a screenshot of domain {name}") as connection:
            return screen.png(connection, connection.lookupByName(name), wake=wake)

    def open_display(self, name: str) -> socket.socket:
        """A connection to the domain's VNC server, made by libvirt: no path and no port leads there."""
        self._check(name)
        with self._pool.connection(f"open the screen of domain {name}") as connection:
            domain = _lookup(connection, name)
            if domain is None or not domain.isActive():
                raise DriverError(f"cannot open the screen of domain {name}: it is not active, start it")
            handle = domain.openGraphicsFD(0, libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH)
            return socket.socket(fileno=handle)

    # ------------------------------------------------------------------------------ the host

    def acceleration(self) -> Acceleration:
        return self._probe.result()

    def ping(self) -> None:
        with self._pool.connection("reach libvirt") as connection:
            connection.getLibVersion()

    def version(self) -> str:
        with self._pool.connection("ask libvirt for its version") as connection:
            return f"libvirt {_version(connection.getLibVersion())}, QEMU {_version(connection.getVersion())}"

    def capacity(self) -> HostCapacity:
        """Processors and memory of the host, and the file system of the state directory."""
        disk = shutil.disk_usage(self._state_dir)
        total, available = host.memory_mib()
        return HostCapacity(
            vcpus=host.cpu_count(),
            memory_mib=total,
            memory_available_mib=available,
            disk_bytes=disk.total,
            disk_available_bytes=disk.free,
        )

    def console_tail(self, spec_log: Path, limit_bytes: int) -> bytes:
        """The last `limit_bytes` of the serial output, over the rotation of the log; empty when there is none."""
        return console.tail(spec_log, limit_bytes)

    def console_changed(self, spec_log: Path) -> float | None:
        return console.changed(spec_log)

    def host_problems(self) -> builtins.list[str]:
        """What on this host keeps guests from running well, one clear line each; empty if nothing does."""
        return host.problems(self._qemu_user)

    # ------------------------------------------------------------------------------

    def _check(self, name: str) -> None:
        if not name.startswith(self._own):
            raise DriverError(f"domain {name!r} is not one of ours: its name must start with {self._own!r}")


def _lookup(connection: libvirt.virConnect, name: str) -> libvirt.virDomain | None:
    try:
        return connection.lookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _known(domain: libvirt.virDomain | None, name: str) -> libvirt.virDomain:
    if domain is None:
        raise DriverError(f"domain {name} is not active any more", transient=True)
    return domain


def _check_taps(spec: DomainSpec) -> None:
    """libvirt's own complaint does not name the tap."""
    for nic in spec.nics:
        if not Path("/sys/class/net", nic.tap).exists():
            raise DriverError(f"cannot start domain {spec.name}: there is no tap {nic.tap} in the host's namespace")


def _unless_off(domain: libvirt.virDomain, action: Callable[[], object]) -> None:
    """Do it if the domain is active; that it goes off by itself at the same moment is no error."""
    if not domain.isActive():
        return
    try:
        action()
    except libvirt.libvirtError:
        # A guest that has powered off stays active until its QEMU has ended: libvirt calls that shut down.
        if domain.isActive() and domain.state()[0] != libvirt.VIR_DOMAIN_SHUTDOWN:
            raise


def _info(domain: libvirt.virDomain, state: int, reason: int) -> DomainInfo:
    ours, why = domain_state(state, reason)
    fresh = ours is DomainState.PAUSED and not _was_resumed(domain)
    return DomainInfo(name=domain.name(), state=ours, reason=why, uuid=domain.UUIDString(), fresh=fresh)


def _was_resumed(domain: libvirt.virDomain) -> bool:
    try:
        domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, METADATA_URI, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_METADATA:
            return False
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:  # it has just ended
            raise
    return True


def _version(number: int) -> str:
    """libvirt's major * 1,000,000 + minor * 1,000 + release as text."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
