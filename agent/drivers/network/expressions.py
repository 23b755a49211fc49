"""What nftables rules are made of: each piece as nft would print it, and as the kernel wants it.

Registers: 1 is the first 16 bytes of the register file; 8 to 23 are its 4 byte words (8 is the start of
register 1), used for the parts of concatenated keys.
"""

from __future__ import annotations

import socket
import struct
from functools import cache, lru_cache
from typing import NamedTuple

from agent.core.specs import Direction
from agent.drivers.network.nfnl import attr, nest, text, u8, u32

NFPROTO_INET, NFPROTO_IPV4, NFPROTO_ARP = 1, 2, 3
ORIGINAL, REPLY = 0, 1  # directions of a tracked flow
_WAYS = ("original", "reply")
INVALID, ESTABLISHED, RELATED, NEW = 1, 2, 4, 8  # bits of ct state
_STATUS = {"snat": 0x10, "dnat": 0x20}

_ACCEPT, _DROP, _JUMP, GOTO = 1, 0, -3, -4
_META = {
    "nfproto": 15,
    "l4proto": 16,
    "iifname": 6,
    "oifname": 7,
    "iifgroup": 21,
    "oifgroup": 22,
    "mark": 3,
    "nftrace": 12,
    "priority": 2,
    "iif": 4,
}
_CT = {"state": 0, "direction": 1, "status": 2, "mark": 3, "protocol": 10, "proto-src": 11, "proto-dst": 12} | {
    "ip saddr": 19,
    "ip daddr": 20,
}
# base of the header (0 link, 1 network, 2 transport), offset and length
_PAYLOAD = {
    "ether saddr": (0, 6, 6),
    "ip saddr": (1, 12, 4),
    "ip daddr": (1, 16, 4),
    "arp saddr ether": (1, 8, 6),
    "arp saddr ip": (1, 14, 4),
    "tcp dport": (2, 2, 2),
    "udp sport": (2, 0, 2),
    "udp dport": (2, 2, 2),
    "th dport": (2, 2, 2),
    "icmp type": (2, 0, 1),
}
_FIB = {"saddr": 1, "daddr": 2}
_LOCAL = struct.pack("=I", 2)  # RTN_LOCAL
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47}


META_KEYS, CT_KEYS = ({number: key for key, number in table.items()} for table in (_META, _CT))


class Part(NamedTuple):
    """A piece of a rule."""

    text: str
    data: bytes


class Rule(NamedTuple):
    text: str
    data: bytes  # NFTA_RULE_EXPRESSIONS' content


def rule(*parts: Part) -> Rule:
    return Rule(" ".join(part.text for part in parts), b"".join(part.data for part in parts))


# ------------------------------------------------------------------------------------- values


def ifname(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def ip4(address: str) -> bytes:
    return socket.inet_aton(address)


def mac(address: str) -> bytes:
    return bytes.fromhex(address.replace(":", ""))


@lru_cache(1 << 16)
def network(cidr: str) -> tuple[bytes, bytes]:
    """First and last address; ValueError if it is no IPv4 network."""
    address, _, length = cidr.partition("/")
    try:
        bits = int(length or 32)
        whole = int.from_bytes(socket.inet_pton(socket.AF_INET, address), "big")
        rest = (1 << 32 - bits) - 1
    except (ValueError, OSError):
        raise ValueError(f"{cidr!r} is not an IPv4 network") from None
    return (whole & ~rest & 0xFFFFFFFF).to_bytes(4, "big"), (whole | rest).to_bytes(4, "big")


# ------------------------------------------------------------------------------------- loads and matches


def _expr(name: str, *attributes: bytes) -> bytes:
    return nest(1, text(1, name), nest(2, *attributes))


def load_meta(key: str, register: int = 1) -> bytes:
    return _expr("meta", u32(1, register), u32(2, _META[key]))


def load_ct(key: str, register: int = 1, direction: int | None = None) -> bytes:
    return _expr("ct", u32(1, register), u32(2, _CT[key]), u8(3, direction) if direction is not None else b"")


def load_payload(key: str, register: int = 1) -> bytes:
    base, offset, length = _PAYLOAD[key]
    return _expr("payload", u32(1, register), u32(2, base), u32(3, offset), u32(4, length))


def _compare(value: bytes, operator: int = 0) -> bytes:
    return _expr("cmp", u32(1, 1), u32(2, operator), nest(3, attr(1, value)))


def _range(low: bytes, high: bytes) -> bytes:
    return _expr("range", u32(1, 1), u32(2, 0), nest(3, attr(1, low)), nest(4, attr(1, high)))


def _any_bit(bits: int) -> bytes:
    mask = struct.pack("=I", bits)
    masked = _expr("bitwise", u32(1, 1), u32(2, 1), u32(3, 4), nest(4, attr(1, mask)), nest(5, attr(1, bytes(4))))
    return masked + _compare(bytes(4), operator=1)


def lookup(set_name: str, register: int = 1, *, inverted: bool = False, into: int | None = None) -> bytes:
    """`into`: the register for what a map has for the key; 0 is that of verdicts."""
    to = u32(3, into) if into is not None else b""
    return _expr("lookup", text(1, set_name), u32(2, register), to, u32(5, 1) if inverted else b"")


def state(*names: str) -> Part:
    """`ct state established,related`"""
    known = {"invalid": INVALID, "established": ESTABLISHED, "related": RELATED, "new": NEW}
    return Part(f"ct state {','.join(names)}", load_ct("state") + _any_bit(sum(known[name] for name in names)))


def direction(which: int) -> Part:
    return Part(f"ct direction {'reply' if which else 'original'}", load_ct("direction") + _compare(bytes([which])))


def flow_mark(value: int) -> Part:
    return Part(f"ct mark {value:#010x}", load_ct("mark") + _compare(struct.pack("=I", value)))


def packet_mark(value: int) -> Part:
    return Part(f"meta mark {value:#010x}", load_meta("mark") + _compare(struct.pack("=I", value)))


def set_packet_mark(value: int) -> Part:
    load = _expr("immediate", u32(1, 1), nest(2, attr(1, struct.pack("=I", value))))
    return Part(f"meta mark set {value:#010x}", load + _expr("meta", u32(2, _META["mark"]), u32(3, 1)))


def set_priority(kind: int) -> Part:
    """`meta priority set 1:10`: the class of a queue."""
    load = _expr("immediate", u32(1, 1), nest(2, attr(1, struct.pack("=I", kind))))
    return Part(f"meta priority set {_class(kind)}", load + _expr("meta", u32(2, _META["priority"]), u32(3, 1)))


def set_priority_by_link(mask: int, bits: int) -> Part:
    """The class that the arriving link's number stands for: that and `mask`, with `bits` set."""
    values = nest(4, attr(1, struct.pack("=I", mask))), nest(5, attr(1, struct.pack("=I", bits)))
    masked = _expr("bitwise", u32(1, 1), u32(2, 1), u32(3, 4), *values)
    data = load_meta("iif") + masked + _expr("meta", u32(2, _META["priority"]), u32(3, 1))
    return Part(f"meta priority set iif & {mask:#x} | {_class(bits)}", data)


def _class(kind: int) -> str:
    return f"{kind >> 16:x}:{kind & 0xFFFF:x}"


def set_flow_mark_from_packet() -> Part:
    return Part("ct mark set meta mark", load_meta("mark") + _expr("ct", u32(2, _CT["mark"]), u32(4, 1)))


def group(key: str, number: int, *, equal: bool = True) -> Part:
    """`iifgroup 100`, `oifgroup != 100`"""
    value = struct.pack("=I", number)
    return Part(f"{key} {'' if equal else '!= '}{number}", load_meta(key) + _compare(value, 0 if equal else 1))


def interface(key: str, name: str, *, equal: bool = True) -> Part:
    """`iifname "lo"`; a trailing `*` stands for any rest."""
    raw = name[:-1].encode() if name.endswith("*") else ifname(name)
    return Part(f'{key} {"" if equal else "!= "}"{name}"', load_meta(key) + _compare(raw, 0 if equal else 1))


def interface_in(key: str, set_name: str, *, inverted: bool = False) -> Part:
    return Part(f"{key} {'!= ' if inverted else ''}@{set_name}", load_meta(key) + lookup(set_name, inverted=inverted))


def dispatch(key: str, map_name: str) -> Part:
    """`iifname vmap @map`"""
    return Part(f"{key} vmap @{map_name}", load_meta(key) + lookup(map_name, into=0))


def ipv4(*, equal: bool = True) -> Part:
    return Part(
        f"meta nfproto {'' if equal else '!= '}ipv4",
        load_meta("nfproto") + _compare(bytes([NFPROTO_IPV4]), 0 if equal else 1),
    )


def protocol(name: str) -> Part:
    return Part(f"meta l4proto {name}", load_meta("l4proto") + _compare(bytes([PROTOCOLS[name]])))


def header(key: str, value: bytes, shown: str) -> Part:
    return Part(f"{key} {shown}", load_payload(key) + _compare(value))


def header_within(key: str, cidr: str) -> Part:
    return Part(f"{key} {cidr}", load_payload(key) + _range(*network(cidr)))


def header_in(key: str, set_name: str, *, inverted: bool = False) -> Part:
    return Part(
        f"{key} {'!= ' if inverted else ''}@{set_name}", load_payload(key) + lookup(set_name, inverted=inverted)
    )


class _Ends(NamedTuple):
    """How a rule of one direction knows a flow, whichever way the packet at hand goes.

    The peer as the flow's first packet named it. The port as the guest has it: inwards it is the one that the guest
    answers from, as a forwarded port was another one before; outwards the one that was asked for.
    """

    address: str
    port: str
    port_direction: int

    @property
    def port_text(self) -> str:
        return f"ct {'reply' if self.port_direction else 'original'} {self.port}"


_ENDS = {
    Direction.INGRESS: _Ends("ip saddr", "proto-src", REPLY),
    Direction.EGRESS: _Ends("ip daddr", "proto-dst", ORIGINAL),
}


@lru_cache(1 << 16)
def peer(way: Direction, cidr: str) -> Part:
    """`ct original ip saddr 10.0.0.0/8`"""
    key, (low, high) = _ENDS[way].address, network(cidr)
    match = _compare(low) if low == high else _range(low, high)
    return Part(f"ct original {key} {cidr}", load_ct(key, direction=ORIGINAL) + match)


def peer_in(way: Direction, set_name: str) -> Part:
    key = _ENDS[way].address
    return Part(f"ct original {key} @{set_name}", load_ct(key, direction=ORIGINAL) + lookup(set_name))


@lru_cache
def flow_protocol(name: str) -> Part:
    """The flow's own: an ICMP error about a TCP flow is judged, and marks it, as that flow."""
    return Part(f"ct protocol {name}", load_ct("protocol") + _compare(bytes([PROTOCOLS[name]])))


@lru_cache(1 << 16)
def flow_port(way: Direction, low: int, high: int) -> Part:
    first, last = struct.pack("!H", low), struct.pack("!H", high)
    match = _compare(first) if low == high else _range(first, last)
    ends, shown = _ENDS[way], str(low) if low == high else f"{low}-{high}"
    return Part(f"{ends.port_text} {shown}", load_ct(ends.port, direction=ends.port_direction) + match)


def status(name: str) -> Part:
    """`ct status dnat`: the flow's destination (snat: source) is translated."""
    return Part(f"ct status {name}", load_ct("status") + _any_bit(_STATUS[name]))


def tracked_address(way: int, key: str, cidr: str) -> Part:
    """`ct reply ip daddr 10.0.0.1`"""
    low, high = network(cidr)
    match = _compare(low) if low == high else _range(low, high)
    return Part(f"ct {_WAYS[way]} {key} {cidr}", load_ct(key, direction=way) + match)


def tracked_in(set_name: str, *keys: tuple[int, str]) -> Part:
    """What the flow has in its two directions, in a set of concatenations."""
    loads = [load_ct(key, register, direction=way) for register, (way, key) in enumerate(keys, 8)]
    shown = " . ".join(f"ct {_WAYS[way]} {key}" for way, key in keys)
    return Part(f"{shown} @{set_name}", b"".join(loads) + lookup(set_name))


def local_address(key: str) -> Part:
    """`fib daddr type local`: one of this host's own."""
    return Part(f"fib {key} type local", _expr("fib", u32(1, 1), u32(2, 3), u32(3, _FIB[key])) + _compare(_LOCAL))


def interface_with(key: str, address_key: str, set_name: str, *, inverted: bool = False) -> Part:
    """`oifname . ip daddr @ends`"""
    data = load_meta(key, 8) + load_payload(address_key, 12) + lookup(set_name, inverted=inverted)
    return Part(f"{key} . {address_key} {'!= ' if inverted else ''}@{set_name}", data)


def addresses_in(set_name: str) -> Part:
    data = load_payload("ip saddr", 8) + load_payload("ip daddr", 9) + lookup(set_name)
    return Part(f"ip saddr . ip daddr @{set_name}", data)


def flow_in(way: Direction, set_name: str) -> Part:
    """The flow's peer, protocol and port are in an interval set."""
    ends = _ENDS[way]
    data = (
        load_ct(ends.address, 8, direction=ORIGINAL)
        + load_ct("protocol", 9)
        + load_ct(ends.port, 10, direction=ends.port_direction)
        + lookup(set_name)
    )
    return Part(f"ct original {ends.address} . ct protocol . {ends.port_text} @{set_name}", data)


def sender_not_in(link_key: str, address_key: str, set_name: str) -> Part:
    """The interface with the sender's two addresses is not in the set."""
    data = (
        load_meta("iifname", 8)
        + load_payload(link_key, 12)
        + load_payload(address_key, 14)
        + lookup(set_name, inverted=True)
    )
    return Part(f"iifname . {link_key} . {address_key} != @{set_name}", data)


# ------------------------------------------------------------------------------------- statements


def trace() -> Part:
    return Part(
        "meta nftrace set 1",
        _expr("immediate", u32(1, 1), nest(2, attr(1, b"\1"))) + _expr("meta", u32(2, _META["nftrace"]), u32(3, 1)),
    )


def counter() -> Part:
    return Part("counter", _expr("counter", attr(1, bytes(8)), attr(2, bytes(8))))


def verdict(code: int, chain: str = "") -> bytes:
    return nest(2, nest(2, u32(1, code), text(2, chain) if chain else b""))


@cache
def accept() -> Part:
    return Part("accept", _expr("immediate", u32(1, 0), verdict(_ACCEPT)))


@cache
def drop() -> Part:
    return Part("drop", _expr("immediate", u32(1, 0), verdict(_DROP)))


def jump(chain: str) -> Part:
    return Part(f"jump {chain}", _expr("immediate", u32(1, 0), verdict(_JUMP, chain)))


def masquerade() -> Part:
    return Part("masquerade", _expr("masq"))


def address_by(kind: str, key: str, map_name: str) -> Part:
    """`dnat ip to ip daddr map @m`, `snat ip to ip saddr map @m`: an address for an address, the port stays."""
    data = load_payload(key) + lookup(map_name, into=1) + _translate(kind, u32(3, 1))
    return Part(f"{kind} ip to {key} map @{map_name}", data)


def destination_by_port(map_name: str, *, address: bool = False) -> Part:
    """`dnat ip to meta l4proto . th dport map @m`: to an address and a port; with `address` that is the key's first."""
    first = load_payload("ip daddr", 8) if address else b""
    register = 9 if address else 8
    key = first + load_meta("l4proto", register) + load_payload("th dport", register + 1)
    data = key + lookup(map_name, into=1) + _translate("dnat", u32(3, 1) + u32(5, 9))
    return Part(f"dnat ip to {'ip daddr . ' if address else ''}meta l4proto . th dport map @{map_name}", data)


def _translate(kind: str, registers: bytes) -> bytes:
    return _expr("nat", u32(1, ("snat", "dnat").index(kind)), u32(2, NFPROTO_IPV4), registers)
