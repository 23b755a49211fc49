"""A guest speaks only as itself (SPEC F7), and reaches of its router only what is meant for it."""

from __future__ import annotations

import select
import socket
import struct
import time

import pytest
from vpc_lab import SILENCE, Guest, Lab, checksum, expect, ping, rule, tcp, until

pytestmark = pytest.mark.net

IPV4, ARP = 0x0800, 0x0806


@pytest.fixture
def pair(lab: Lab) -> tuple[Guest, Guest]:
    lab.vpc()
    lab.rules["sg-a"] = (rule(),)
    return lab.guest("192.168.0.1", "sg-a"), lab.guest("192.168.0.2", "sg-a")


def raw_mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def udp_frame(to_mac: bytes, from_mac: bytes, source: str, target: str) -> bytes:
    body = struct.pack("!HHHH", 1000, 5000, 13, 0) + b"probe"
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, 17, 0)
    head += socket.inet_aton(source) + socket.inet_aton(target)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return to_mac + from_mac + struct.pack("!H", IPV4) + head + body


def arp_frame(from_mac: bytes, sender_mac: bytes, sender: str, target: str) -> bytes:
    body = struct.pack("!HHBBH", 1, IPV4, 6, 4, 1) + sender_mac + socket.inet_aton(sender)
    return b"\xff" * 6 + from_mac + struct.pack("!H", ARP) + body + bytes(6) + socket.inet_aton(target)


def router_mac(guest: Guest) -> bytes:
    """What the guest learns as its gateway's address."""
    ping(guest, guest.port.gateway)
    text = guest.sh("ip", "neigh", "show", guest.port.gateway).stdout
    return raw_mac(text.split("lladdr ")[1].split()[0])


@pytest.mark.parametrize(
    ("mac", "address", "passes"),
    [
        (None, None, True),
        ("00:16:3e:99:99:99", None, False),
        ("00:16:3e:00:00:02", None, False),
        (None, "192.168.0.9", False),
        (None, "192.168.0.253", False),
        (None, "8.8.8.8", False),
        (None, "0.0.0.0", False),
    ],
)
def test_packets_with_a_forged_sender(
    pair: tuple[Guest, Guest], mac: str | None, address: str | None, passes: bool
) -> None:
    one, two = pair
    frame = udp_frame(router_mac(one), raw_mac(mac or one.port.mac), address or one.ip, two.ip)

    def arrives() -> bool:
        with two.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, one.link_socket() as link:
            receiver.bind(("", 5000))
            link.send(frame)
            return bool(select.select([receiver], [], [], SILENCE)[0])

    expect(passes, arrives)


@pytest.mark.parametrize(
    ("link_mac", "sender_mac", "sender", "answered"),
    [
        (None, None, "192.168.0.1", True),
        (None, None, "0.0.0.0", True),  # a guest probing an address
        (None, None, "192.168.0.2", False),
        (None, "00:16:3e:00:00:02", "192.168.0.1", False),
        ("00:16:3e:00:00:02", None, "192.168.0.1", False),
    ],
)
def test_arp_with_a_forged_sender(
    pair: tuple[Guest, Guest], link_mac: str | None, sender_mac: str | None, sender: str, answered: bool
) -> None:
    one, _ = pair
    own = one.port.mac
    frame = arp_frame(raw_mac(link_mac or own), raw_mac(sender_mac or own), sender, one.port.gateway)

    def replied() -> bool:
        with one.link_socket(ARP) as link:
            link.send(frame)
            deadline = time.monotonic() + SILENCE
            while select.select([link], [], [], max(0, deadline - time.monotonic()))[0]:
                if link.recv(100)[20:22] == b"\0\x02":
                    return True
        return False

    expect(answered, replied)


def test_other_protocols_are_dropped(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    with two.link_socket() as receiver, one.link_socket() as link:
        link.send(b"\xff" * 6 + raw_mac(one.port.mac) + struct.pack("!H", 0x86DD) + bytes(60))
        link.send(b"\xff" * 6 + raw_mac(one.port.mac) + struct.pack("!H", 0x88CC) + bytes(60))
        assert not select.select([receiver], [], [], SILENCE)[0]


def test_what_a_guest_reaches_of_its_router(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    one, _ = pair
    gateway, metadata = one.port.gateway, "100.100.100.200"
    with (
        lab.driver.listen("vpc-a", metadata, 80),
        lab.driver.listen("vpc-a", metadata, 81),
        lab.driver.listen("vpc-a", gateway, 80),
    ):
        expect(True, ping, one, gateway)
        expect(True, tcp, one, metadata, 80)
        expect(False, tcp, one, metadata, 81)
        expect(False, tcp, one, gateway, 80)


def test_a_listener_sees_the_guest_s_own_address(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    one, _ = pair
    with lab.driver.listen("vpc-a", "100.100.100.200", 80) as listener:
        until(lambda: tcp(one, "100.100.100.200", 80), "a connection")
        connection, (address, _) = listener.accept()
        connection.close()
    assert address == one.ip
