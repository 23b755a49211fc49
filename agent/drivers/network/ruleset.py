"""Tables, chains and sets as values, and the messages that lead from one state to another.

Golden tests read `render`; the kernel gets what `replace` or `change` says, in one atomic batch.
"""

from __future__ import annotations

import dataclasses
import itertools
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pyroute2.netlink import NLM_F_APPEND, NLM_F_CREATE
from pyroute2.netlink.nfnetlink import nftsocket as nft

from agent.drivers.network.expressions import (
    Rule,
)
from agent.drivers.network.nfnl import Message, attr, nest, text, u32
from agent.drivers.network.set_elements import Element

_INTERVAL, _MAP, _CONCAT = 0x4, 0x8, 0x80
# data type number (what nft shows) and length in bytes
_TYPES = {
    "ipv4_addr": (7, 4),
    "ether_addr": (9, 6),
    "inet_proto": (12, 1),
    "inet_service": (13, 2),
    "ifname": (41, 16),
}
_VERDICT_TYPE = 0xFFFFFF00
_HOST_ORDER = struct.pack("=BBI", 0, 4, 1)  # lets nft show names as names
_ELEMENT_BYTES = 60_000  # a netlink attribute ends at 64 KB
_FAMILIES = {1: "inet", 3: "arp"}
_HOOKS = {1: ("prerouting", "input", "forward", "output", "postrouting"), 3: ("input", "output")}

_set_ids = itertools.count(1)


@dataclass(frozen=True)
class Hook:
    """Where the kernel calls a base chain. `number`: 0 prerouting, 1 input, 2 forward, 4 postrouting; ARP: 0 input."""

    number: int
    priority: int
    kind: str = "filter"
    drop: bool = False  # the policy

    @property
    def place(self) -> tuple[int, int, str]:
        """What cannot be changed."""
        return self.number, self.priority, self.kind


@dataclass(frozen=True)
class Chain:
    rules: tuple[Rule, ...]
    hook: Hook | None = None


@dataclass(frozen=True)
class NfSet:
    """A set of keys of `types`, a verdict map, or a map to values of the types `data`. Its elements by their text."""

    types: tuple[str, ...]
    elements: dict[str, Element] = field(default_factory=dict)
    verdict_map: bool = False
    interval: bool = False
    data: tuple[str, ...] = ()
    known: bool = True  # False: the kernel has other elements than these

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of the parts of a key, in bytes."""
        return tuple(_TYPES[kind][1] for kind in self.types)

    @property
    def key_length(self) -> int:
        return _concatenated(self.types)[1]

    def bounds(self) -> set[bytes]:
        """First and last key of each element, joined, of an interval set."""
        length = self.key_length
        return {one.data[12 : 12 + length] + one.data[-length:] for one in self.elements.values()}

    def same_kind(self, other: NfSet) -> bool:
        return (self.types, self.verdict_map, self.interval, self.data) == (
            other.types,
            other.verdict_map,
            other.interval,
            other.data,
        )


def elements(items: Iterable[Element]) -> dict[str, Element]:
    return {item.text: item for item in items}


@dataclass(frozen=True)
class Table:
    family: int
    name: str
    sets: dict[str, NfSet]
    chains: dict[str, Chain]


# ------------------------------------------------------------------------------------- transitions


def remove(family: int, name: str) -> list[Message]:
    """The table goes, if there is one: adding what exists is no error, deleting what does not is."""
    return [
        Message(nft.NFT_MSG_NEWTABLE, NLM_F_CREATE, family, text(1, name), f"table {name}"),
        Message(nft.NFT_MSG_DELTABLE, 0, family, text(1, name), f"table {name}"),
    ]


def replace(new: Table) -> Iterator[Message]:
    """Whatever table of that name there is gives way to `new`.

    Nothing passes meanwhile that `new` forbids, but packets may be lost until the old base chains are gone.
    """
    yield from remove(new.family, new.name)
    yield Message(nft.NFT_MSG_NEWTABLE, NLM_F_CREATE, new.family, text(1, new.name), f"table {new.name}")
    yield from change(Table(new.family, new.name, {}, {}), new)


SetKind = tuple[int, int, int, int]  # number of the keys' type, their length, flags, number of the data's type


@dataclass(frozen=True)
class Found:
    """What there is of a table in the kernel: not what is in its chains and sets."""

    chains: dict[str, Hook | None]
    sets: dict[str, SetKind]
    plain: bool = True  # it is active, and has nothing but chains and sets
    intact: frozenset[str] = frozenset()  # sets that have the very elements that they are to have


def taken_over(new: Table, found: Found) -> Table | None:
    """A table of which only that much is known, as one to `change` from. Its base chains stay and are filled anew, so
    that no packet is lost. None: it cannot become `new` this way."""
    blank = NfSet(())
    for name, chain in new.chains.items():
        hook = found.chains.get(name, chain.hook)
        if hook != chain.hook and (not hook or not chain.hook or hook.place != chain.hook.place):
            return None
    if not found.plain or any(name in found.sets and found.sets[name] != _kind(new.sets[name]) for name in new.sets):
        return None
    return Table(
        new.family,
        new.name,
        {name: dataclasses.replace(new.sets.get(name, blank), known=name in found.intact) for name in found.sets},
        {name: Chain((Rule("?", b""),), hook) for name, hook in found.chains.items()},
    )


def prepared(old: Table | None, new: Table) -> Table:
    """What `old`, or nothing, has to become in a batch of its own before it becomes `new`: with all new sets and
    chains, which nothing leads to yet.

    The kernel changes rules at one moment, but not all that they lead to. Elements of interval sets are there only a
    while later, so these sets have their content before the rules do that look into them; a packet that is just then
    among the old rules may find a map's new element, so the chain that it names is there for the old rules as well.
    """
    old = old or Table(new.family, new.name, {}, {})
    sets = {name: one for name, one in new.sets.items() if one.interval or name not in old.sets}
    chains = {name: one for name, one in new.chains.items() if one.hook is None and name not in old.chains}
    return Table(new.family, new.name, old.sets | sets, old.chains | chains)


def change(old: Table, new: Table) -> Iterator[Message]:
    """From `old`, which the kernel has, to `new`."""
    kept = {name for name, value in new.sets.items() if name in old.sets and value.same_kind(old.sets[name])}
    # First what others refer to, then the references, then what is no longer referred to.
    for name in new.sets.keys() - kept:
        if name in old.sets:
            raise ValueError(f"set {name} cannot change its type")
        yield _new_set(new, name)
    # Base chains last: a new one drops everything until the batch is committed. They keep their order: in it the kernel
    # lets go of them when somebody deletes the table.
    added = sorted((n for n in new.chains if n not in old.chains), key=lambda name: new.chains[name].hook is not None)
    for name in added:
        yield _new_chain(new, name)
    for name in new.sets:
        yield from _exchange(new, name, old.sets[name] if name in kept else NfSet(()))
    for name, chain in new.chains.items():
        before = old.chains.get(name)
        if before is chain:
            continue
        if before is not None and before.hook != chain.hook:
            yield _new_chain(new, name)  # another policy
        if before is not None and before.rules != chain.rules:
            yield _flush(new, name)
        if before is None or before.rules != chain.rules:
            yield from _rules(new, name)
    gone = old.chains.keys() - new.chains.keys()
    for name in gone:
        yield _flush(old, name)
    for name in gone:
        yield Message(nft.NFT_MSG_DELCHAIN, 0, old.family, text(1, old.name) + text(3, name), f"chain {name}")
    for name in old.sets.keys() - new.sets.keys():
        yield Message(nft.NFT_MSG_DELSET, 0, old.family, text(1, old.name) + text(2, name), f"set {name}")


def _exchange(table: Table, name: str, old: NfSet) -> Iterator[Message]:
    """The elements of a set instead of those of `old`."""
    if old is table.sets[name]:
        return
    before, wanted = old.elements, table.sets[name].elements
    if not old.known:
        head = text(1, table.name) + text(2, name)
        yield Message(nft.NFT_MSG_DELSETELEM, 0, table.family, head, f"elements of set {name}")
        before = {}
    yield from _elements(table, name, _missing(before, wanted), add=False)
    yield from _elements(table, name, _missing(wanted, before), add=True)


def _missing(of: dict[str, Element], there: dict[str, Element]) -> list[Element]:
    return [element for key, element in of.items() if key not in there]


def _kind(value: NfSet) -> SetKind:
    number, length = _concatenated(value.types)
    data = _VERDICT_TYPE if value.verdict_map else _concatenated(value.data)[0]
    flags = _CONCAT if len(value.types) > 1 else 0
    flags |= (_MAP if data else 0) | (_INTERVAL if value.interval else 0)
    return number, length, flags, data


def _new_set(table: Table, name: str) -> Message:
    value = table.sets[name]
    number, length, flags, data_number = _kind(value)
    data = text(1, table.name) + text(2, name) + u32(4, number) + u32(5, length)
    if len(value.types) > 1:
        data += nest(9, nest(2, *(nest(1, u32(1, _TYPES[kind][1])) for kind in value.types)))
    if value.verdict_map:
        data += u32(6, data_number) + u32(7, 0)
    if value.data:
        data += u32(6, data_number) + u32(7, _concatenated(value.data)[1])
    data += u32(3, flags) + u32(10, next(_set_ids) & 0x7FFFFFFF)
    if value.types == ("ifname",):
        data += attr(13, _HOST_ORDER)
    return Message(nft.NFT_MSG_NEWSET, NLM_F_CREATE, table.family, data, f"set {name}")


def _concatenated(types: tuple[str, ...]) -> tuple[int, int]:
    """The number of the type that several types make, and its length in bytes."""
    number = length = 0
    for name in types:
        number = number << 6 | _TYPES[name][0]
        length += (_TYPES[name][1] + 3) & ~3
    return number, _TYPES[types[0]][1] if len(types) == 1 else length


def _elements(table: Table, name: str, items: list[Element], *, add: bool) -> Iterator[Message]:
    kind, flags = (nft.NFT_MSG_NEWSETELEM, NLM_F_CREATE) if add else (nft.NFT_MSG_DELSETELEM, 0)
    while items:
        size = count = 0
        while count < len(items) and size + len(items[count].data) <= _ELEMENT_BYTES:
            size += len(items[count].data)
            count += 1
        data = text(1, table.name) + text(2, name) + nest(3, *(item.data for item in items[:count]))
        yield Message(kind, flags, table.family, data, f"elements of set {name}")
        items = items[count:]


def _new_chain(table: Table, name: str) -> Message:
    hook = table.chains[name].hook
    data = text(1, table.name) + text(3, name)
    if hook is not None:
        data += nest(4, u32(1, hook.number), u32(2, hook.priority)) + u32(5, 0 if hook.drop else 1) + text(7, hook.kind)
    return Message(nft.NFT_MSG_NEWCHAIN, NLM_F_CREATE, table.family, data, f"chain {name}")


def _rules(table: Table, name: str) -> Iterator[Message]:
    head = text(1, table.name) + text(2, name)
    for rule in table.chains[name].rules:
        about = f"rule {rule.text!r} of chain {name}"
        data = head + attr(4 | 0x8000, rule.data)
        yield Message(nft.NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, table.family, data, about)


def _flush(table: Table, name: str) -> Message:
    return Message(nft.NFT_MSG_DELRULE, 0, table.family, text(1, table.name) + text(2, name), f"chain {name}")


# ------------------------------------------------------------------------------------- for people


def render(table: Table) -> str:
    """The table much as nft would list it, in a fixed order."""
    lines = [f"table {_FAMILIES[table.family]} {table.name} {{"]
    for name, value in sorted(table.sets.items()):
        to = "verdict" if value.verdict_map else " . ".join(value.data)
        kind = " . ".join(value.types) + (f" : {to}" if to else "")
        lines.append(f"  {'map' if to else 'set'} {name} {{ type {kind}")
        if value.interval:
            lines.append("    flags interval")
        lines += [f"    {key}" for key in sorted(value.elements)] + ["  }"]
    for name, chain in sorted(table.chains.items()):
        lines.append(f"  chain {name} {{{_describe(table.family, chain.hook)}")
        lines += [f"    {rule.text}" for rule in chain.rules] + ["  }"]
    return "\n".join([*lines, "}"]) + "\n"


def _describe(family: int, hook: Hook | None) -> str:
    if hook is None:
        return ""
    where = _HOOKS[family][hook.number]
    return f" type {hook.kind} hook {where} priority {hook.priority}; policy {'drop' if hook.drop else 'accept'}"
