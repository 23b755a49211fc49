"""What services and jobs expect of the drivers. Every call may be repeated with the same arguments.

All calls block; the job runner gives each its own thread. Drivers raise DriverError (core.errors) with one
clear line; `transient=True` on it means: try again later, nothing is wrong with the request itself.
"""

from __future__ import annotations

import builtins
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from agent.core.specs import (
    Acceleration,
    DiskSpec,
    DomainInfo,
    DomainSpec,
    FilterSpec,
    FlowDecision,
    FlowSpec,
    GuestCounters,
    HostCapacity,
    HostCheck,
    NicSpec,
    ObjectInfo,
    PortEvent,
    PortSpec,
    SeedSpec,
    VpcSpec,
)


class Console(Protocol):
    """An open serial line of a guest. `stream`: its bytes, both ways; closing it gives the line up, as `close` does."""

    stream: socket.socket

    def close(self) -> None:
        """Give the line up; returns when somebody else can have it."""


class Hypervisor(Protocol):
    """Domains by their libvirt name; only names with our prefix are ever listed or touched."""

    def start_paused(self, spec: DomainSpec) -> None:
        """Define the domain afresh and create it paused. A domain already active is left as it is."""

    def resume(self, name: str) -> None:
        """Let a paused domain run; no-op when it runs."""

    def shutdown(self, name: str) -> None:
        """Ask the guest to power off (ACPI); returns at once, no-op when it is off."""

    def destroy(self, name: str) -> None:
        """Pull the plug; no-op when it is off."""

    def undefine(self, name: str) -> None:
        """Forget the (inactive) domain; no-op when unknown."""

    def guest_agent_connected(self, name: str) -> bool:
        """Whether a guest agent listens in the running guest. Quick: as libvirt knows it."""

    def set_password(self, name: str, user: str, password_hash: str) -> None:
        """Give a user of the running guest a password, by its guest agent; only its crypt hash is handed over."""

    # -- layers of disks; a disk is named by its serial

    def disk_files(self, name: str) -> dict[str, tuple[Path, ...]]:
        """By serial the files under each disk of an active domain, the one written to first; none when it is off."""

    def switch_layer(self, name: str, serial: str, new: Path, *, quiet: bool) -> None:
        """Let the running guest write to `new`, an empty overlay on the file that it writes to now. `quiet`: its file
        systems are frozen at that moment by its guest agent, or the call fails and nothing is switched."""

    def thaw(self, name: str) -> None:
        """Let the guest's file systems go on, frozen or not; no-op when it is off. Raises DriverError when its guest
        agent does not answer."""

    def start_merging(self, name: str, serial: str, layer: Path, into: Path) -> None:
        """Begin to write `layer` into `into` right below it, both below the file that the running guest writes to."""

    def merging(self, name: str, serial: str) -> tuple[int, int] | None:
        """Bytes done, and all of them, of a merge; None: there is none (any more)."""

    def stop_merging(self, name: str, serial: str) -> None:
        """Give up a merge, if there is one; when this returns it has ended."""

    # -- disks of a running guest; known by their serials, too

    def attached_disks(self, name: str) -> builtins.set[str] | None:
        """Serials of the disks that the domain has now, with those it was asked to let go of; None: it is off."""

    def attach_disk(self, name: str, disk: DiskSpec) -> None:
        """Plug a disk into an active domain; no-op when it has it. Raises DriverError when it is off."""

    def request_detach(self, name: str, serial: str) -> None:
        """Ask the guest to let go of a disk, and return at once; no-op when it does not have it (any more). When the
        guest has done so, the callback of `on_change` is called and the disk is not in `attached_disks`."""

    def mounted(self, name: str, serial: str) -> builtins.list[str] | None:
        """Where the guest has mounted file systems of a disk, by its guest agent; None when no agent answers."""

    def resize_disk(self, name: str, serial: str, size_bytes: int) -> None:
        """Grow a disk of an active domain and tell the guest. Never smaller: the caller knows the present size."""

    def limit_disk(self, name: str, disk: DiskSpec) -> None:
        """Let the I/O limits of `disk` hold from now on in an active domain."""

    # -- network cards of a running guest, named by their MAC address

    def attached_nics(self, name: str) -> builtins.set[str] | None:
        """Those that an active domain has; None when it is off."""

    def attach_nic(self, name: str, nic: NicSpec) -> None:
        """Plug a card into an active domain; no-op when it is there."""

    def request_detach_nic(self, name: str, mac: str) -> None:
        """Ask the guest to let go of a card; whether it did, `attached_nics` tells. No-op when it is not there."""

    # --

    def info(self, name: str) -> DomainInfo | None:
        """None: libvirt does not know the domain."""

    def list(self) -> dict[str, DomainInfo]:
        """All our domains, by name."""

    def counters(self) -> dict[str, GuestCounters]:
        """What all our running guests did until now, by domain name, asked for in one call."""

    def on_change(self, callback: Callable[[str | None], None]) -> None:
        """Call back (from another thread) with a domain's name at each of its life cycle events and when it has let
        go of a device, and with None when the connection came back, when anything may have changed."""

    def acceleration(self) -> Acceleration:
        """What guests run on; probed by running a guest, cached until kernel or boot changes."""

    def ping(self) -> None:
        """Raises DriverError when libvirt cannot be reached. Quick: for calls that somebody waits for."""

    def version(self) -> str:
        """`libvirt 9.0.0, QEMU 7.2.0`; raises DriverError when libvirt cannot be reached.

        A libvirtd that sees a QEMU for the first time examines it first, which takes seconds."""

    def capacity(self) -> HostCapacity: ...

    def open_display(self, name: str) -> socket.socket:
        """A connection to the screen of an active domain: RFB, without a password. Raises DriverError."""

    def console_tail(self, spec_log: Path, limit_bytes: int) -> bytes: ...

    def console_changed(self, spec_log: Path) -> float | None:
        """When the guest wrote to its serial line last (seconds since the epoch); None: never."""

    def open_console(self, name: str, *, force: bool, ended: Callable[[str], None]) -> Console:
        """The serial line of a running domain, for one at a time; `force` takes it from whoever has it.

        `ended` is called from another thread when the line is given up: with the reason, or with an empty text when
        our side closed it. The console log goes on meanwhile."""

    def screenshot(self, name: str, *, wake: bool) -> bytes:
        """What is on the screen of a running domain, as PNG; `wake`: press a harmless key before."""

    def host_problems(self) -> builtins.list[str]:
        """What is not right with virtualisation on this host, one clear line each."""

    def close(self) -> None: ...


class Storage(Protocol):
    def create_layer(self, layer_id: str, size_gib: int, base: Path | None) -> Path:
        """A layer of a disk, an overlay on `base` if given; complete and durable when this returns."""

    def resize_layer(self, layer_id: str, size_gib: int) -> None:
        """Grow a layer that nothing has open; durable. No-op when it is that large already."""

    def delete_layer(self, layer_id: str) -> None: ...

    def layer_path(self, layer_id: str) -> Path: ...

    def list_layers(self) -> set[str]:
        """Ids of all layers whose file is present."""

    def merge_layer(self, layer_id: str, into: str, give_way: Callable[[], bool]) -> bool:
        """Write a layer that nothing has open into the one below; False when it gave way before it was done."""

    def layer_below(self, layer_id: str) -> str | None:
        """What the layer is an overlay on, by the header of its file: a layer, or an image's file."""

    def move_layer(self, layer_id: str, onto: str) -> None:
        """Let a layer that nothing has open be an overlay on another one of the same meaning; durable."""

    def sync_layer(self, layer_id: str) -> None:
        """What was written to the layer's file survives a power cut."""

    def allocated_bytes(self, layer_id: str) -> int:
        """What the layer's file takes of the host's file system; 0 when it has none."""

    def image_path(self, image_id: str) -> Path: ...

    def list_images(self) -> set[str]: ...

    def install_image(self, image_id: str, source: Path) -> Path:
        """Move a finished qcow2 to where images are, immutable from then on."""

    def delete_image(self, image_id: str) -> None: ...

    def image_allocated_bytes(self, image_id: str) -> int:
        """What the image's file takes of the host's file system; 0 when it has none."""

    def virtual_size_bytes(self, path: Path) -> int: ...

    def sweep(self) -> list[str]:
        """Remove temporary files of interrupted calls; their names. Only at start, before any call."""

    def capacity_bytes(self) -> tuple[int, int]:
        """(total, available) of the file system that holds the disks."""


class Seeds(Protocol):
    def write_seed(self, spec: SeedSpec) -> Path:
        """The instance's NoCloud ISO; durable when this returns, replaced atomically."""

    def seed_path(self, instance_id: str) -> Path: ...

    def config_drive_path(self, instance_id: str) -> Path:
        """The second ISO that the seed of a Windows instance consists of."""

    def delete_seed(self, instance_id: str) -> None: ...

    def list_seeds(self) -> set[str]:
        """Ids of the instances that have a seed on disk."""


class Network(Protocol):
    def ensure_vpc(self, spec: VpcSpec) -> None:
        """The router: namespace, addresses, routes, uplink with address translation, closed filter, DHCP responder.
        Repairs what is missing and takes over what a former agent left, without interrupting it."""

    def remove_vpc(self, vpc_id: str) -> None: ...

    def list_vpcs(self) -> set[str]:
        """Ids of the VPCs that have a namespace of ours on this host."""

    def apply_filter(self, spec: FilterSpec) -> None:
        """Make the namespace filter exactly as wanted, in one atomic commit."""

    def explain(self, vpc_id: str, flow: FlowSpec) -> list[FlowDecision]:
        """What the filter that the namespace has says of a flow: one answer, or for a source of None one for each set
        of addresses that are treated alike. Raises DriverError while nothing was applied yet."""

    def on_stranger(self, callback: Callable[[str, str, bool], None]) -> None:
        """Call back (from another thread) with a VPC's id and what somebody else did to its nftables tables, whenever
        somebody did; and whether it has been undone, else the text says why not. An empty id stands for our table of
        the host. There is one callback."""

    def create_tap(self, port: PortSpec) -> None:
        """A fresh tap in the root namespace, ready for a domain to be started on it."""

    def wire_port(self, port: PortSpec) -> None:
        """Move the tap into the VPC's namespace and route it. The filter must know it before."""

    def limit_port(self, port: PortSpec) -> None:
        """Let the bandwidth of `port` with the outside hold from now on, also for flows that are open. The port may
        be missing: `wire_port` applies it, too."""

    def remove_port(self, vpc_id: str, tap: str) -> None:
        """The tap is gone from wherever it was; its DHCP answer too."""

    def list_taps(self) -> dict[str, str | None]:
        """Our taps on this host: name to VPC id, None for one in the root namespace."""

    def is_wired(self, port: PortSpec) -> bool:
        """Whether its tap is in its VPC."""

    def adopt_ports(self, vpc_id: str, ports: list[PortSpec]) -> None:
        """Tell a fresh driver which ports the namespace has (DHCP answers), after the agent's restart."""

    def dial(self, vpc_id: str, ip: str, port: int, timeout: float) -> socket.socket:
        """A connected blocking TCP socket from the VPC's router to a guest; OSError as usual."""

    def host_addresses(self) -> list[str]:
        """All IPv4 addresses of the host with the length of their networks: `192.168.1.4/24`."""

    def port_taken(self, protocol: str, address: str, port: int) -> bool:
        """Whether something on the host uses a port (`protocol`: tcp | udp) of one of its addresses; empty: of any."""

    def on_router(self, callback: Callable[[str, bool], None]) -> None:
        """Call back (from another thread) with a VPC's id and True whenever its router is ready, which may be
        again and again, and with False before it is removed. There is one callback."""

    def listen(self, vpc_id: str, address: str, port: int) -> socket.socket:
        """A listening TCP socket on an address of the VPC's router, for its services."""

    def receive(self, vpc_id: str, address: str, port: int) -> socket.socket:
        """A UDP socket on an address of the VPC's router, for its services."""

    def note(self, tap_or_ip: str, what: str, vpc_id: str | None = None) -> None:
        """Add to the history of a port, named by its tap or, with `vpc_id`, by its address there; no-op when
        there is no such port."""

    def port_history(self, tap: str) -> list[PortEvent]: ...

    def check_host(self, vpcs: Mapping[str, str]) -> builtins.list[HostCheck]:
        """What stands between guests and the world here. `vpcs`: address blocks by what people call them. Packets
        are sent that end before they leave the host; takes seconds."""

    def remove_all(self) -> None:
        """Every namespace, tap and table of our prefix: the product leaves the host."""

    def close(self) -> None:
        """End threads and sockets; what they made stays as it is."""


class Objects(Protocol):
    """Objects by bucket and name (SPEC section 5): buckets are directories of this host, or those of configured stores.

    NoSuchObject is raised for what is not there, DriverError for what fails.
    """

    def make_bucket(self, bucket: str) -> None:
        """A bucket of this host; no-op when it is there."""

    def drop_bucket(self, bucket: str) -> None:
        """Take an empty bucket of this host away; no-op when it is not there. Raises DriverError when it is not
        empty."""

    def find(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """Its objects whose names begin so, by name."""

    def about(self, bucket: str, key: str) -> ObjectInfo: ...

    def read(self, bucket: str, key: str, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` up to, without, `stop`, in pieces."""

    def opened(
        self,
        bucket: str,
        key: str,
        *,
        report: Callable[[int], None] = lambda percent: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> AbstractContextManager[int]:
        """A descriptor of the object's content, for reading, inside the block. That of another store is brought here
        before: `report` gets percent, and once `cancelled` is true it ends with InterruptedError."""

    def put(
        self,
        bucket: str,
        key: str,
        source: Path,
        *,
        report: Callable[[int], None] = lambda percent: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make a whole file an object, which appears all at once; the file stays. As `opened` with `cancelled`."""

    def remove(self, bucket: str, key: str) -> None:
        """No-op when there is none."""


class PartialFiles(Protocol):
    """Files that arrive in pieces, by upload id. Callers see to it that no two of them work on one at once."""

    def begin(self, upload_id: str) -> None:
        """Make it, empty; one that is there stays."""

    def offset(self, upload_id: str) -> int:
        """How many bytes of it are here; 0 when nothing is."""

    def append(self, upload_id: str, offset: int, piece: bytes) -> int:
        """Write a piece at the end, which is `offset`, durably; how many bytes are here now."""

    def finish(self, upload_id: str, sha256: str) -> None:
        """Call it whole, if it has this checksum (hex; empty: nobody said one). Raises WrongContent: then it begins
        anew."""

    def is_whole(self, upload_id: str) -> bool: ...

    def whole(self, upload_id: str) -> Path:
        """Where it is when it is whole."""

    def remove(self, upload_id: str) -> None: ...

    def list(self) -> set[str]:
        """Ids of all uploads that have a file."""
