"""A VPC's wanted filter as nftables tables (SPEC F2-F7): pure.

The way of a packet that goes through the router:

    raw      (prerouting -300)  from a port: only with the port's own MAC and address, and only IPv4
    out      (forward 0)        egress rules of the port that opened the flow
    in       (forward 10)       ingress rules of the port that the flow was opened to
    mark     (forward 20)       passed: the flow is marked with the generation of the rules it passed; what met a change
                                on its way is examined once more
    input    (input 0)          what may reach the router itself

`out` and `in` are two base chains of one hook because an `accept` ends only its own chain. Both let a flow's
packets pass unexamined while the flow carries the mark of the current rules, a number that is new whenever they
are. After a change a flow is examined again at its next packet, in whichever direction that goes: rules match what
the flow's *first* packet had (`ct original`), and reply packets are dispatched by the other interface. So a
permission revoked ends live connections, and one that stays loses nothing (SPEC F6).

    s_<group>_<e|i>_<priority>_<drop|accept>    the rules of one group that share these, stored once
    c_<digest>_<e|i>                            all rules for ports with the same groups: jumps to the above
    m_<group>                                   the private addresses of the group's members

A port of the NIC type `internet` has chains of its own, `..._internet_e` and `..._internet_i`: rules count for the
NIC type that they name, and only on the intranet do members of a group reach each other (SPEC F4, N4).
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from itertools import chain as concat
from typing import NamedTuple

from agent.core.specs import INTRANET, Direction, FilterSpec, MemberSpec
from agent.drivers.network import expressions as x
from agent.drivers.network import set_elements as e
from agent.drivers.network.base_chains import TABLE, arp_table, base_chains, forwarders, senders
from agent.drivers.network.ruleset import Chain, NfSet, Table, elements
from agent.drivers.network.segments import Segments, Side, members_set, segments


class Combo(NamedTuple):
    """What ports with the same chains have in common."""

    groups: tuple[str, ...]  # sorted
    nic_type: str


def translate(spec: FilterSpec, *, generation: int = 1) -> tuple[Table, Table]:
    """The inet and the ARP table. `generation` marks flows that pass these rules.

    Raises ValueError for an address, a network or a port range that cannot be.
    """
    return Compiler().compile(spec, generation)


class Compiler:
    """Translates the filter of one VPC again and again: what did not change since the last time is not made anew.

    It keeps what it made last, nothing else: the tables are those that a new one would give.
    """

    def __init__(self) -> None:
        self._spec = FilterSpec("")
        self._of_members = _OfMembers(())
        self._segments: dict[str, Segments] = {}
        self._chains: dict[Combo, _ComboChains] = {}
        self._examined: tuple[dict[str, NfSet], dict[str, Chain]] | None = None
        self.generation = 0  # of the tables made last

    def compile(self, spec: FilterSpec, generation: int | None = None) -> tuple[Table, Table]:
        """The inet and the ARP table. Without a `generation` it is a new one if anything changed that decides about
        flows. Raises ValueError as `translate` does; then nothing has happened."""
        of_members = self._of_members if spec.members is self._spec.members else _OfMembers(spec.members)
        of_groups = {group: self._group(spec, group) for group in sorted(of_members.groups)}
        examined = self._decisive(spec, of_members, of_groups)
        if generation is not None:
            self.generation = generation
        elif examined != self._examined:
            self.generation = new_generation()
        self._spec, self._of_members, self._segments, self._examined = spec, of_members, of_groups, examined
        sets, chains = examined
        inet = Table(x.NFPROTO_INET, TABLE, sets | of_members.origins, chains | base_chains(self.generation))
        return inet, of_members.arp

    def renew(self) -> None:
        """Flows may have been marked that should not: the next `compile` has another generation."""
        self._examined = None

    def _group(self, spec: FilterSpec, group: str) -> Segments:
        rules = spec.rules.get(group, ())
        if group in self._segments and rules == self._spec.rules.get(group, ()):
            return self._segments[group]
        return segments(group, rules)

    def _decisive(
        self, spec: FilterSpec, members: _OfMembers, groups: dict[str, Segments]
    ) -> tuple[dict[str, NfSet], dict[str, Chain]]:
        """Everything that decides about a flow: dispatch maps, the chains behind them, the sets these match."""
        used = list(concat.from_iterable(parts for group in groups.values() for parts in group.values()))
        chains = {segment.name: segment.chain for segment in used}
        self._chains = {combo: self._combo(combo, groups, spec.isolated) for combo in members.combos}
        for combo in self._chains.values():
            chains.update(combo.chains)
        sets = {name: value for segment in used for name, value in segment.sets.items()}
        sets |= {members_set(peer): _NOBODY for segment in used for peer in segment.peers}
        sets |= members.sets
        sets["smtp_allowed"] = NfSet(("ifname",), elements(e.interface_element(tap) for tap in spec.smtp_allowed))
        return sets, chains

    def _combo(self, combo: Combo, groups: dict[str, Segments], isolated: frozenset[str]) -> _ComboChains:
        parts = [groups[group] for group in combo.groups]
        open_groups = [group for group in combo.groups if group not in isolated and combo.nic_type == INTRANET]
        known = self._chains.get(combo)
        if known is not None and known.parts == parts and known.open_groups == open_groups:
            return known
        return _ComboChains(parts, open_groups, combo_chains(combo, parts, open_groups))


class _ComboChains(NamedTuple):
    """The chains of a combination, with what they were made of."""

    parts: list[Segments]
    open_groups: list[str]
    chains: dict[str, Chain]


def new_generation() -> int:
    """Another number than any flow has: 0 is what one has that nobody marked."""
    return int.from_bytes(os.urandom(4), "big") or 1


_NOBODY = NfSet(("ipv4_addr",))


class _OfMembers:
    """What depends on the members alone: where their packets are examined, who is in a group, who may send as whom."""

    def __init__(self, members: tuple[MemberSpec, ...]) -> None:
        combos = {(member.groups, member.nic_type): _combo_of(member.groups, member.nic_type) for member in members}
        self.combos = set(combos.values())
        self.groups = set(concat.from_iterable(combo.groups for combo in self.combos))
        self.sets = _members_sets(members, self.groups)
        for name, way in (("egress", Direction.EGRESS), ("ingress", Direction.INGRESS)):
            chains = {key: chain_name(combo, way) for key, combo in combos.items()}
            items = (e.goto_element(member.tap, chains[member.groups, member.nic_type]) for member in members)
            self.sets[name] = NfSet(("ifname",), elements(items), verdict_map=True)
        self.origins = {"senders": senders(members), "forwarders": forwarders(members)}
        self.arp = arp_table(members)


def _members_sets(members: tuple[MemberSpec, ...], groups: set[str]) -> dict[str, NfSet]:
    addresses: dict[str, list[e.Element]] = {group: [] for group in groups}
    for member in members:
        if member.nic_type == INTRANET:
            items = [e.address_element(ip) for ip in member.ips]
            for group in set(member.groups):
                addresses[group] += items
    return {members_set(group): NfSet(("ipv4_addr",), elements(items)) for group, items in addresses.items()}


# ------------------------------------------------------------------------------------- combinations of groups


@lru_cache(4096)
def _combo_of(groups: tuple[str, ...], nic_type: str) -> Combo:
    return Combo(tuple(sorted(set(groups))), nic_type)


@lru_cache(4096)
def chain_name(combo: Combo, way: Direction) -> str:
    digest = hashlib.blake2b(" ".join(combo.groups).encode(), digest_size=6).hexdigest()
    return f"c_{digest}_{Side(combo.nic_type, way).label}"


def combo_chains(combo: Combo, parts: list[Segments], open_groups: list[str]) -> dict[str, Chain]:
    """All segments as one list by priority, drop first (F3); then what goes without a rule (F4): everything outwards,
    and inwards what comes from the other members of `open_groups`."""
    egress = [*_jumps(combo, parts, Direction.EGRESS), x.rule(x.accept())]
    ingress = _jumps(combo, parts, Direction.INGRESS)
    ingress += [x.rule(x.peer_in(Direction.INGRESS, members_set(group)), x.accept()) for group in open_groups]
    ingress.append(x.rule(x.counter(), x.drop()))
    return {
        chain_name(combo, Direction.EGRESS): Chain(tuple(egress)),
        chain_name(combo, Direction.INGRESS): Chain(tuple(ingress)),
    }


def _jumps(combo: Combo, parts: list[Segments], way: Direction) -> list[x.Rule]:
    found = concat.from_iterable(part.get(Side(combo.nic_type, way), ()) for part in parts)
    return [x.rule(x.jump(one.name)) for one in sorted(found, key=lambda segment: (segment.order, segment.name))]
