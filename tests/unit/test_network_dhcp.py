"""The DHCP protocol without any network."""

from __future__ import annotations

import socket
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.specs import PortSpec
from agent.drivers.network import dhcp

PORT = PortSpec(
    "vpc-1",
    "i-1",
    "ecst1",
    "00:16:3e:00:00:01",
    "192.168.0.7",
    24,
    "192.168.0.253",
    "web",
    1450,
    ("9.9.9.9", "1.1.1.1"),
)
OWN = socket.inet_aton(PORT.ip)
SERVER = socket.inet_aton(PORT.gateway)
COOKIE = b"\x63\x82\x53\x63"


def request(kind: int, *, client: bytes = bytes(4), flags: int = 0, mac: str = PORT.mac, **options: bytes) -> bytes:
    body = b"\x01\x01\x06\0" + b"abcd" + b"\0\0" + struct.pack("!H", flags) + client + bytes(12)
    body += bytes.fromhex(mac.replace(":", "")) + bytes(202) + COOKIE + bytes([53, 1, kind])
    for name, value in options.items():
        body += bytes([int(name[1:]), len(value)]) + value
    body += b"\xff"
    udp = struct.pack("!HHHH", 68, 67, 8 + len(body), 0) + body
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + bytes(4) + b"\xff" * 4 + udp


def answer(packet: bytes, port: PortSpec = PORT) -> dhcp.Answer | None:
    parsed = dhcp.parse(packet)
    assert parsed is not None
    return dhcp.answer(parsed, port)


def options(packet: bytes) -> dict[int, bytes]:
    found, data = {}, packet[28 + 240 :]
    while data[0] != 255:
        found[data[0]] = data[2 : 2 + data[1]]
        data = data[2 + data[1] :]
    return found


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) & 1)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return total


def test_offer() -> None:
    offer = answer(request(dhcp.DISCOVER))
    assert offer is not None
    assert offer.kind == dhcp.OFFER
    assert not offer.broadcast
    ip, udp, body = offer.packet[:20], offer.packet[20:28], offer.packet[28:]
    assert (ip[12:16], ip[16:20]) == (SERVER, OWN)
    assert struct.unpack("!HH", udp[:4]) == (67, 68)
    assert checksum(ip) == 0xFFFF
    assert checksum(ip[12:20] + b"\0\x11" + udp[4:6] + udp + body) == 0xFFFF
    assert len(body) >= 300
    assert (body[0], body[4:8], body[16:20]) == (2, b"abcd", OWN)
    assert options(offer.packet) == {
        53: b"\x02",
        54: SERVER,
        51: struct.pack("!I", 315360000),
        1: b"\xff\xff\xff\0",
        3: SERVER,
        6: socket.inet_aton("9.9.9.9") + socket.inet_aton("1.1.1.1"),
        12: b"web",
        26: struct.pack("!H", 1450),
        28: socket.inet_aton("192.168.0.255"),
        121: b"\x20" + SERVER + bytes(4) + b"\x20" + bytes([100, 100, 100, 200]) + SERVER + b"\0" + SERVER,
    }


def test_the_two_cards_of_the_classic_network() -> None:
    """No default route by the intranet's, and nothing but it by the internet's (SPEC N4)."""
    metadata = bytes([100, 100, 100, 200])
    intranet = answer(request(dhcp.DISCOVER), replace(PORT, default_route=False))
    assert intranet is not None
    told = options(intranet.packet)
    assert 3 not in told
    servers = [metadata, *map(socket.inet_aton, PORT.dns)]
    assert told[121] == b"\x20" + SERVER + bytes(4) + b"".join(b"\x20" + server + SERVER for server in servers)
    card = replace(PORT, nic_type="internet", ip="203.0.113.9", prefix_length=32, gateway="100.100.100.253")
    internet = answer(request(dhcp.DISCOVER), card)
    assert internet is not None
    told, gateway = options(internet.packet), bytes([100, 100, 100, 253])
    assert (told[1], told[3], told[54]) == (b"\xff" * 4, gateway, gateway)
    assert told[121] == b"\x20" + gateway + bytes(4) + b"\0" + gateway
    assert not {6, 28} & set(told)


@pytest.mark.parametrize(
    ("packet", "kind"),
    [
        (request(dhcp.REQUEST, o50=OWN, o54=SERVER), dhcp.ACK),  # selecting
        (request(dhcp.REQUEST, o50=OWN), dhcp.ACK),  # after a reboot
        (request(dhcp.REQUEST, client=OWN), dhcp.ACK),  # renewing
        (request(dhcp.REQUEST, o50=b"\x0a\0\0\1"), dhcp.NAK),
        (request(dhcp.REQUEST, client=b"\x0a\0\0\1"), dhcp.NAK),
        (request(dhcp.REQUEST), dhcp.NAK),
        (request(dhcp.REQUEST, o50=OWN, o54=b"\x0a\0\0\1"), None),
        (request(dhcp.INFORM, client=OWN), dhcp.ACK),
        (request(dhcp.RELEASE, client=OWN), None),
        (request(dhcp.DECLINE, o50=OWN), None),
        (request(dhcp.DISCOVER, mac="00:16:3e:00:00:02"), None),
    ],
)
def test_what_is_answered(packet: bytes, kind: int | None) -> None:
    result = answer(packet)
    assert (result.kind if result else None) == kind


def test_an_inform_gets_no_lease_and_no_address() -> None:
    result = answer(request(dhcp.INFORM, client=OWN))
    assert result is not None
    assert 51 not in options(result.packet)
    assert result.packet[28 + 16 : 28 + 20] == bytes(4)
    assert result.packet[16:20] == OWN


def test_a_refusal_goes_to_everybody_and_says_nothing_else() -> None:
    result = answer(request(dhcp.REQUEST, client=b"\x0a\0\0\1"))
    assert result is not None
    assert result.packet[28 + 12 : 28 + 16] == bytes(4)
    assert set(options(result.packet)) == {53, 54}


def test_the_client_s_identifier_is_told_back() -> None:
    result = answer(request(dhcp.DISCOVER, o61=b"\x01abc"))
    assert result is not None
    assert options(result.packet)[61] == b"\x01abc"


@given(st.binary(max_size=700))
def test_noise_is_no_request(data: bytes) -> None:
    assert dhcp.parse(data) is None  # chance does not make the cookie


@given(st.lists(st.tuples(st.integers(0, 290), st.integers(0, 255)), max_size=30), st.integers(0, 291))
def test_damaged_requests_never_fail(changes: list[tuple[int, int]], length: int) -> None:
    packet = bytearray(request(dhcp.REQUEST, o50=OWN, o54=SERVER, o61=b"x" * 8))
    for at, value in changes:
        packet[at] = value
    for data in (bytes(packet), bytes(packet[:length])):
        parsed = dhcp.parse(data)
        told = dhcp.answer(parsed, PORT) if parsed else None
        # Whatever was asked: nobody is given an address but the port's own, or is told no.
        assert told is None or told.packet[28 + 16 : 28 + 20] in (socket.inet_aton(PORT.ip), bytes(4))
