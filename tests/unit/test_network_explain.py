"""Running compiled rules on a packet, and telling which rule decided (SPEC F2-F5)."""

from __future__ import annotations

import dataclasses
import itertools
from random import Random

import pytest

from agent.core.specs import Decision, Direction, FilterSpec, FlowSpec, MemberSpec, RuleSpec, Verdict, Why
from agent.drivers.network import expressions as x
from agent.drivers.network.explain import explain, packet_of
from agent.drivers.network.filter import translate
from agent.drivers.network.machine import Machine
from agent.drivers.network.ruleset import Chain, Hook, Table
from tests.support import filter_reference as reference
from tests.support.random_filters import filters, openings

IN, OUT, ACCEPT, DROP = Direction.INGRESS, Direction.EGRESS, Verdict.ACCEPT, Verdict.DROP
ANYWHERE = "0.0.0.0/0"


def member(number: int, *groups: str, **more: object) -> MemberSpec:
    plain = MemberSpec(f"ecst{number}", f"00:16:3e:00:00:{number:02x}", (f"192.168.0.{number}",), groups)
    return dataclasses.replace(plain, **more)


WEB, DB, LONE = member(1, "sg-web"), member(2, "sg-db"), member(3, "sg-lone", "sg-db")
SPEC = FilterSpec(
    "vpc-1",
    {
        "sg-web": (RuleSpec(OUT, DROP, 7, "udp", (53, 53), "192.168.0.2/32"),),
        "sg-db": (
            RuleSpec(IN, ACCEPT, 5, "tcp", (3306, 3307), peer_group="sg-web"),
            RuleSpec(IN, DROP, 5, "tcp", (3307, 3307), ANYWHERE),
            RuleSpec(IN, ACCEPT, 9, "icmp", None, "10.0.0.0/8"),
        ),
        "sg-many": tuple(RuleSpec(IN, ACCEPT, 1, "tcp", (n, n + 5), f"10.{n}.0.0/16") for n in range(40)),
    },
    (WEB, DB, LONE, member(4, "sg-many")),
)


def flow(protocol: str, port: int, sender: MemberSpec | None, receiver: MemberSpec | None, **more: object) -> FlowSpec:
    plain = FlowSpec(
        protocol,
        sender.ips[0] if sender else "203.0.113.1",
        receiver.ips[0] if receiver else "203.0.113.1",
        sender.tap if sender else "",
        sender.mac if sender else "",
        receiver.tap if receiver else "",
        port,
        port,
    )
    return dataclasses.replace(plain, **more)


def decided(spec: FilterSpec, asked: FlowSpec) -> tuple[Decision | None, Decision | None]:
    [one] = explain(translate(spec)[0], asked, "up0")
    return one.sender, one.receiver


def test_the_rule_is_named_as_it_was_written() -> None:
    sender, receiver = decided(SPEC, flow("tcp", 3306, WEB, DB))
    assert sender is not None
    assert (sender.verdict, sender.why) == (ACCEPT, Why.DEFAULT)
    assert receiver is not None
    assert (receiver.why, receiver.group, receiver.rule) == (Why.RULE, "sg-db", SPEC.rules["sg-db"][0])
    assert receiver.trail[-1].startswith("s_sg-db_i_5_accept 1: ")
    for port, source, expected in ((3307, WEB, 1), (3307, LONE, 1)):
        receiver = decided(SPEC, flow("tcp", port, source, DB))[1]
        assert receiver is not None
        assert receiver.rule == SPEC.rules["sg-db"][expected]
    sender = decided(SPEC, flow("udp", 53, WEB, DB))[0]
    assert sender is not None
    assert (sender.verdict, sender.rule) == (DROP, SPEC.rules["sg-web"][0])


def test_a_rule_in_an_interval_set_is_found_again() -> None:
    asked = flow("tcp", 12, None, SPEC.members[3], source="10.10.9.9")
    receiver = decided(SPEC, dataclasses.replace(asked, port=80))[1]  # by a forwarded port
    assert receiver is not None
    assert receiver.rule == SPEC.rules["sg-many"][10]
    assert "@s_sg-many" in receiver.trail[-1]


@pytest.mark.parametrize(
    ("asked", "side", "why", "verdict"),
    [
        (flow("tcp", 25, WEB, None), 0, Why.MAIL, DROP),
        (flow("tcp", 25, WEB, DB), 0, Why.DEFAULT, ACCEPT),
        (flow("tcp", 80, WEB, DB, source="192.168.0.9"), 0, Why.FORGED, DROP),
        (flow("tcp", 80, WEB, DB, source_tap="ecst9"), 0, Why.FORGED, DROP),
        (flow("tcp", 80, None, DB, destination_tap="ecst9"), 1, Why.UNKNOWN, DROP),
        (flow("gre", 0, DB, LONE), 1, Why.MEMBERS, ACCEPT),
        (flow("gre", 0, WEB, LONE), 1, Why.DEFAULT, DROP),
    ],
)
def test_what_decides_without_a_rule(asked: FlowSpec, side: int, why: Why, verdict: Verdict) -> None:
    decision = decided(SPEC, asked)[side]
    assert decision is not None
    assert (decision.why, decision.verdict, decision.rule) == (why, verdict, None)


def test_somebody_outside_is_everybody_there() -> None:
    asked = flow("icmp", 0, None, DB, source=None, inside="192.168.0.0/16")
    ten, others = explain(translate(SPEC)[0], asked, "up0")
    assert (ten.sources, ten.sender, others.sources) == (("10.0.0.0/8",), None, ())
    assert ten.receiver is not None
    assert others.receiver is not None
    assert (ten.receiver.rule, others.receiver.why) == (SPEC.rules["sg-db"][2], Why.DEFAULT)
    members = explain(translate(SPEC)[0], dataclasses.replace(asked, inside="172.16.0.0/12"), "up0")
    assert [(one.sources, one.receiver and one.receiver.why) for one in members][1:] == [
        (("192.168.0.2/31",), Why.MEMBERS),
        ((), Why.DEFAULT),
    ]
    many = flow("tcp", 12, None, SPEC.members[3], source=None, inside="192.168.0.0/16")
    found = explain(translate(SPEC)[0], many, "up0")
    assert [one.sources for one in found] == [*((f"10.{n}.0.0/16",) for n in range(7, 13)), ()]


def test_random_filters_are_explained_as_the_spec_says() -> None:
    """tests/net compares with the kernel; this needs none."""
    random = Random(6)
    actors = tuple(member(n, nic_type="internet" if n == 5 else "intranet") for n in range(1, 6))
    for spec in itertools.islice(filters(random, actors), 6):
        table = translate(spec)[0]
        for opening in itertools.islice(openings(random, spec), 40):
            asked = flow(opening.protocol, opening.port, opening.sender, opening.receiver)
            asked = dataclasses.replace(asked, source=opening.source, destination=opening.destination)
            [found] = explain(table, asked, "up0")
            for side, judged in (
                (found.sender, reference.sending(spec, opening)),
                (found.receiver, reference.receiving(spec, opening)),
            ):
                assert (side and (side.verdict, side.why)) == (judged and (judged.verdict, judged.why))


def test_rules_beyond_it_are_an_error_and_not_guessed() -> None:
    alien = x.Rule("alien", x.rule(x.masquerade()).data)
    table = Table(x.NFPROTO_INET, "vpc", {}, {"in": Chain((alien,), Hook(2, 10))})
    packet = packet_of(flow("tcp", 1, WEB, DB), WEB.ips[0], "up0")
    with pytest.raises(ValueError, match="'masq' are not understood"):
        Machine(table).run("in", packet)
    with pytest.raises(ValueError, match="protocol 'sctp' is none of"):
        packet_of(flow("sctp", 1, WEB, DB), WEB.ips[0], "up0")
