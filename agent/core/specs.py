"""What drivers are told to make: small immutable values, without any knowledge of the store.

Sizes name their unit. Paths are absolute. Everything a driver needs to make a thing again after a
crash is in its spec, so each driver call can be repeated safely with the same spec.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path

# ---------------------------------------------------------------------------------- hypervisor


@dataclass(frozen=True)
class DiskSpec:
    """One disk of a domain. `serial` is the disk id without `d-` (SPEC D2)."""

    path: Path
    device: str  # guest target: vda, vdb, ...
    serial: str
    format: str = "qcow2"
    bus: str = "virtio"
    total_iops: int | None = None
    total_bytes_per_second: int | None = None


@dataclass(frozen=True)
class NicSpec:
    """One network interface: an existing tap device, made by the network driver."""

    tap: str
    mac: str
    model: str = "virtio"  # or e1000e
    mtu: int = 1500


@dataclass(frozen=True)
class DomainSpec:
    """A guest as libvirt shall define it. `acceleration` is `kvm` or `tcg`."""

    name: str  # the libvirt domain name: <prefix>-<instance id>
    instance_id: str
    uuid: str
    vcpus: int
    memory_mib: int
    disks: tuple[DiskSpec, ...]
    nics: tuple[NicSpec, ...]
    seed: Path | None  # NoCloud ISO
    console_log: Path  # serial output, appended, kept over restarts
    acceleration: str
    machine: str = "pc"
    nested_virtualization: bool = False
    os_type: str = "linux"  # linux | windows
    virtio: bool = True  # the guest has drivers for virtio; without, it gets no device that needs them
    config_drive: Path | None = None  # a second ISO, for cloudbase-init
    iso: Path | None = None  # in a drive of its own (a qcow2 file): booted from while the first disk is not bootable


class DomainState(enum.Enum):
    RUNNING = "running"
    PAUSED = "paused"
    SHUT_OFF = "shut off"


@dataclass(frozen=True)
class DomainInfo:
    """What libvirt says of one domain. `reason` tells how it came to stop."""

    name: str
    state: DomainState
    reason: str  # shutdown | crashed | destroyed | failed | unknown | ...
    uuid: str = ""
    fresh: bool = False  # started, but never resumed yet: paused by us on the way up


@dataclass(frozen=True)
class Acceleration:
    """What guests run on, and why: `probe` tells how it was found out."""

    kind: str  # kvm | tcg
    reason: str


@dataclass(frozen=True)
class HostCapacity:
    vcpus: int
    memory_mib: int
    memory_available_mib: int
    disk_bytes: int
    disk_available_bytes: int


# ---------------------------------------------------------------------------------- what guests do


@dataclass(frozen=True)
class DiskCounters:
    """What a guest's disk has done since it was plugged in: requests, bytes, nanoseconds that requests took."""

    reads: int
    writes: int
    bytes_read: int
    bytes_written: int
    read_ns: int
    write_ns: int


@dataclass(frozen=True)
class GuestCounters:
    """Of one running guest. `run` differs after each start of its QEMU, which begins to count at zero; `disks` by
    serial, None when the guest was too busy with something else to be asked."""

    run: str
    disks: dict[str, DiskCounters] | None


# ---------------------------------------------------------------------------------- guest


@dataclass(frozen=True)
class WindowsSeed:
    """What cloudbase-init needs beyond a NoCloud seed. It works once for each `id`."""

    id: str  # a UUID; a new password comes with a new one
    password: str | None = field(default=None, repr=False)  # of Administrator, plain; None: it has been delivered


@dataclass(frozen=True)
class SeedSpec:
    """The NoCloud seed of one instance (SPEC I11). Secrets only as a SHA-512 crypt hash, but for Windows.

    `internet_mac`: of the card that an instance of the classic network has, or may get while it runs (SPEC N4).
    """

    instance_id: str
    host_name: str
    public_keys: tuple[str, ...]
    password_hash: str | None
    mac: str
    user_data: bytes = b""
    region_id: str = ""
    zone_id: str = ""
    windows: WindowsSeed | None = None
    internet_mac: str = ""


# ---------------------------------------------------------------------------------- network


@dataclass(frozen=True)
class RouteSpec:
    """A custom route of a VPC (SPEC N1): by the port `tap`, to the guest's address `via`; without, out by the host."""

    cidr: str
    tap: str = ""
    via: str = ""


@dataclass(frozen=True)
class PublicSpec:
    """A public address of a guest (SPEC N3): stands for `private` in the VPC, 1:1. Both are the same where the
    guest itself has the public one (SPEC N4)."""

    address: str
    private: str


@dataclass(frozen=True)
class ForwardSpec:
    """A port of the host (`host_address` empty: of all its own addresses) that leads to a port of a guest."""

    protocol: str  # tcp | udp
    host_address: str
    host_port: int
    private: str
    port: int


@dataclass(frozen=True)
class VpcSpec:
    """One VPC's router. `link` is a small number unique on the host, for names and uplink addresses."""

    vpc_id: str
    link: int
    cidr: str
    gateways: tuple[str, ...]  # one router address per VSwitch
    nat: tuple[str, ...] = ()  # blocks whose guests go out with the host's address (SPEC N5)
    routes: tuple[RouteSpec, ...] = ()
    publics: tuple[PublicSpec, ...] = ()
    forwards: tuple[ForwardSpec, ...] = ()


INTRANET, INTERNET = "intranet", "internet"  # NIC types


@dataclass(frozen=True)
class PortSpec:
    """One guest link: a tap routed as a /32 into the VPC's namespace, and its DHCP answer. By an `internet` link goes
    the guest's default route and nothing else.

    The limits are in kbit/s of 1,000 bit, 0 for none, and concern only what comes from and goes to the outside of the
    VPC (SPEC N6).
    """

    vpc_id: str
    instance_id: str
    tap: str
    mac: str
    ip: str
    prefix_length: int  # of the VSwitch, told to the guest
    gateway: str
    host_name: str
    mtu: int = 1500
    dns: tuple[str, ...] = ()
    domain: str = ""
    secondary_ips: tuple[str, ...] = ()
    nic_type: str = INTRANET  # | INTERNET: the second one of an instance in the classic network
    default_route: bool = True  # is told to the guest
    inbound_kbit: int = 0
    outbound_kbit: int = 0


class Direction(enum.Enum):
    INGRESS = "ingress"
    EGRESS = "egress"


class Verdict(enum.Enum):
    ACCEPT = "accept"
    DROP = "drop"


@dataclass(frozen=True)
class RuleSpec:
    """One security group rule (SPEC F2). Exactly one of `cidr` and `peer_group` is set."""

    direction: Direction
    verdict: Verdict
    priority: int  # 1 first ... 110
    protocol: str = "all"  # all | tcp | udp | icmp | gre
    ports: tuple[int, int] | None = None  # inclusive; None: every port
    cidr: str | None = None
    peer_group: str | None = None
    nic_type: str = "intranet"  # | internet: to which of a member's ports it applies


@dataclass(frozen=True)
class MemberSpec:
    """One port that the filter knows, whether its tap exists already or not."""

    tap: str
    mac: str
    ips: tuple[str, ...]
    groups: tuple[str, ...]  # 1-5 security group ids
    nic_type: str = "intranet"
    forwards: tuple[str, ...] = ()  # networks that it is the next hop to: it may send with their addresses, too


@dataclass(frozen=True)
class FilterSpec:
    """The whole wanted filter of one VPC. Groups without members matter as peers of rules."""

    vpc_id: str
    rules: dict[str, tuple[RuleSpec, ...]] = field(default_factory=dict)  # by security group id
    members: tuple[MemberSpec, ...] = ()
    smtp_allowed: frozenset[str] = frozenset()  # taps that may send to tcp 25 (SPEC F5)
    isolated: frozenset[str] = frozenset()  # groups whose members do not reach each other by themselves (SPEC F4)


@dataclass(frozen=True)
class FlowSpec:
    """What opens a flow through a VPC's router, for the question what its filter says of it.

    A tap is empty on the side that is outside of the VPC. `source` None: from outside, every address there is but
    those of `inside`. Ports are those of the receiver, 0 where the protocol has none.
    """

    protocol: str  # tcp | udp | icmp | gre
    source: str | None
    destination: str  # as the sender has it
    source_tap: str = ""
    source_mac: str = ""
    destination_tap: str = ""
    port: int = 0  # as the sender has it
    reached_port: int = 0  # as the receiver has it: a port forward makes another one of it
    inside: str = "0.0.0.0/32"  # the VPC's block


class Why(enum.Enum):
    """What decided about one side of a flow."""

    RULE = "rule"
    MEMBERS = "members"  # of one group reach each other (SPEC F4)
    DEFAULT = "default"  # no rule says anything: out yes, in no (SPEC F4)
    MAIL = "mail"  # tcp 25 to the outside is off (SPEC F5)
    FORGED = "forged"  # the sender's address is not one of its own (SPEC F7)
    UNKNOWN = "unknown"  # the filter does not know the port


@dataclass(frozen=True)
class Decision:
    """What the filter says of a flow on one side. `rule` is one of `group`'s, rebuilt from what the filter consists
    of; `trail`: the tables, chains and rules that led there."""

    verdict: Verdict
    why: Why
    group: str = ""
    rule: RuleSpec | None = None
    trail: tuple[str, ...] = ()


@dataclass(frozen=True)
class FlowDecision:
    """Both sides; None for the one outside. `sources`: the networks of which this is true."""

    sources: tuple[str, ...]
    sender: Decision | None
    receiver: Decision | None


@dataclass(frozen=True)
class PortEvent:
    """One thing that happened on a port, for the diagnosis of an instance that does not come up."""

    at: float  # seconds since the epoch
    what: str  # e.g. `DHCPDISCOVER`, `DHCPACK 192.168.0.5`, `GET /latest/meta-data/`


@dataclass(frozen=True)
class HostCheck:
    """One thing about the host that was looked at. `state`: ok | problem | unknown."""

    subject: str
    state: str
    what: str
    advice: str = ""


# ---------------------------------------------------------------------------------- images


IMAGE_FORMATS = ("raw", "vhd", "vhdx", "vmdk", "vdi", "qcow", "qcow2", "qed")


@dataclass(frozen=True)
class ImageInfo:
    """What a file of a stranger is, found out without trusting it. `format` is one of IMAGE_FORMATS."""

    format: str
    variant: str  # vhd: fixed | dynamic; vmdk: sparse | stream-optimised | flat; else empty
    virtual_bytes: int
    file_bytes: int


@dataclass(frozen=True)
class Download:
    """Where a distribution's own image is and how what comes from there is verified.

    The list of checksums is signed by one of the keys `fingerprints`; without any it is only as good as https is.
    `signature`: URL of the list's detached signature; empty: the list itself is a clear-signed text. `key`: URL of the
    public keys; it need not be trusted, as the fingerprints are given here.
    """

    url: str
    checksums: str
    algorithm: str  # sha256 | sha512
    signature: str = ""
    key: str = ""
    fingerprints: tuple[str, ...] = ()
    compression: str = ""  # xz


@dataclass(frozen=True)
class ObjectInfo:
    """An object of a bucket. `modified`: seconds since the epoch. `version`: changes whenever its content does."""

    key: str
    size: int
    modified: float
    version: str = ""


@dataclass(frozen=True)
class Recipe:
    """One public image of the catalogue (SPEC M1): what `images/<id>/image.toml` says. With `download` it is a
    distribution's own, else it is built here."""

    image_id: str
    description: str
    os_type: str  # linux | windows
    os_name: str
    platform: str
    architecture: str  # x86_64 | i386
    size_gib: int
    default_user: str = "root"
    virtio: bool = True  # the guest has drivers for virtio disks and network
    version: str = ""  # of the system
    setup: str = "seed"  # store.schema.Image
    changes: tuple[str, ...] = ()  # against the distribution
    notes: tuple[str, ...] = ()  # what to know, and what was not tried
    download: Download | None = None
