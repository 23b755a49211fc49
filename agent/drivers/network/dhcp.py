"""DHCP for a guest that has exactly one address: requests in, answers out; pure.

Both sides are whole IPv4 packets. What cannot be understood is no request: parse gives None, never an error.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass

from agent.core.addresses import METADATA_ADDRESS
from agent.core.specs import INTRANET, PortSpec

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
NAMES = {
    DISCOVER: "DHCPDISCOVER",
    OFFER: "DHCPOFFER",
    REQUEST: "DHCPREQUEST",
    DECLINE: "DHCPDECLINE",
    ACK: "DHCPACK",
    NAK: "DHCPNAK",
    RELEASE: "DHCPRELEASE",
    INFORM: "DHCPINFORM",
}
# Addresses are the instance's for life, and a guest must not lose its while no agent runs.
LEASE_SECONDS = 10 * 365 * 86400

_COOKIE = b"\x63\x82\x53\x63"
_ANY = bytes(4)
_BROADCAST = b"\xff" * 4
_FIXED = 236  # bytes of a BOOTP message before the cookie


@dataclass(frozen=True)
class Request:
    kind: int
    transaction: bytes
    flags: bytes
    client: bytes  # ciaddr: what the client says it has already
    hardware: bytes  # chaddr, 16 bytes
    options: dict[int, bytes]

    @property
    def wants_broadcast(self) -> bool:
        return bool(self.flags[0] & 0x80)


@dataclass(frozen=True)
class Answer:
    kind: int
    packet: bytes
    broadcast: bool  # on the link


def parse(packet: bytes) -> Request | None:
    """A DHCP client's message in an IPv4 packet, if it is a sound one of an Ethernet client."""
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_UDP:
        return None
    start = (packet[0] & 15) * 4
    message = packet[start + 8 :]
    if start < 20 or packet[start + 2 : start + 4] != b"\0\x43" or len(message) < _FIXED + 4:
        return None
    if message[:3] != b"\x01\x01\x06" or message[_FIXED : _FIXED + 4] != _COOKIE:
        return None
    options = _options(message[_FIXED + 4 :])
    kind = options.get(53, b"")
    if len(kind) != 1 or kind[0] not in (DISCOVER, REQUEST, DECLINE, RELEASE, INFORM):
        return None
    return Request(kind[0], message[4:8], message[10:12], message[12:16], message[28:44], options)


def _options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    offset = 0
    while offset < len(data) and data[offset] != 255:
        if data[offset] == 0:
            offset += 1
            continue
        if offset + 1 >= len(data):
            break
        end = offset + 2 + data[offset + 1]
        if end <= len(data):
            found[data[offset]] = found.get(data[offset], b"") + data[offset + 2 : end]
        offset = end
    return found


def answer(request: Request, port: PortSpec) -> Answer | None:
    """What the port's guest is told; None where the protocol demands silence."""
    if request.hardware[:6] != bytes.fromhex(port.mac.replace(":", "")):
        return None
    kind = _answer_kind(request, socket.inet_aton(port.ip), socket.inet_aton(port.gateway))
    return _build(request, port, kind) if kind is not None else None


def _answer_kind(request: Request, address: bytes, server: bytes) -> int | None:
    if request.kind == DISCOVER:
        return OFFER
    if request.kind == INFORM:
        return ACK
    if request.kind != REQUEST or request.options.get(54, server) != server:
        return None  # it takes another server's offer
    # Selecting or rebooting it names the address in an option, renewing it has the address already.
    return ACK if request.options.get(50, request.client) == address else NAK


def _build(request: Request, port: PortSpec, kind: int) -> Answer:
    server = socket.inet_aton(port.gateway)
    informs, refused = request.kind == INFORM, kind == NAK
    yours = _ANY if informs or refused else socket.inet_aton(port.ip)
    client = _ANY if refused else request.client
    options = [(53, bytes([kind])), (54, server)]
    if not refused:
        options += [] if informs else [(51, struct.pack("!I", LEASE_SECONDS))]
        options += _configuration(port)
    if 61 in request.options:
        options.append((61, request.options[61]))  # RFC 6842: told back
    body = (
        b"\x02\x01\x06\0"
        + request.transaction
        + b"\0\0"
        + request.flags
        + client
        + yours
        + server
        + _ANY
        + request.hardware
        + bytes(192)
        + _COOKIE
        + b"".join(bytes([code, len(value)]) + value for code, value in options)
        + b"\xff"
    ).ljust(300, b"\0")
    if client != _ANY:
        broadcast, to = False, client
    else:
        broadcast = refused or request.wants_broadcast
        to = _BROADCAST if broadcast else yours
    return Answer(kind, _packet(server, to, body), broadcast)


def _configuration(port: PortSpec) -> list[tuple[int, bytes]]:
    network = ipaddress.IPv4Network((port.ip, port.prefix_length), strict=False)
    gateway = socket.inet_aton(port.gateway)
    options = [(1, network.netmask.packed), (26, struct.pack("!H", port.mtu)), (121, _routes(port, gateway))]
    if port.default_route:
        options.append((3, gateway))
    if port.nic_type == INTRANET:
        options.append((28, network.broadcast_address.packed))
        options += [(6, b"".join(map(socket.inet_aton, port.dns[:8])))] if port.dns else []
    if port.domain:
        options.append((15, port.domain.encode()))
    if port.host_name:
        options.append((12, port.host_name.encode()[:64]))
    return options


def _routes(port: PortSpec, gateway: bytes) -> bytes:
    """Option 121. Who reads it ignores option 3, so the default route is in both; without one, the name servers need
    routes of their own."""
    routes = b"\x20" + gateway + _ANY
    if port.nic_type == INTRANET:
        servers = (METADATA_ADDRESS, *(() if port.default_route else port.dns[:8]))
        routes += b"".join(b"\x20" + socket.inet_aton(server) + gateway for server in servers)
    return routes + (b"\0" + gateway if port.default_route else b"")


def _packet(source: bytes, to: bytes, body: bytes) -> bytes:
    length = 8 + len(body)
    udp = struct.pack("!HHHH", 67, 68, length, 0) + body
    pseudo = source + to + struct.pack("!HH", socket.IPPROTO_UDP, length)
    udp = udp[:6] + struct.pack("!H", checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0xC0, 20 + length, 0, 0, 64, socket.IPPROTO_UDP, 0, source, to)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp


def checksum(data: bytes) -> int:
    """Of the Internet's protocols (RFC 1071)."""
    data += b"\0" * (len(data) & 1)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
