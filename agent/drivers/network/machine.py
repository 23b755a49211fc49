"""Runs compiled nftables rules on a packet as the kernel does, and says which of them decided.

It works on what the kernel gets, not on what that was made from: an error of the compiler is an error here, too.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

from agent.drivers.network import decode
from agent.drivers.network import expressions as x
from agent.drivers.network.decode import Expression, Item, Jump
from agent.drivers.network.ruleset import Table
from agent.drivers.network.set_elements import Element

SOURCE = "source"  # of a value: the address of who opened the flow
_IPV4_SOURCE = (1, 12, 4)  # in the network header
_REGISTER_WORDS = 8  # the number of the first of the 4 byte registers
_LAST = 0xFFFFFFFF
_NOTHING = Expression("", {})


@dataclass(frozen=True)
class Packet:
    """The first packet of a flow. `meta` and `ct` have the values by their key's name (and the direction of the flow,
    None for what is of the whole of it); `headers`: of link, network and transport."""

    meta: dict[str, bytes]
    ct: dict[tuple[str, int | None], bytes]
    headers: tuple[bytes, bytes, bytes]


class Match(NamedTuple):
    """A test that a packet passed: `keys` names what was looked at, `low` and `high` what it had to be within,
    `set_name` the set whose element that is, or without these the set in which it had not to be."""

    keys: tuple[str, ...]
    low: tuple[bytes, ...] = ()
    high: tuple[bytes, ...] = ()
    set_name: str = ""


class Step(NamedTuple):
    """A rule that sent the packet elsewhere or decided about it."""

    chain: str
    number: int  # from 1
    text: str
    matches: tuple[Match, ...]


class Outcome(NamedTuple):
    accepted: bool
    steps: tuple[Step, ...]  # those that led here; none: the policy decided
    horizon: int  # the first higher source address that may be treated in another way; 2^32 if there is none


@dataclass
class _Registers:
    data: bytearray = field(default_factory=lambda: bytearray(96))
    keys: dict[int, str] = field(default_factory=dict)  # what was loaded, by where

    def load(self, number: int, value: bytes, key: str) -> None:
        start = offset(number)
        padded = value + bytes(-len(value) % 4)
        self.data[start : start + len(padded)] = padded
        self.keys[start] = key

    def read(self, number: int, length: int) -> bytes:
        return bytes(self.data[offset(number) : offset(number) + length])


def offset(register: int) -> int:
    """Where a register begins, in bytes: 1 to 4 have 16, those from 8 on 4."""
    return (register - _REGISTER_WORDS) * 4 if register >= _REGISTER_WORDS else (register - 1) * 16


class Machine:
    """One table and what packets find in it. Not for two threads at once."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._sets = {name: _SetIndex(value.lengths, value.elements) for name, value in table.sets.items()}

    def run(self, chain: str, packet: Packet) -> Outcome:
        """A base chain with one packet; KeyError if there is none, ValueError for rules that are beyond this."""
        hook = self._table.chains[chain].hook
        visit = _Visit(self._table, self._sets, packet)
        decided = visit.chain(chain)
        accepted = decided == decode.ACCEPT if decided is not None else hook is None or not hook.drop
        return Outcome(accepted, tuple(visit.steps), visit.horizon)


class _SetIndex:
    """The elements of a set, found quickly."""

    def __init__(self, lengths: tuple[int, ...], elements: dict[str, Element]) -> None:
        self.lengths = lengths
        self._elements = elements

    @cached_property
    def _items(self) -> list[Item]:
        return [decode.item(element.data) for element in self._elements.values()]

    @cached_property
    def _exact(self) -> dict[bytes, Item]:
        return {item.low: item for item in self._items if item.low == item.high}

    @cached_property
    def _ranges(self) -> list[tuple[Item, tuple[bytes, ...], tuple[bytes, ...]]]:
        wide = [item for item in self._items if item.low != item.high]
        return [(item, self.parts(item.low), self.parts(item.high)) for item in wide]

    def parts(self, key: bytes) -> tuple[bytes, ...]:
        return tuple(decode.fields(key, self.lengths))

    def find(self, key: bytes) -> Item | None:
        if (exact := self._exact.get(key)) is not None:
            return exact
        parts = self.parts(key)
        for item, low, high in self._ranges:
            if all(first <= part <= last for first, part, last in zip(low, parts, high, strict=True)):
                return item
        return None

    def bounds(self, position: int) -> list[int]:
        """All numbers at which the part at `position` of an element's key begins or has ended, sorted."""
        if position not in self._bounds:
            found = set()
            for item in self._items:
                low, high = (self.parts(end)[position] for end in (item.low, item.high))
                found |= {int.from_bytes(low, "big"), int.from_bytes(high, "big") + 1}
            self._bounds[position] = sorted(found)
        return self._bounds[position]

    @cached_property
    def _bounds(self) -> dict[int, list[int]]:
        return {}


@lru_cache(1 << 15)
def _source_range(rule: bytes) -> tuple[int, int] | None:
    """The sources that a rule's first test lets through, if that is what it tests."""
    load, test, *_ = (*decode.expressions(rule), _NOTHING, _NOTHING)
    if load.name != "ct" or x.CT_KEYS[load.number(2)] != "ip saddr" or load.attributes.get(3) != bytes([x.ORIGINAL]):
        return None
    if test.name not in ("cmp", "range") or test.number(1) != load.number(1) or test.number(2) != 0:
        return None
    low, high = test.value(3), test.value(4 if test.name == "range" else 3)
    return int.from_bytes(low, "big"), int.from_bytes(high, "big")


class _Visit:
    """The way of one packet through a table."""

    def __init__(self, table: Table, sets: dict[str, _SetIndex], packet: Packet) -> None:
        self._table = table
        self._sets = sets
        self._packet = packet
        self._source = int.from_bytes(packet.ct["ip saddr", x.ORIGINAL], "big")
        self._registers = _Registers()
        self._matches: list[Match] = []
        self.steps: list[Step] = []
        self.horizon = _LAST + 1
        self._do: dict[str, Callable[[Expression], Jump | bool]] = {
            "meta": self._meta,
            "ct": self._ct,
            "payload": self._payload,
            "cmp": self._cmp,
            "range": self._range,
            "bitwise": self._bitwise,
            "lookup": self._lookup,
            "immediate": self._immediate,
            "counter": lambda expression: True,
        }

    def chain(self, name: str) -> int | None:
        """ACCEPT or DROP, or None when the packet came to the end of the chain or left it."""
        for number, rule in enumerate(self._table.chains[name].rules, 1):
            verdict = None if self._is_of_others(rule.data) else self._rule(decode.expressions(rule.data))
            if verdict is None:
                continue
            if verdict.code == decode.RETURN:
                return None
            self.steps.append(Step(name, number, rule.text, tuple(self._matches)))
            if verdict.code in (decode.ACCEPT, decode.DROP):
                return verdict.code
            depth = len(self.steps)
            decided = self.chain(verdict.chain)
            if decided is not None:
                return decided
            del self.steps[depth - 1 :]
            if verdict.code == decode.GOTO:
                return None
        return None

    def _is_of_others(self, rule: bytes) -> bool:
        """Whether the rule begins with a network that the source is not in: told quickly, as most rules are."""
        ends = _source_range(rule)
        if ends is None or ends[0] <= self._source <= ends[1]:
            return False
        if self._source < ends[0]:
            self.horizon = min(self.horizon, ends[0])
        return True

    def _rule(self, expressions: tuple[Expression, ...]) -> Jump | None:
        """The verdict of a rule; None when it does not match or has none."""
        self._matches = []
        for expression in expressions:
            if expression.name not in self._do:
                raise ValueError(f"rules with the expression {expression.name!r} are not understood")
            result = self._do[expression.name](expression)
            if isinstance(result, Jump):
                return result
            if not result:
                return None
        return None

    # ----------------------------------------------------------------------------- loads; they always succeed

    def _meta(self, expression: Expression) -> bool:
        if 1 in expression.attributes:  # into a register; what is set concerns later packets
            key = x.META_KEYS[expression.number(2)]
            self._registers.load(expression.number(1), self._packet.meta[key], key)
        return True

    def _ct(self, expression: Expression) -> bool:
        if 1 not in expression.attributes:
            return True
        key = x.CT_KEYS[expression.number(2)]
        way = expression.attributes[3][0] if 3 in expression.attributes else None
        name = SOURCE if (key, way) == ("ip saddr", x.ORIGINAL) else f"ct {key}"
        self._registers.load(expression.number(1), self._packet.ct[key, way], name)
        return True

    def _payload(self, expression: Expression) -> bool:
        base, start, length = where = (expression.number(2), expression.number(3), expression.number(4))
        value = self._packet.headers[base][start : start + length]
        name = SOURCE if where == _IPV4_SOURCE else f"header {where}"
        self._registers.load(expression.number(1), value, name)
        return len(value) == length

    # ----------------------------------------------------------------------------- tests

    def _cmp(self, expression: Expression) -> bool:
        value, operator = expression.value(3), expression.number(2)
        found = self._registers.read(expression.number(1), len(value))
        # ==, !=, <, <=, >, >=
        holds = (found == value, found != value, found < value, found <= value, found > value, found >= value)[operator]
        self._watch(expression.number(1), value, value)
        if holds and operator == 0:
            self._note(expression.number(1), value, value)
        return holds

    def _range(self, expression: Expression) -> bool:
        low, high, inverted = expression.value(3), expression.value(4), expression.number(2) == 1
        holds = (low <= self._registers.read(expression.number(1), len(low)) <= high) != inverted
        self._watch(expression.number(1), low, high)
        if holds and not inverted:
            self._note(expression.number(1), low, high)
        return holds

    def _bitwise(self, expression: Expression) -> bool:
        length = expression.number(3)
        value = int.from_bytes(self._registers.read(expression.number(1), length), "big")
        mask, flip = (int.from_bytes(expression.value(kind), "big") for kind in (4, 5))
        target = expression.number(2)
        self._registers.load(target, ((value & mask) ^ flip).to_bytes(length, "big"), "masked")
        return True

    def _lookup(self, expression: Expression) -> Jump | bool:
        name, register = expression.text(1), expression.number(2)
        index = self._sets[name]
        total = sum(-(-length // 4) * 4 for length in index.lengths) if len(index.lengths) > 1 else index.lengths[0]
        item = index.find(self._registers.read(register, total))
        keys = self._watch_set(register, index)
        if expression.number(5):
            self._matches.append(Match(keys, set_name=name))
            return item is None
        if item is None:
            return False
        if 3 in expression.attributes and item.verdict is not None:
            return item.verdict
        self._matches.append(Match(keys, index.parts(item.low), index.parts(item.high), name))
        return True

    def _immediate(self, expression: Expression) -> Jump | bool:
        if expression.number(1) == 0:
            return decode.verdict(expression.attributes[2])
        self._registers.load(expression.number(1), expression.value(2), "constant")
        return True

    # ----------------------------------------------------------------------------- bookkeeping

    def _note(self, register: int, low: bytes, high: bytes) -> None:
        self._matches.append(Match((self._registers.keys.get(offset(register), ""),), (low,), (high,)))

    def _watch(self, register: int, low: bytes, high: bytes) -> None:
        if self._registers.keys.get(offset(register)) == SOURCE:
            self._pass([int.from_bytes(low, "big"), int.from_bytes(high, "big") + 1], offset(register))

    def _watch_set(self, register: int, index: _SetIndex) -> tuple[str, ...]:
        """The keys of what was looked for."""
        keys, start = [], offset(register)
        for position, length in enumerate(index.lengths):
            keys.append(self._registers.keys.get(start, ""))
            if keys[-1] == SOURCE:
                self._pass(index.bounds(position), start)
            start += -(-length // 4) * 4
        return tuple(keys)

    def _pass(self, bounds: list[int], start: int) -> None:
        """Another source address would have been treated differently from one of `bounds` on."""
        here = struct.unpack_from("!I", self._registers.data, start)[0]
        position = bisect_right(bounds, here)
        if position < len(bounds):
            self.horizon = min(self.horizon, bounds[position])
