"""FilterSpec to nftables (SPEC F2-F7): golden files, and properties of the changes between them.

`UPDATE_GOLDEN=1 pytest tests/unit/test_network_filter.py` writes the files anew; read the difference.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from pyroute2.netlink.nfnetlink import nftsocket as nft

from agent.core.specs import Direction, FilterSpec, MemberSpec, RuleSpec, Verdict
from agent.drivers.network.filter import translate
from agent.drivers.network.ruleset import Table, change, prepared, render

GOLDEN = Path(__file__).parent.parent / "golden" / "nft"
IN, OUT, ACCEPT, DROP = Direction.INGRESS, Direction.EGRESS, Verdict.ACCEPT, Verdict.DROP
ANYWHERE = "0.0.0.0/0"


def member(number: int, *groups: str) -> MemberSpec:
    return MemberSpec(f"ecst{number}", f"00:16:3e:00:00:{number:02x}", (f"192.168.0.{number}",), groups)


# The system's own group (F4), a user's group with every kind of peer, one port in both.
TYPICAL = FilterSpec(
    "vpc-1",
    {
        "sg-default": (
            RuleSpec(IN, ACCEPT, 110, "icmp", None, ANYWHERE),
            RuleSpec(IN, ACCEPT, 110, "tcp", (22, 22), ANYWHERE),
            RuleSpec(IN, ACCEPT, 110, "tcp", (3389, 3389), ANYWHERE),
            RuleSpec(IN, ACCEPT, 110, cidr="192.168.0.0/16"),
            RuleSpec(OUT, ACCEPT, 110, cidr=ANYWHERE),
        ),
        "sg-web": (
            RuleSpec(IN, ACCEPT, 1, "tcp", (80, 80), ANYWHERE),
            RuleSpec(IN, DROP, 1, "tcp", (80, 80), "10.1.2.3/32"),
            RuleSpec(IN, ACCEPT, 5, "udp", (5000, 5100), peer_group="sg-elsewhere"),
            RuleSpec(OUT, DROP, 1, "gre", cidr="10.0.0.0/8"),
        ),
    },
    (member(1, "sg-default"), member(2, "sg-web", "sg-default"), member(3, "sg-elsewhere")),
    frozenset({"ecst2"}),
)

MANY = FilterSpec(
    "vpc-1",
    {
        "sg-many": (
            *(RuleSpec(IN, ACCEPT, 1, "tcp", (n, n + 1), f"10.{n}.0.0/16") for n in range(40)),
            RuleSpec(IN, ACCEPT, 1, "tcp", (5, 5), "10.0.0.0/8"),
            RuleSpec(IN, ACCEPT, 1, peer_group="sg-peer"),
        )
    },
    (member(1, "sg-many"),),
)

# Two members of one group in the classic network (N4), one of them with an internet NIC; the other one is the next hop
# to networks, of which one is in another.
CLASSIC = FilterSpec(
    "vpc-classic",
    {
        "sg-both": (
            RuleSpec(IN, ACCEPT, 1, "tcp", (22, 22), ANYWHERE, nic_type="internet"),
            RuleSpec(OUT, DROP, 1, "tcp", (80, 80), ANYWHERE, nic_type="internet"),
            RuleSpec(IN, DROP, 1, "icmp", None, "10.1.2.3/32"),
        )
    },
    (
        member(1, "sg-both"),
        MemberSpec("ecst1x", "00:16:3e:00:01:01", ("100.125.0.1",), ("sg-both",), "internet"),
        dataclasses.replace(member(2, "sg-both"), forwards=("10.0.0.0/8", "10.9.0.0/16", "172.16.0.0/12")),
    ),
)


def check(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize(
    ("name", "spec"), [("closed", FilterSpec("vpc-1")), ("typical", TYPICAL), ("many", MANY), ("classic", CLASSIC)]
)
def test_golden(name: str, spec: FilterSpec) -> None:
    check(f"{name}.nft", "\n".join(map(render, translate(spec))))


def test_no_change_no_message_but_nothing_is_forgotten() -> None:
    inet, arp = translate(TYPICAL)
    assert list(change(inet, translate(TYPICAL)[0])) == []
    assert list(change(arp, translate(TYPICAL)[1])) == []


def test_a_change_of_one_group_touches_nothing_else() -> None:
    rules = {**TYPICAL.rules, "sg-web": (*TYPICAL.rules["sg-web"], RuleSpec(IN, ACCEPT, 5, "tcp", (99, 99), ANYWHERE))}
    changed = translate(dataclasses.replace(TYPICAL, rules=rules))[0]
    about = {message.about.split(" of chain ")[-1] for message in change(translate(TYPICAL)[0], changed)}
    assert about == {f"{head}{name}" for head in ("", "chain ") for name in ("s_sg-web_i_5_accept",)}


def test_references_are_made_first_and_undone_last() -> None:
    """Every set and chain that a message names exists when its turn comes, and none is deleted while referred to."""
    for old, new in ((FilterSpec("vpc-1"), TYPICAL), (TYPICAL, MANY), (MANY, FilterSpec("vpc-1"))):
        before, after = translate(old)[0], translate(new)[0]
        order = [message.about for message in change(before, after)]
        for name in after.chains.keys() - before.chains.keys():
            first_use = [n for n, about in enumerate(order) if f"jump {name}" in about]
            assert all(order.index(f"chain {name}") < use for use in first_use)
        gone = [f"chain {name}" for name in before.chains.keys() - after.chains.keys()]
        gone += [f"set {name}" for name in before.sets.keys() - after.sets.keys()]
        last_rule = max((n for n, about in enumerate(order) if about.startswith("rule")), default=-1)
        for about in gone:
            assert len(order) - 1 - order[::-1].index(about) > last_rule


def test_what_is_new_is_there_before_anything_leads_to_it() -> None:
    """The kernel shows elements of interval sets only after the rules that look into them."""
    for old, new in ((FilterSpec("vpc-1"), TYPICAL), (TYPICAL, MANY), (MANY, TYPICAL)):
        before, after = translate(old, generation=1)[0], translate(new, generation=2)[0]
        middle = prepared(before, after)
        assert {n: c for n, c in middle.chains.items() if n in before.chains} == before.chains
        kept = {name: one for name, one in before.sets.items() if not one.interval}
        assert {name: middle.sets[name] for name in kept} == kept
        kinds = {message.kind for message in change(middle, after)}
        assert kinds.isdisjoint({nft.NFT_MSG_NEWSET, nft.NFT_MSG_NEWCHAIN})
        intervals = {name: one for name, one in after.sets.items() if one.interval}
        assert {name: middle.sets[name] for name in intervals} == intervals
    assert not any(chain.hook for chain in prepared(None, after).chains.values())


def test_groups_without_members_cost_nothing() -> None:
    names = translate(FilterSpec("vpc-1", TYPICAL.rules))[0]
    assert not [name for name in names.chains if name.startswith("s_")]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (RuleSpec(IN, ACCEPT, 1), "either a network or a group"),
        (RuleSpec(IN, ACCEPT, 1, cidr=ANYWHERE, peer_group="sg-x"), "either a network or a group"),
        (RuleSpec(IN, ACCEPT, 1, "sctp", cidr=ANYWHERE), "protocol 'sctp' is none of"),
        (RuleSpec(IN, ACCEPT, 1, "icmp", (1, 2), ANYWHERE), "need protocol tcp or udp"),
        (RuleSpec(IN, ACCEPT, 1, "tcp", (2, 1), ANYWHERE), "are not a range"),
        (RuleSpec(IN, ACCEPT, 1, "tcp", (1, 65536), ANYWHERE), "are not a range"),
        (RuleSpec(IN, ACCEPT, 1, cidr="10.0.0.0/33"), "10.0.0.0/33"),
    ],
)
def test_what_cannot_be_is_refused(rule: RuleSpec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        translate(FilterSpec("vpc-1", {"sg-a": (rule,)}, (member(1, "sg-a"),)))


def test_sets_keep_their_kind() -> None:
    table = translate(FilterSpec("vpc-1"))[0]
    other = Table(table.family, table.name, {**table.sets, "senders": table.sets["egress"]}, table.chains)
    with pytest.raises(ValueError, match="set senders cannot change its type"):
        list(change(table, other))
