"""VPCs of a network driver with guests that are namespaces on a veth, for traffic that is real and quick."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import select
import socket
import string
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from agent.core.specs import Direction, FilterSpec, MemberSpec, PortSpec, RuleSpec, Verdict, VpcSpec
from agent.drivers.network import netns
from agent.drivers.network.driver import NetworkDriver

SILENCE = 0.35  # seconds after which a packet on one host counts as dropped
PATIENCE = 10.0  # seconds for what must happen


def rule(
    way: Direction = Direction.INGRESS,
    verdict: Verdict = Verdict.ACCEPT,
    priority: int = 1,
    protocol: str = "all",
    ports: tuple[int, int] | None = None,
    cidr: str | None = None,
    peer_group: str | None = None,
) -> RuleSpec:
    if peer_group is None and cidr is None:
        cidr = "0.0.0.0/0"
    return RuleSpec(way, verdict, priority, protocol, ports, cidr, peer_group)


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"in {PATIENCE} s not: {what}")
        time.sleep(0.01)


@dataclass
class Guest:
    """A namespace whose eth0 is the far end of a port."""

    port: PortSpec
    groups: tuple[str, ...]
    ns: netns.Namespace

    @property
    def ip(self) -> str:
        return self.port.ip

    def member(self) -> MemberSpec:
        return MemberSpec(self.port.tap, self.port.mac, (self.port.ip, *self.port.secondary_ips), self.groups)

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        sock = self.ns.run(lambda: socket.socket(family, kind, protocol))
        sock.settimeout(PATIENCE)
        return sock

    def sh(self, *command: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
        line = ["ip", "netns", "exec", str(self.ns.name), *command]
        return subprocess.run(line, capture_output=True, text=True, timeout=timeout)

    def configure(self) -> None:
        """The address and the default route, as DHCP would say."""

        def work() -> None:
            ip = self.ns.ip
            index = ip.link_lookup(ifname="eth0")[0]
            ip.addr("replace", index=index, address=self.ip, prefixlen=self.port.prefix_length)
            ip.route("replace", dst="0.0.0.0/0", gateway=self.port.gateway)

        self.ns.run(work)

    def link_socket(self, protocol: int = 0x0003) -> socket.socket:
        sock = self.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
        sock.bind(("eth0", protocol))
        return sock


@dataclass
class Lab:
    """One agent's worth of VPCs under a prefix of its own; `close` leaves nothing behind."""

    uplink: str = "none"
    host: str | None = None
    prefix: str = field(
        default_factory=lambda: "".join(
            [random.choice(string.ascii_lowercase), *random.choices(string.ascii_lowercase + string.digits, k=3)]
        )
    )

    def __post_init__(self) -> None:
        self.guests: list[Guest] = []
        self.vpcs: dict[str, VpcSpec] = {}
        self.rules: dict[str, tuple[RuleSpec, ...]] = {}
        self.smtp: set[str] = set()
        self.isolated: set[str] = set()  # groups whose members do not reach each other
        self.driver = self.new_driver()

    def new_driver(self) -> NetworkDriver:
        return NetworkDriver(self.prefix, self.uplink, ("9.9.9.9",), self.host)

    def restart(self) -> NetworkDriver:
        """The agent is gone and another one comes, which knows what the store says."""
        self.driver.close()
        self.driver = self.new_driver()
        return self.driver

    def close(self) -> None:
        self.driver.close()
        driver = self.new_driver()
        driver.remove_all()
        driver.close()
        for guest in self.guests:
            guest.ns.close()
            netns.remove(str(guest.ns.name))

    def vpc(
        self, name: str = "vpc-a", cidr: str = "192.168.0.0/16", gateways: tuple[str, ...] = ("192.168.0.253",)
    ) -> str:
        self.vpcs[name] = VpcSpec(name, len(self.vpcs) + 1, cidr, gateways, nat=(cidr,))
        self.driver.ensure_vpc(self.vpcs[name])
        return name

    def new_port(self, ip: str, vpc: str = "vpc-a") -> PortSpec:
        number = len(self.guests) + 1
        gateway = self.vpcs[vpc].gateways[0]
        mac = "00:16:3e:" + ":".join(f"{byte:02x}" for byte in number.to_bytes(3, "big"))
        return PortSpec(vpc, f"i-{number}", f"{self.prefix}t{number}", mac, ip, 24, gateway, f"host-{number}")

    def guest(self, ip: str, *groups: str, vpc: str = "vpc-a", wire: bool = True) -> Guest:
        """With `wire` the filter knows it and it is reachable; its link exists in any case."""
        port = self.new_port(ip, vpc)
        name = f"{self.prefix}-guest{len(self.guests)}"
        netns.create(name)
        guest = Guest(port, groups, netns.Namespace(name))
        self.guests.append(guest)
        guest.ns.run(lambda: self._link(guest))
        if wire:
            self.apply(vpc)
            self.driver.wire_port(port)
            guest.configure()
        return guest

    def assign(self, guest: Guest, *further: str) -> None:
        """Its addresses beside the primary one from now on, as far as the VPC goes."""
        guest.port = dataclasses.replace(guest.port, secondary_ips=further)
        self.apply(guest.port.vpc_id)
        self.driver.wire_port(guest.port)

    def relink(self, guest: Guest) -> None:
        """A new link in place of one that was removed, as a restart of an instance makes it."""
        guest.ns.run(lambda: self._link(guest))
        self.driver.wire_port(guest.port)
        guest.configure()

    def _link(self, guest: Guest) -> None:
        ip = guest.ns.ip
        with (netns.RUN_DIR / f"{self.prefix}-{guest.port.vpc_id}").open("rb") as router:
            peer = {"ifname": guest.port.tap, "net_ns_fd": router.fileno()}
            ip.link("add", ifname="eth0", kind="veth", address=guest.port.mac, peer=peer)
        for name in ("lo", "eth0"):
            ip.link("set", index=ip.link_lookup(ifname=name)[0], state="up")
        guest.ns.sysctl({"ipv6/conf/all/disable_ipv6": 1})

    def spec(self, vpc: str = "vpc-a") -> FilterSpec:
        members = tuple(self._member(guest) for guest in self.guests if guest.port.vpc_id == vpc)
        return FilterSpec(vpc, dict(self.rules), members, frozenset(self.smtp), frozenset(self.isolated))

    def _member(self, guest: Guest) -> MemberSpec:
        routes = self.vpcs[guest.port.vpc_id].routes
        forwards = tuple(route.cidr for route in routes if route.tap == guest.port.tap)
        return dataclasses.replace(guest.member(), forwards=forwards)

    def apply(self, vpc: str = "vpc-a", **rules: tuple[RuleSpec, ...]) -> None:
        """Rules by group, `sg_a` for `sg-a`; groups not named stay as they are."""
        self.rules.update({group.replace("_", "-"): value for group, value in rules.items()})
        self.driver.apply_filter(self.spec(vpc))

    def in_router(self, *command: str, vpc: str = "vpc-a") -> str:
        line = ["ip", "netns", "exec", f"{self.prefix}-{vpc}", *command]
        return subprocess.run(line, capture_output=True, text=True, timeout=20, check=True).stdout


# ------------------------------------------------------------------------------------- probes


def expect(passes: bool, probe: Callable[..., bool], *arguments: object) -> None:
    """What must pass may take its time on a busy machine; what must not is given a short while."""
    if passes:
        until(lambda: probe(*arguments), f"{probe.__name__} passes")
    else:
        assert not probe(*arguments)


@contextlib.contextmanager
def serving(guest: Guest, port: int) -> Iterator[socket.socket]:
    """A TCP listener on all addresses of the guest."""
    with guest.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", port))
        listener.listen()
        yield listener


def tcp(source: Guest, to: str, port: int, timeout: float = SILENCE) -> bool:
    """Whether a connection to a listening port comes about; refused is not dropped, and an error here."""
    with source.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect((to, port))
        except TimeoutError:
            return False
        return True


def tcp_between(source: Guest, target: Guest, port: int) -> bool:
    with serving(target, port):
        return tcp(source, target.ip, port)


def udp(source: Guest, target: Guest, port: int) -> bool:
    with (
        target.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        source.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("", port))
        receiver.settimeout(SILENCE)
        sender.sendto(b"probe", (target.ip, port))
        with contextlib.suppress(TimeoutError):
            return receiver.recv(100) == b"probe"
    return False


def gre(source: Guest, target: Guest) -> bool:
    with (
        target.socket(socket.AF_INET, socket.SOCK_RAW, 47) as receiver,
        source.socket(socket.AF_INET, socket.SOCK_RAW, 47) as sender,
    ):
        receiver.settimeout(SILENCE)
        sender.sendto(b"\0\0\x08\0probe", (target.ip, 0))
        with contextlib.suppress(TimeoutError):
            return receiver.recv(100).endswith(b"probe")
    return False


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def ping(source: Guest, to: str, timeout: float = SILENCE) -> bool:
    identifier = random.randrange(1 << 16)
    head = struct.pack("!BBHHH", 8, 0, 0, identifier, 1)
    with source.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.sendto(head[:2] + struct.pack("!H", checksum(head)) + head[4:], (to, 0))
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([sock], [], [], left)[0]:
                return False
            answer, (sender, _) = sock.recvfrom(200)
            if sender == to and answer[20] == 0 and struct.unpack_from("!H", answer, 24)[0] == identifier:
                return True
    return False


class Flow:
    """A TCP connection both of whose ends talk all the time, or only the server does."""

    def __init__(self, client: Guest, server: Guest, port: int, *, two_way: bool = True) -> None:
        with serving(server, port) as listener:
            self._client = client.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._client.connect((server.ip, port))
            self._server, _ = listener.accept()
        self.received = 0
        self._stop = False
        self._pool = ThreadPoolExecutor(3)
        speakers = [self._server, self._client] if two_way else [self._server]
        self._work: list[Future[None]] = [self._pool.submit(self._speak, sock) for sock in speakers]
        self._work.append(self._pool.submit(self._hear))

    def _speak(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        while not self._stop:
            with contextlib.suppress(BlockingIOError):
                sock.send(b"x" * 100)
            if not self._stop:
                select.select([], [], [], 0.01)

    def _hear(self) -> None:
        while not self._stop:
            if select.select([self._client], [], [], 0.05)[0]:
                self.received += len(self._client.recv(65536))

    def moves(self) -> bool:
        """Whether data arrives within the time of silence."""
        before, deadline = self.received, time.monotonic() + SILENCE
        while self.received == before and time.monotonic() < deadline:
            time.sleep(0.005)
        return self.received > before

    def close(self) -> None:
        self._stop = True
        for future in self._work:
            future.result(PATIENCE)
        self._pool.shutdown()
        self._client.close()
        self._server.close()
