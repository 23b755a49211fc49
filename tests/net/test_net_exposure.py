"""What the ways in and out must not open: loopback, the host's other networks, false senders (SPEC N3, N5)."""

from __future__ import annotations

import socket
import struct

import pytest
from stage import HOST, WORLD, Stage
from test_net_public import sees
from vpc_lab import Guest, checksum, expect, ping, rule, until

from agent.core.specs import ForwardSpec
from agent.drivers.network.router import ROUTER_MAC

pytestmark = pytest.mark.net

LAN, PRIVATE = "203.0.113.50", "100.125.0.9"
OUTSIDE, OTHER_INSIDE = "100.127.0.5", "100.127.0.10"


@pytest.fixture
def guest(stage: Stage) -> Guest:
    stage.lab.vpc()
    guest = stage.lab.guest("192.168.0.1", "sg-a")
    stage.lab.apply(sg_a=(rule(),))
    return guest


def datagram(source: str, to: str, port: int, payload: bytes) -> bytes:
    udp = struct.pack("!HHHH", 4000, port, 8 + len(payload), 0) + payload
    ends = socket.inet_aton(source), socket.inet_aton(to)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, socket.IPPROTO_UDP, 0, *ends)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp


def from_world(stage: Stage, source: str, to: str, port: int, payload: bytes) -> None:
    """A packet to the host's card, whatever its addresses."""
    mac = stage.host.run(lambda: stage.host.ip.get_links(ifname="wan0"))[0].get_attr("IFLA_ADDRESS")
    send(stage.world, mac, datagram(source, to, port, payload))


def send(sender: Guest, mac: str, packet: bytes) -> None:
    own = sender.ns.run(lambda: sender.ns.ip.get_links(ifname="eth0"))[0].get_attr("IFLA_ADDRESS")
    ends = b"".join(bytes.fromhex(one.replace(":", "")) for one in (mac, own))
    with sender.link_socket() as sock:
        sock.send(ends + b"\x08\0" + packet)


def heard(receiver: socket.socket, until_this: bytes) -> list[bytes]:
    """What arrives up to the last one that was sent, which does."""
    found = []
    while (data := receiver.recv(100)) != until_this:
        found.append(data)
    return found


def further_network(stage: Stage) -> None:
    """10.9.9.1/24 of the host on lan0, on which there would be 10.9.9.2."""
    stage.on_host("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
    stage.on_host("ip", "addr", "add", "10.9.9.1/24", "dev", "lan0")
    for name in ("lan0", "lan1"):
        stage.on_host("ip", "link", "set", name, "up")
    stage.on_host("ip", "neigh", "add", "10.9.9.2", "lladdr", "02:00:00:00:00:01", "dev", "lan0")


@pytest.mark.parametrize("address", ["127.0.0.1", ""])
def test_nobody_outside_uses_the_host_s_loopback(stage: Stage, guest: Guest, address: str) -> None:
    """Not even a forwarded port of it; the host itself does."""
    local = ForwardSpec("udp", address, 5353, guest.ip, 80)
    stage.network((LAN, guest), forwards=(local,))
    expect(True, ping, stage.world, LAN)
    with guest.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("", 80))
        with stage.here.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"own", ("127.0.0.1", 5353))
        assert server.recv(10) == b"own"
        from_world(stage, WORLD, "127.0.0.1", 5353, b"foreign")
        from_world(stage, WORLD, LAN, 80, b"last")
        assert heard(server, b"last") == []


def test_nobody_outside_sends_as_another_guest(stage: Stage, guest: Guest) -> None:
    """As the other end of a pair, or with a public address, though the kernel checks no way back here."""
    stage.host.sysctl({"ipv4/conf/all/rp_filter": 0, "ipv4/conf/wan0/rp_filter": 0})
    stage.lab.vpc("vpc-b")
    stage.network((PRIVATE, stage.lab.guest("192.168.0.1", "sg-a", vpc="vpc-b")), vpc="vpc-b")
    stage.network((LAN, guest))
    expect(True, ping, stage.world, LAN)
    with guest.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("", 80))
        for source in (OTHER_INSIDE, PRIVATE, LAN, "100.127.0.6", OUTSIDE):
            from_world(stage, source, LAN, 80, source.encode())
        from_world(stage, WORLD, LAN, 80, b"last")
        assert heard(server, b"last") == []


def test_the_host_is_no_router_for_others(stage: Stage) -> None:
    """It forwards for guests alone, unless somebody wants it to forward."""
    stage.host.sysctl({"ipv4/ip_forward": 0})
    further_network(stage)
    stage.on_host("nft", "add table inet probe; add chain inet probe c { type filter hook postrouting priority 300; }")
    stage.on_host("nft", 'add rule inet probe c oifname { "lan0", "wan0" } ip saddr 203.0.113.1 counter')
    stage.lab.vpc()
    expect(True, ping, stage.lab.guest("192.168.0.1", "sg-a"), WORLD)

    def passed(to: str) -> bool:
        stage.on_host("nft", "reset counters table inet probe")
        from_world(stage, WORLD, to, 9, b"x")
        return "counter packets 0 " not in stage.on_host("nft", "list", "table", "inet", "probe")

    stage.on_host("ip", "neigh", "add", "203.0.113.9", "lladdr", "02:00:00:00:00:01", "dev", "wan0")
    assert not passed("10.9.9.2")
    assert not passed("203.0.113.9")
    stage.on_host("sysctl", "-qw", "net.ipv4.ip_forward=1")
    until(lambda: passed("10.9.9.2"), "somebody made the host a router")


@pytest.mark.parametrize("stage", ["none"], indirect=True)
def test_with_uplink_none_a_guest_reaches_nothing_of_the_host(stage: Stage, guest: Guest) -> None:
    """By no protocol, none of its addresses and nothing beyond, by the guest's public address or without one; also
    where others made the host a router."""
    stage.host.sysctl({"ipv4/ip_forward": 1})
    further_network(stage)
    plain = stage.lab.guest("192.168.0.2", "sg-a")
    stage.network((LAN, guest), forwards=(ForwardSpec("tcp", "", 8080, guest.ip, 80),))
    sees(OUTSIDE, guest, stage.here, LAN)
    stage.on_host("nft", "add table inet probe; add chain inet probe i { type filter hook input priority 300; }")
    stage.on_host("nft", "add chain inet probe o { type filter hook postrouting priority 300; }")
    stage.on_host("nft", 'add rule inet probe i ip ttl 1-255 iifname != "lo" counter')
    stage.on_host("nft", 'add rule inet probe o ip ttl 1-255 oifname { "wan0", "lan0" } counter')
    own, beyond = (OUTSIDE, HOST, "10.9.9.1"), (WORLD, "10.9.9.2", "8.8.8.8", "100.127.0.9", "169.254.169.254", PRIVATE)
    for sender in (guest, plain):
        for address in (*own, *beyond):
            attempt(sender, address)
        for address in (*own, *beyond, "127.0.0.1", "100.127.0.7", "255.255.255.255", "224.0.0.1"):
            send(sender, ROUTER_MAC, datagram(sender.ip, address, 8080, b"x"))
    expect(False, ping, plain, WORLD)
    listing = stage.on_host("nft", "list", "table", "inet", "probe")
    assert listing.count("counter packets 0 bytes 0") == 2, listing


def attempt(sender: Guest, to: str) -> None:
    """A TCP handshake's beginning and an echo request; none is waited for."""
    with sender.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        sock.connect_ex((to, 8080))
    ping(sender, to, 0.0)
