"""Many real packets through a VPC's router at once, and which of them arrived.

Everything runs on one CPU, where the kernel hands packets on in the order in which they came; so the answer to
an ARP request that is sent last says that all before it have arrived or never will. Nobody waits for silence.
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket
from vpc_lab import PATIENCE, Guest, Lab, checksum

from agent.drivers.network import netns
from agent.drivers.network.nat import INSIDE
from agent.drivers.network.router import ROUTER_MAC
from tests.support.filter_reference import Opening

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47}
_HEADER_BYTES = {1: 8, 6: 20, 17: 8, 47: 4}
_LINK = 14
_MAGIC = b"prob"
_IP, _ARP = 0x0800, 0x0806
_UNREACHABLE = struct.pack("!BBHI", 3, 3, 0, 0)
_SYN, _ACK = 0x02, 0x10
_SOL_PACKET, _IGNORE_OUTGOING = 263, 23
_AT_ONCE = 200  # packets between two markers: what the kernel queues for a CPU
_PERMANENT = 0x80


class Way(enum.Enum):
    """Where a packet of a flow goes: as the flow, against it, or against it as an ICMP error about it."""

    ON = ""
    BACK = "a reply to "
    ERROR = "an ICMP error about "


@dataclass
class Probe:
    """A flow. `own`: what tells flows apart, the sender's port or the id of an echo request. TCP's state goes on with
    each packet that is made, as connection tracking sees them all, whatever becomes of them."""

    opening: Opening
    own: int
    made: int = 0  # packets
    sequence: list[int] = field(default_factory=lambda: [1, 1])  # the next of the sender, and of the receiver

    @property
    def ends(self) -> tuple[str, str]:
        """The taps of who sends and who receives; empty outside."""
        opening = self.opening
        return opening.sender.tap if opening.sender else "", opening.receiver.tap if opening.receiver else ""

    def next_way(self, random: Random) -> Way:
        """TCP begins with a packet of each side and one more of the first's."""
        if random.random() < 0.2:
            return Way.ERROR
        if self.opening.protocol == "tcp" and self.made < 3:
            return Way.BACK if self.made == 1 else Way.ON
        return random.choice((Way.ON, Way.BACK))

    def packet(self, number: int, way: Way) -> bytes:
        """The next IPv4 packet of the flow, which carries `number`."""
        payload = _MAGIC + struct.pack("!I", number)
        return self._error(payload) if way is Way.ERROR else self._next(payload, reply=way is Way.BACK)

    def _next(self, payload: bytes, *, reply: bool) -> bytes:
        opening, protocol = self.opening, PROTOCOLS[self.opening.protocol]
        there = opening.reached if reply else (opening.destination, opening.port)
        ends = [(opening.shown if reply else opening.source, self.own), there]
        if reply:
            ends.reverse()
        addresses, ports = [socket.inet_aton(address) for address, _ in ends], [port for _, port in ends]
        if protocol == PROTOCOLS["icmp"]:
            head = struct.pack("!BBHHH", 0 if reply else 8, 0, 0, self.own, 1)
            segment = _summed(head + payload, 2, b"")
        elif protocol == PROTOCOLS["udp"]:
            segment = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
        elif protocol == PROTOCOLS["tcp"]:
            segment = self._tcp(addresses, ports, payload, reply)
        else:
            segment = b"\0\0\x08\0" + payload
        self.made += 1
        return _datagram(protocol, *addresses, segment)

    def _error(self, payload: bytes) -> bytes:
        """The receiver's answer that the port is closed, about a packet as it had it."""
        opening, (address, port) = self.opening, self.opening.reached
        ends = socket.inet_aton(opening.shown), socket.inet_aton(address)
        head = {"icmp": struct.pack("!BBHHH", 8, 0, 0, self.own, 1), "gre": b"\0\0\x08\0" + bytes(4)}
        about = head.get(opening.protocol, struct.pack("!HHI", self.own, port, 8))
        told = _datagram(PROTOCOLS[opening.protocol], *ends, about) + payload
        return _datagram(PROTOCOLS["icmp"], *ends[::-1], _summed(_UNREACHABLE + told, 2, b""))

    def _tcp(self, addresses: list[bytes], ports: list[int], payload: bytes, reply: bool) -> bytes:
        """The handshake's parts carry data, too."""
        opens, answered = self.made < 2, self.made > 0
        flags = _SYN * opens | _ACK * answered
        own, peer = self.sequence[reply], self.sequence[not reply] if answered else 0
        self.sequence[reply] += opens + len(payload)
        head = struct.pack("!HHIIBBHHH", *ports, own, peer, 5 << 4, flags, 4096, 0, 0)
        pseudo = b"".join(addresses) + struct.pack("!HH", PROTOCOLS["tcp"], len(head) + len(payload))
        return _summed(head + payload, 16, pseudo)


def _datagram(protocol: int, source: bytes, destination: bytes, segment: bytes) -> bytes:
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 0, 0, 64, protocol, 0, source, destination)
    return _summed(head, 10, b"") + segment


def _summed(data: bytes, position: int, further: bytes) -> bytes:
    return data[:position] + struct.pack("!H", checksum(data + further)) + data[position + 2 :]


class Link(NamedTuple):
    name: str
    mac: str
    address: str

    @staticmethod
    def of(namespace: netns.Namespace, name: str) -> Link:
        ip = namespace.ip

        def find() -> Link:
            index = ip.link_lookup(ifname=name)[0]
            address = str(ip.get_addr(index=index)[0].get_attr("IFA_LOCAL"))
            return Link(name, str(ip.get_links(index)[0].get_attr("IFLA_ADDRESS")), address)

        return namespace.run(find)


@dataclass
class End:
    """Where packets are sent and received; `question`: an ARP request that the router answers."""

    sock: socket.socket
    head: bytes  # of a frame, without its type
    question: bytes
    asked: bool = False

    @staticmethod
    def of(namespace: netns.Namespace, link: Link, router_mac: str, router: str) -> End:
        """On a link whose other end is the router's, with that MAC and address."""
        sock = namespace.run(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
        sock.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind((link.name, 3))
        sock.setblocking(False)
        own, other = (bytes.fromhex(mac.replace(":", "")) for mac in (link.mac, router_mac))
        asks = struct.pack("!HHBBH", 1, _IP, 6, 4, 1) + own + socket.inet_aton(link.address) + bytes(6)
        question = other + own + struct.pack("!H", _ARP) + asks + socket.inet_aton(router)
        return End(sock, other + own, question)


class Field:
    """A VPC whose guests, and somebody outside, have no addresses of their own: they send what they are told, and
    answer nothing. `close` leaves nothing but the lab's."""

    def __init__(self, lab: Lab, host: netns.Namespace, guests: Iterable[Guest]) -> None:
        """`host` plays the host: outside is what comes by its end of the VPC's pair."""
        self._router = netns.Namespace(f"{lab.prefix}-vpc-a")
        self._numbers = itertools.count(1)
        self._tracking = self._router.run(NFCTSocket)
        inside, outside = Link.of(self._router, INSIDE), Link.of(host, f"{lab.prefix}-up1")
        self.address = inside.address
        self._silence(host, outside)
        self.ends = {"": End.of(host, outside, inside.mac, inside.address)}
        for guest in guests:
            link = Link("eth0", guest.port.mac, guest.ip)
            self.ends[guest.port.tap] = End.of(guest.ns, link, ROUTER_MAC, guest.port.gateway)

    def close(self) -> None:
        for end in self.ends.values():
            end.sock.close()
        self._router.run(self._tracking.close)
        self._router.close()

    def _silence(self, host: netns.Namespace, link: Link) -> None:
        """Nothing answers there but ARP."""
        chain = "add chain inet silence first { type filter hook prerouting priority -500; policy drop; }"
        line = ["ip", "netns", "exec", str(host.name), "nft", f"add table inet silence; {chain}"]
        subprocess.run(line, check=True, timeout=PATIENCE)
        ip = self._router.ip

        def know() -> None:
            index = ip.link_lookup(ifname=INSIDE)[0]
            ip.neigh("replace", dst=link.address, lladdr=link.mac, ifindex=index, state=_PERMANENT)

        self._router.run(know)

    def route(self, guest: Guest, *networks: str) -> None:
        """Further addresses that are at a guest, or behind it."""
        ip = self._router.ip

        def work() -> None:
            index = ip.link_lookup(ifname=guest.port.tap)[0]
            for one in networks:
                ip.route("replace", dst=one, gateway=guest.ip, oif=index, flags=["onlink"])

        self._router.run(work)

    def forget_flows(self) -> None:
        self._router.run(self._tracking.flush)

    def send(self, packets: Iterable[tuple[Probe, Way]]) -> list[bool]:
        """Each probe's next packet; which of them arrived. AssertionError for one that arrived
        where it was not sent to."""
        arrived: list[bool] = []
        sequence = iter(packets)
        while some := list(itertools.islice(sequence, _AT_ONCE)):
            arrived += self._send(some)
        return arrived

    def _send(self, packets: list[tuple[Probe, Way]]) -> list[bool]:
        awaited: dict[int, str] = {}
        for probe, way in packets:
            number = next(self._numbers)
            ends = probe.ends if way is Way.ON else probe.ends[::-1]
            awaited[number] = ends[1]
            end = self.ends[ends[0]]
            end.sock.send(end.head + struct.pack("!H", _IP) + probe.packet(number, way))
        seen: dict[int, str] = {}
        for name, number in self._collect():
            assert awaited.get(number) == name, f"packet {number} for {awaited.get(number)!r} arrived at {name!r}"
            seen[number] = name
        return [number in seen for number in awaited]

    def _collect(self) -> Iterator[tuple[str, int]]:
        """What arrives until the router has answered every end."""
        for end in self.ends.values():
            end.asked = True
            end.sock.send(end.question)
        deadline = time.monotonic() + PATIENCE
        while any(end.asked for end in self.ends.values()):
            assert time.monotonic() < deadline, "the router answers no ARP request"
            select.select([end.sock for end in self.ends.values()], [], [], 0.1)
            for name, end in self.ends.items():
                yield from ((name, number) for number in _received(end))


def _received(end: End) -> Iterator[int]:
    with contextlib.suppress(BlockingIOError):
        while True:
            frame = end.sock.recv(2048)
            kind = struct.unpack_from("!H", frame, 12)[0]
            if kind == _ARP:
                end.asked = False
                continue
            start = _LINK + 20 + _HEADER_BYTES.get(frame[_LINK + 9], 0)
            if frame[_LINK + 9] == PROTOCOLS["icmp"] and frame[_LINK + 20] == _UNREACHABLE[0]:
                start += 28
            if kind == _IP and frame[start : start + 4] == _MAGIC:
                yield struct.unpack_from("!I", frame, start + 4)[0]


@contextlib.contextmanager
def one_cpu() -> Iterator[None]:
    """The calling thread stays on one CPU."""
    thread = threading.get_native_id()
    before = os.sched_getaffinity(thread)
    os.sched_setaffinity(thread, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(thread, before)
