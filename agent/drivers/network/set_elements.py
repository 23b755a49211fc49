"""Elements of nftables sets and maps: each as nft would print it, and as the kernel wants it."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

from agent.drivers.network.expressions import GOTO, PROTOCOLS, ifname, ip4, mac, network, verdict
from agent.drivers.network.nfnl import attr, nest


class Element(NamedTuple):
    text: str
    data: bytes  # NFTA_LIST_ELEM


def _element(key: bytes, *more: bytes) -> bytes:
    return nest(1, nest(1, attr(1, key)), *more)


@lru_cache(1 << 16)
def address_element(address: str) -> Element:
    return Element(address, _element(ip4(address)))


@lru_cache(1 << 14)
def interface_element(name: str) -> Element:
    return Element(f'"{name}"', _element(ifname(name)))


@lru_cache(1 << 14)
def goto_element(name: str, chain: str) -> Element:
    return Element(f'"{name}" : goto {chain}', _element(ifname(name), verdict(GOTO, chain)))


@lru_cache(1 << 14)
def sender_element(name: str, ether: str, address: str) -> Element:
    key = ifname(name) + mac(ether) + b"\0\0" + ip4(address)
    return Element(f'"{name}" . {ether} . {address}', _element(key))


def forward_element(name: str, ether: str, cidr: str) -> Element:
    """A port with its MAC and a network of addresses."""
    low, high = network(cidr)
    head = ifname(name) + mac(ether) + b"\0\0"
    return Element(f'"{name}" . {ether} . {cidr}', _element(head + low, nest(10, attr(1, head + high))))


def tuple_element(*values: str) -> Element:
    """A concatenation of addresses, interfaces, protocols and ports, each as its text: `192.0.2.1 . tcp . 80`."""
    return Element(" . ".join(values), _element(_joined(values)))


def mapped_element(key: tuple[str, ...], value: tuple[str, ...]) -> Element:
    """`192.0.2.1 . tcp . 80 : 10.0.0.1 . 8080`"""
    shown = f"{' . '.join(key)} : {' . '.join(value)}"
    return Element(shown, _element(_joined(key), nest(2, attr(1, _joined(value)))))


def _joined(values: tuple[str, ...]) -> bytes:
    """Each part is padded to whole registers, unless it is the only one."""
    raw = [_value(text) for text in values]
    return raw[0] if len(raw) == 1 else b"".join(part.ljust((len(part) + 3) & ~3, b"\0") for part in raw)


def _value(shown: str) -> bytes:
    if shown.isdecimal():
        return struct.pack("!H", int(shown))
    if shown in PROTOCOLS:
        return bytes([PROTOCOLS[shown]])
    return ip4(shown) if shown[0].isdecimal() else ifname(shown)


def interval_element(shown: str, first: tuple[int, ...], last: tuple[int, ...]) -> Element:
    """Ranges of (address, protocol, port), ends included."""
    # There may be very many: what all have in common is put together once.
    head, middle = _INTERVAL
    return Element(shown, head + _TUPLE.pack(*first) + middle + _TUPLE.pack(*last))


_TUPLE = struct.Struct("!IB3xH2x")
_INTERVAL = (
    (_WHOLE := _element(bytes(_TUPLE.size), nest(10, attr(1, bytes(_TUPLE.size)))))[:12],
    _WHOLE[12 + _TUPLE.size : -_TUPLE.size],
)
