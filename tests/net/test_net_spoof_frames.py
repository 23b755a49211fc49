"""What a guest sends beside ordinary packets goes nowhere (SPEC F7, N8): to no other guest, and not into the router."""

from __future__ import annotations

import select
import socket
import struct
import time

import pytest
from frames import ARP, IPV4, IPV6, PROBE_PORT, SERVICE_VLAN, VLAN, arp, arrives, frame, ipv4, raw_mac, udp
from vpc_lab import PATIENCE, SILENCE, Guest, Lab, checksum, expect, ping, rule

from agent.core.addresses import METADATA_ADDRESS, NAME_SERVER
from agent.core.specs import Verdict

pytestmark = pytest.mark.net

BROADCAST, ALL_NODES = b"\xff" * 6, raw_mac("33:33:00:00:00:01")
MDNS = raw_mac("01:00:5e:00:00:fb")
MORE_FRAGMENTS = 0x2000
SETTLE = 0.05  # seconds that a frame may come later than one that was sent after it
SYN, ANSWERS_TO_SYN = 0x02, (0x12, 0x14)  # flags: SYN and ACK, RST and ACK


@pytest.fixture
def pair(lab: Lab) -> tuple[Guest, Guest]:
    """Two guests that let each other do everything."""
    lab.vpc()
    lab.rules["sg-a"] = (rule(),)
    return lab.guest("192.168.0.1", "sg-a"), lab.guest("192.168.0.2", "sg-a")


def heard(sender: Guest, frames: list[bytes], receiver: Guest) -> list[str]:
    """What reaches the receiver's link of these frames. A last one that does shows that it listens."""
    marker = frame(sender, IPV4, ipv4(sender.ip, receiver.ip, 17, udp(b"the last one", 9)))
    found: list[bytes] = []
    with (
        receiver.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken,  # or its kernel would ask where to complain
        receiver.link_socket() as ear,
        sender.link_socket() as mouth,
    ):
        taken.bind(("", 9))
        for one in (*frames, marker):
            mouth.send(one)
        patience = PATIENCE
        while select.select([ear], [], [], patience)[0]:
            got, address = ear.recvfrom(2000)
            if b"the last one" in got:
                patience = SETTLE
            elif address[2] != socket.PACKET_OUTGOING:
                found.append(got)
        assert patience == SETTLE, "the last frame did not arrive"
    return [got.hex() for got in found]


def test_arp_lies_are_heard_by_nobody(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    lies = [
        frame(one, ARP, arp(operation, one.port.mac, claimed, target, two.port.mac), to=to)
        for operation in (1, 2)
        for claimed in (two.ip, one.port.gateway, METADATA_ADDRESS, "192.168.0.77", one.ip)
        for target in (claimed, two.ip)
        for to in (BROADCAST, raw_mac(two.port.mac))
    ]
    assert heard(one, lies, two) == []
    known = lab.in_router("ip", "neigh")
    assert f"{two.ip} dev {two.port.tap} lladdr {two.port.mac} PERMANENT" in known
    assert "192.168.0.77" not in known
    expect(True, ping, two, one.ip)


def test_only_the_router_answers_dhcp(pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    offer = udp(b"\x02\x01\x06\0" + bytes(300), 68, 67)
    frames = [
        frame(one, IPV4, ipv4(one.ip, target, 17, offer), to=to)
        for target in (two.ip, "255.255.255.255", "192.168.0.255")
        for to in (BROADCAST, raw_mac(two.port.mac), raw_mac("ee:ff:ff:ff:ff:ff"))
    ]
    assert heard(one, frames, two) == []


def ipv6(source: str, target: str, icmp_type: int, body: bytes) -> bytes:
    payload = struct.pack("!BBH", icmp_type, 0, 0) + body
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
    return struct.pack("!IHBB", 6 << 28, len(payload), 58, 255) + ends + payload


def test_ipv6_does_not_exist(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    advertisement = ipv6("fe80::1", "ff02::1", 134, bytes(12))
    neighbour = ipv6("fe80::1", "ff02::1", 136, bytes(20))
    solicitation = ipv6("fe80::1", "ff02::2", 133, bytes(4))
    bodies = (advertisement, neighbour, solicitation, ipv6("fd00::1", "fd00::2", 128, bytes(4)))
    frames = [frame(one, IPV6, body, to=to) for body in bodies for to in (ALL_NODES, raw_mac(two.port.mac), BROADCAST)]
    frames += [frame(one, IPV6, body) for body in bodies]
    assert heard(one, frames, two) == []
    assert lab.in_router("ip", "-6", "route") == lab.in_router("ip", "-6", "addr") == ""


def test_vlan_tags_and_other_protocols(pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    packet, forged = (ipv4(source, two.ip, 17, udp()) for source in (one.ip, "192.168.0.99"))
    inner = struct.pack("!HH", 5, IPV4)
    frames = []
    for to in (raw_mac("ee:ff:ff:ff:ff:ff"), raw_mac(two.port.mac), BROADCAST):
        frames += [frame(one, kind, inner + packet, to=to) for kind in (VLAN, SERVICE_VLAN)]
        frames += [
            frame(one, outer, struct.pack("!HH", 0, VLAN) + inner + packet, to=to) for outer in (VLAN, SERVICE_VLAN)
        ]
        frames.append(frame(one, VLAN, struct.pack("!HH", 0, IPV4) + forged, to=to))  # priority only: as untagged
        frames.append(frame(one, VLAN, struct.pack("!HH", 0, ARP) + arp(2, one.port.mac, two.ip, two.ip), to=to))
        others = (0x88CC, 0x888E, 0x8863, 0x8847, 0x88E5, 0x22F3, 0x0842, 0x9000)
        frames += [frame(one, kind, packet, to=to) for kind in others]
        # IPv4 in 802.2 SNAP: the length in place of a type
        frames.append(frame(one, 8 + len(packet), b"\xaa\xaa\x03\0\0\0\x08\0" + packet, to=to))
    assert heard(one, frames, two) == []


def test_neither_broadcast_nor_multicast(pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    everybody = ("255.255.255.255", "192.168.0.255", "192.168.255.255", "224.0.0.1", "224.0.0.251", "239.1.2.3")
    frames = [
        frame(one, IPV4, ipv4(one.ip, target, protocol, body), to=to)
        for target in everybody
        for protocol, body in ((17, udp()), (1, echo()), (2, struct.pack("!BBHI", 0x16, 0, 0, 0xEF010203)))
        for to in (raw_mac("ee:ff:ff:ff:ff:ff"), BROADCAST, MDNS)
    ]
    # To one guest, but not by the router: past it, or to everybody
    direct = ipv4(one.ip, two.ip, 17, udp())
    frames += [frame(one, IPV4, direct, to=to) for to in (BROADCAST, MDNS, raw_mac(two.port.mac))]
    assert heard(one, frames, two) == []


def echo(kind: int = 8) -> bytes:
    body = struct.pack("!BBHHH", kind, 0, 0, 1, 1) + bytes(12)
    return body[:2] + struct.pack("!H", checksum(body)) + body[4:]


def fragments(source: str, target: str, payload: bytes, at: int = 8) -> list[bytes]:
    return [
        ipv4(source, target, 17, payload[:at], fragment=MORE_FRAGMENTS),
        ipv4(source, target, 17, payload[at:], fragment=at // 8),
    ]


def test_fragments_are_judged_as_what_they_make(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    lab.apply(sg_b=(rule(protocol="udp", ports=(PROBE_PORT, PROBE_PORT)),), sg_a=(rule(verdict=Verdict.DROP),))
    three = lab.guest("192.168.0.3", "sg-b")
    shut = PROBE_PORT + 1

    def sent(*parts: bytes) -> list[bytes]:
        return [frame(one, IPV4, part) for part in parts]

    whole, closed = udp(b"a long enough text"), udp(b"a long enough text", shut)
    expect(True, arrives, one, sent(*fragments(one.ip, three.ip, whole)), three)
    expect(False, arrives, one, sent(*fragments(two.ip, three.ip, whole)), three)
    expect(False, arrives, one, sent(*fragments(one.ip, three.ip, closed)), three, shut)
    # A later fragment that would write over the header of the first
    first, last = fragments(one.ip, three.ip, whole, 16)
    over = ipv4(one.ip, three.ip, 17, closed[:8], fragment=MORE_FRAGMENTS)
    expect(False, arrives, one, sent(first, over, last), three, shut)


# ------------------------------------------------------------------------------ the router itself


def tcp_syn(source: str, target: str, port: int) -> bytes:
    head = struct.pack("!HHIIBBHHH", 2000, port, 1, 0, 5 << 4, SYN, 1024, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, 6, len(head))
    return head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]


def scan(guest: Guest, target: str, ports: list[int]) -> set[tuple[str, int]]:
    """Ports of the router that answer in any way, refusing included: ("tcp", 80)."""
    found = set()
    with guest.link_socket(IPV4) as link:
        for port in ports:
            link.send(frame(guest, IPV4, ipv4(guest.ip, target, 6, tcp_syn(guest.ip, target, port))))
            link.send(frame(guest, IPV4, ipv4(guest.ip, target, 17, udp(port=port))))
        deadline = time.monotonic() + SILENCE
        while select.select([link], [], [], max(0.0, deadline - time.monotonic()))[0]:
            got = link.recv(2000)[14:]
            if got[12:16] != socket.inet_aton(target):
                continue
            if got[9] == 6 and got[33] in ANSWERS_TO_SYN:
                found.add(("tcp", struct.unpack_from("!H", got, 20)[0]))
            elif got[9] == 17:
                found.add(("udp", struct.unpack_from("!H", got, 20)[0]))
            elif got[9] == 1 and got[20] == 3:  # what the ICMP error quotes: the probe
                found.add(("udp", struct.unpack_from("!H", got, 50)[0]))
    return found


def test_a_port_scan_of_the_router(lab: Lab) -> None:
    lab.vpc(gateways=("192.168.0.253", "192.168.1.253"))
    lab.rules["sg-a"] = (rule(),)
    guest = lab.guest("192.168.0.1", "sg-a")
    ports = [*range(1, 1100), 3128, 3306, 5353, 5355, 8080, 8443, 16509, *range(30000, 30100), 65535]
    for gateway in lab.vpcs["vpc-a"].gateways:
        assert scan(guest, gateway, ports) == set()
    assert scan(guest, METADATA_ADDRESS, ports) == {("tcp", 80)}
    assert scan(guest, NAME_SERVER, ports) == {("tcp", 53), ("udp", 53)}
    assert scan(guest, "127.0.0.1", ports[:100]) == set()


def test_of_icmp_the_router_answers_ping_alone(pair: tuple[Guest, Guest]) -> None:
    one, _ = pair

    def answered(kind: int) -> bool:
        with one.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as ear, one.link_socket() as link:
            link.send(frame(one, IPV4, ipv4(one.ip, one.port.gateway, 1, echo(kind))))
            return bool(select.select([ear], [], [], SILENCE)[0])

    expect(True, answered, 8)
    for kind in (13, 15, 17):  # time stamp, information, address mask
        expect(False, answered, kind)


def test_a_sender_does_not_choose_the_way(pair: tuple[Guest, Guest]) -> None:
    """Source routes and redirects."""
    one, two = pair
    packet = ipv4(one.ip, one.port.gateway, 17, udp())
    option = struct.pack("!BBB", 0x83, 7, 4) + socket.inet_aton(two.ip) + b"\0"  # loose source route
    head = struct.pack("!BBHHHBBH", 0x47, 0, 28 + len(packet) - 20, 7, 0, 64, 17, 0) + packet[12:20] + option
    routed = head[:10] + struct.pack("!H", checksum(head)) + head[12:] + packet[20:]
    redirect = struct.pack("!BBH", 5, 1, 0) + socket.inet_aton(one.ip) + ipv4(one.ip, two.ip, 17, udp())[:28]
    redirect = redirect[:2] + struct.pack("!H", checksum(redirect)) + redirect[4:]
    frames = [frame(one, IPV4, routed), frame(one, IPV4, ipv4(one.ip, one.port.gateway, 1, redirect))]
    assert heard(one, frames, two) == []
    expect(True, ping, one, two.ip)
