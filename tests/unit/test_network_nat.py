"""Translation of addresses in a VPC's namespace and on the host, as tables."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from agent.core.specs import ForwardSpec, PublicSpec, RouteSpec, VpcSpec
from agent.drivers.network import nat
from agent.drivers.network.host_table import ADDRESSED, PORTS, HostPort, Pair, from_element, host_table
from agent.drivers.network.nat import Ends
from agent.drivers.network.ruleset import Table, render

GOLDEN = Path(__file__).parents[1] / "golden/nft"
ENDS = Ends("100.127.0.5", "100.127.0.6")
SPEC = VpcSpec(
    "vpc-1",
    1,
    "192.168.0.0/16",
    ("192.168.0.253",),
    nat=("192.168.0.0/24",),
    routes=(RouteSpec("203.0.113.0/24"), RouteSpec("10.8.0.0/24", "ecstap1", "192.168.1.1")),
    publics=(
        PublicSpec("192.0.2.9", "192.168.0.1"),
        PublicSpec("192.0.2.10", "192.168.0.1"),
        PublicSpec("192.0.2.11", "192.0.2.11"),
    ),
    forwards=(
        ForwardSpec("tcp", "", 8080, "192.168.0.1", 80),
        ForwardSpec("tcp", "198.51.100.1", 8080, "192.168.0.2", 80),
        ForwardSpec("udp", "", 8080, "192.168.0.2", 53),
    ),
)
PAIRS = (
    Pair("ecs-up1", ENDS, "192.168.0.0/16", ("192.0.2.9", "100.125.0.1"), (HostPort("tcp", "", 8080, 8080),)),
    Pair(
        "ecs-up2",
        Ends("100.127.0.9", "100.127.0.10"),
        "192.168.0.0/16",
        ports=(HostPort("udp", "198.51.100.1", 53, 1053),),
    ),
)


def check(name: str, *tables: Table) -> None:
    path, text = GOLDEN / name, "\n".join(map(render, tables))
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_golden() -> None:
    check("nat.nft", nat.translate(SPEC, ENDS), nat.translate(SPEC, None))
    closed = host_table("ecs", None, PAIRS[:1], (), closed=True)
    check("host.nft", host_table("ecs", "eth0", PAIRS, ("eth0",)), host_table("ecs", None, PAIRS[:1], ()), closed)


def test_a_forward_keeps_its_port_inside_whatever_else_there_is() -> None:
    ports = nat.inside_ports(SPEC.forwards)
    assert len({(forward.protocol, port) for forward, port in ports.items()}) == 3
    assert ports[SPEC.forwards[0]] == 8080
    for forward in SPEC.forwards:
        assert nat.inside_ports([forward]) == {forward: ports[forward]}


def test_two_forwards_never_share_a_port_inside() -> None:
    many = [ForwardSpec("tcp", f"10.0.{n // 256}.{n % 256}", 80, "192.168.0.1", 80) for n in range(3000)]
    assert len(set(nat.inside_ports(many).values())) == 3000


def test_what_leads_to_a_pair_is_read_back() -> None:
    table = host_table("ecs", None, PAIRS, ())
    for name, pair in ((PORTS, PAIRS[0]), (ADDRESSED, PAIRS[1])):
        (element,) = table.sets[name].elements.values()
        key, value = (element.data[start:stop] for start, stop in _payloads(element.data))
        assert from_element(key, value) == (pair.ends.inside, pair.ports[0])


def test_of_two_with_the_same_port_the_last_one_counts() -> None:
    first, second = PAIRS[0], dataclasses.replace(PAIRS[1], ports=PAIRS[0].ports)
    for pairs in ((first, second), (second, first)):
        (shown,) = host_table("ecs", None, pairs, ()).sets[PORTS].elements
        assert shown == f"tcp . 8080 : {pairs[1].ends.inside} . 8080"
    chains = [host_table("ecs", None, pairs, ()).chains for pairs in ((first, second), (second, first))]
    assert chains[0] == chains[1]  # so that nothing is made anew for another order


def _payloads(data: bytes) -> list[tuple[int, int]]:
    """Where key and value are in an element's attributes: (element, (key (value)), (data (value)))."""
    key_length = int.from_bytes(data[8:10], "little") - 4
    second = 12 + key_length
    value_length = int.from_bytes(data[second + 4 : second + 6], "little") - 4
    return [(12, 12 + key_length), (second + 8, second + 8 + value_length)]


def test_who_may_go_out() -> None:
    plain = VpcSpec("vpc-1", 1, "192.168.0.0/16", ())
    assert not nat.leads_out(plain)
    assert nat.leads_out(SPEC)


@pytest.mark.parametrize("ends", [ENDS, None])
def test_nothing_leaves_that_is_not_translated(ends: Ends | None) -> None:
    table = nat.translate(VpcSpec("vpc-1", 1, "192.168.0.0/16", ()), ends)
    first = table.chains["check"].rules[0].text
    assert first == 'oifname "up0" meta nfproto ipv4 ip saddr != @leaving counter drop'
    assert set(table.sets["leaving"].elements) == ({"100.127.0.6"} if ends else set())
