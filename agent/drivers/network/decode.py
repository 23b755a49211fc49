"""nftables rules and set elements read back from the bytes that the kernel gets (the way back of expressions.py)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from agent.drivers.network.nfnl import attributes

_NAME, _CONTENT = 1, 2  # attributes of an expression
_KEY, _DATA, _KEY_END = 1, 2, 10  # attributes of an element
_WORD = 4  # bytes; parts of a concatenated key begin at multiples of it


class Expression(NamedTuple):
    """One instruction: `meta`, `cmp`, `lookup`, …, and its attributes by number."""

    name: str
    attributes: dict[int, bytes]

    def number(self, kind: int, default: int = 0) -> int:
        value = self.attributes.get(kind)
        return default if value is None else int.from_bytes(value, "big")

    def text(self, kind: int) -> str:
        return self.attributes[kind].rstrip(b"\0").decode()

    def value(self, kind: int) -> bytes:
        """Data wrapped in an attribute of its own, as operands are."""
        return dict(attributes(self.attributes[kind]))[1]


class Jump(NamedTuple):
    """A verdict: `code` is one of the constants below; `chain` of a jump or a goto."""

    code: int
    chain: str = ""


DROP, ACCEPT, JUMP, GOTO, RETURN = 0, 1, -3, -4, -5


class Item(NamedTuple):
    """An element of a set: what is matched, ends included, and for a verdict map the verdict."""

    low: bytes
    high: bytes
    verdict: Jump | None


@lru_cache(1 << 15)
def expressions(rule: bytes) -> tuple[Expression, ...]:
    """The content of NFTA_RULE_EXPRESSIONS."""
    return tuple(_expression(data) for _, data in attributes(rule))


def _expression(data: bytes) -> Expression:
    parts = dict(attributes(data))
    return Expression(parts[_NAME].rstrip(b"\0").decode(), dict(attributes(parts.get(_CONTENT, b""))))


@lru_cache(1 << 14)
def verdict(data: bytes) -> Jump:
    """What an `immediate` or an element of a verdict map says."""
    parts = dict(attributes(dict(attributes(data))[2]))
    code = struct.unpack("!i", parts[1])[0]
    return Jump(code, parts[2].rstrip(b"\0").decode() if 2 in parts else "")


@lru_cache(1 << 16)
def item(element: bytes) -> Item:
    """An element as it stands in NFTA_SET_ELEM_LIST_ELEMENTS."""
    parts = dict(attributes(next(attributes(element))[1]))
    low = dict(attributes(parts[_KEY]))[1]
    high = dict(attributes(parts[_KEY_END]))[1] if _KEY_END in parts else low
    return Item(low, high, verdict(parts[_DATA]) if _DATA in parts else None)


def fields(key: bytes, lengths: tuple[int, ...]) -> Iterator[bytes]:
    """The parts of a key of fields with these lengths in bytes."""
    start = 0
    for length in lengths:
        yield key[start : start + length]
        start += -(-length // _WORD) * _WORD
