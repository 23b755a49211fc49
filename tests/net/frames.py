"""Frames as a guest's own kernel would not send them."""

from __future__ import annotations

import select
import socket
import struct

from vpc_lab import SILENCE, Guest, checksum

from agent.drivers.network.router import ROUTER_MAC

IPV4, ARP, IPV6, VLAN, SERVICE_VLAN = 0x0800, 0x0806, 0x86DD, 0x8100, 0x88A8
PROBE_PORT = 5000


def raw_mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def frame(guest: Guest, ethertype: int, body: bytes, *, to: bytes = raw_mac(ROUTER_MAC), mac: str = "") -> bytes:
    """From the guest's own address, if not from `mac`."""
    return to + raw_mac(mac or guest.port.mac) + struct.pack("!H", ethertype) + body


def ipv4(source: str, target: str, protocol: int, body: bytes, *, fragment: int = 0) -> bytes:
    """`fragment`: flags and offset as the header has them."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, fragment, 64, protocol, 0)
    head += socket.inet_aton(source) + socket.inet_aton(target)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def udp(text: bytes = b"probe", port: int = PROBE_PORT, source_port: int = 1000) -> bytes:
    return struct.pack("!HHHH", source_port, port, 8 + len(text), 0) + text


def arp(operation: int, sender_mac: str, sender: str, target: str, target_mac: str = "00:00:00:00:00:00") -> bytes:
    head = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation)
    return head + raw_mac(sender_mac) + socket.inet_aton(sender) + raw_mac(target_mac) + socket.inet_aton(target)


def arrives(sender: Guest, frames: list[bytes], receiver: Guest, port: int = PROBE_PORT) -> bool:
    """Whether the receiver gets a datagram on this port after the sender's frames."""
    with receiver.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener, sender.link_socket() as link:
        listener.bind(("", port))
        for one in frames:
            link.send(one)
        return bool(select.select([listener], [], [], SILENCE)[0])


def raw_udp_arrives(sender: Guest, source: str, receiver: Guest) -> bool:
    """Whether a datagram with this source address gets through."""
    return arrives(sender, [frame(sender, IPV4, ipv4(source, receiver.ip, 17, udp()))], receiver)
