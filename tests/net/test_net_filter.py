"""Security groups with real traffic (SPEC F2-F6)."""

from __future__ import annotations

import socket
import threading

import pytest
from vpc_lab import PATIENCE, Flow, Guest, Lab, expect, gre, ping, rule, serving, tcp_between, udp, until

from agent.core.specs import Direction, Verdict

pytestmark = pytest.mark.net

OUT, DROP = Direction.EGRESS, Verdict.DROP


@pytest.fixture
def pair(lab: Lab) -> tuple[Guest, Guest]:
    """A client in group sg-c, a server in sg-s."""
    lab.vpc()
    return lab.guest("192.168.0.1", "sg-c"), lab.guest("192.168.0.2", "sg-s")


def test_in_is_closed_by_default_for_all_protocols(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    client, server = pair
    expect(False, tcp_between, client, server, 22)
    expect(False, udp, client, server, 53)
    expect(False, ping, client, server.ip)
    expect(False, gre, client, server)


@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp", "gre"])
def test_a_rule_opens_its_protocol_only(lab: Lab, pair: tuple[Guest, Guest], protocol: str) -> None:
    client, server = pair
    lab.apply(sg_s=(rule(protocol=protocol),))
    expect(protocol == "tcp", tcp_between, client, server, 22)
    expect(protocol == "udp", udp, client, server, 53)
    expect(protocol == "icmp", ping, client, server.ip)
    expect(protocol == "gre", gre, client, server)


def test_protocol_all(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    client, server = pair
    lab.apply(sg_s=(rule(),))
    expect(True, tcp_between, client, server, 22)
    expect(True, udp, client, server, 53)
    expect(True, ping, client, server.ip)
    expect(True, gre, client, server)
    expect(False, ping, server, client.ip)


def test_port_range_and_network(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    client, server = pair
    lab.apply(
        sg_s=(rule(protocol="tcp", ports=(80, 82), cidr="192.168.0.0/31"), rule(protocol="udp", cidr="10.0.0.0/8"))
    )
    for port, opened in ((79, False), (80, True), (82, True), (83, False)):
        expect(opened, tcp_between, client, server, port)
    expect(False, udp, client, server, 80)


def test_priority_then_drop_first(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    client, server = pair
    lab.apply(
        sg_s=(
            rule(priority=2, protocol="tcp", verdict=DROP),
            rule(priority=1, protocol="tcp", ports=(80, 80)),
            rule(priority=5, protocol="udp"),
            rule(priority=5, protocol="udp", ports=(53, 53), verdict=DROP),
            rule(priority=110),
        )
    )
    expect(True, tcp_between, client, server, 80)
    expect(False, tcp_between, client, server, 81)
    expect(False, udp, client, server, 53)
    expect(True, udp, client, server, 54)
    expect(True, ping, client, server.ip)


def test_groups_of_an_instance_are_one_list(lab: Lab) -> None:
    lab.vpc()
    client, server = lab.guest("192.168.0.1", "sg-c"), lab.guest("192.168.0.2", "sg-1", "sg-2")
    lab.apply(
        sg_1=(rule(priority=10, protocol="tcp"),),
        sg_2=(rule(priority=10, protocol="tcp", ports=(22, 22), verdict=DROP), rule(protocol="icmp")),
    )
    expect(False, tcp_between, client, server, 22)
    expect(True, tcp_between, client, server, 80)
    expect(True, ping, client, server.ip)


def test_egress_rules(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    client, server = pair
    lab.apply(
        sg_s=(rule(),), sg_c=(rule(OUT, DROP, 1, "tcp", (80, 80)), rule(OUT, DROP, 2, "udp", cidr="192.168.0.2/32"))
    )
    expect(False, tcp_between, client, server, 80)
    expect(True, tcp_between, client, server, 81)
    expect(False, udp, client, server, 81)
    expect(True, ping, client, server.ip)


def test_peer_group_matches_its_members(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    client, server = pair
    other = lab.guest("192.168.0.3", "sg-o")
    lab.apply(sg_s=(rule(protocol="tcp", peer_group="sg-c"),))
    expect(True, tcp_between, client, server, 80)
    expect(False, tcp_between, other, server, 80)
    other.groups = ("sg-o", "sg-c")
    lab.apply()
    expect(True, tcp_between, other, server, 80)


def test_members_of_a_group_reach_each_other(lab: Lab) -> None:
    lab.vpc()
    one, two = lab.guest("192.168.0.1", "sg-a", "sg-x"), lab.guest("192.168.0.2", "sg-a", "sg-y")
    expect(True, tcp_between, one, two, 1234)
    expect(True, ping, two, one.ip)
    lab.apply(sg_x=(rule(verdict=DROP, protocol="icmp"),))
    expect(False, ping, two, one.ip)


def test_members_of_an_isolated_group_need_a_rule(lab: Lab) -> None:
    lab.vpc()
    one, two = lab.guest("192.168.0.1", "sg-a"), lab.guest("192.168.0.2", "sg-a")
    lab.isolated.add("sg-a")
    lab.apply()
    expect(False, tcp_between, one, two, 1234)
    lab.apply(sg_a=(rule(protocol="tcp", peer_group="sg-a"),))
    expect(True, tcp_between, one, two, 1234)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_many_rules_overlapping(lab: Lab, pair: tuple[Guest, Guest], verdict: Verdict) -> None:
    """From 32 rules on they are interval sets, in layers."""
    client, server = pair
    rules = [rule(protocol="tcp", ports=(1000 + 10 * n, 1005 + 10 * n), verdict=verdict) for n in range(50)]
    rules += [rule(protocol="tcp", ports=(1003, 1012), verdict=verdict), rule(protocol="icmp", verdict=verdict)]
    rules += [rule(protocol="udp", ports=(n, n), cidr=f"192.168.{n}.0/24", verdict=verdict) for n in range(40)]
    accept = verdict is Verdict.ACCEPT
    lab.apply(sg_s=(*rules, rule(priority=100, verdict=DROP if accept else Verdict.ACCEPT)))
    for port in (1000, 1011, 1495):
        expect(accept, tcp_between, client, server, port)
    for port in (999, 1016, 1496):
        expect(not accept, tcp_between, client, server, port)
    expect(accept, ping, client, server.ip)
    expect(not accept, udp, client, server, 1)


def test_the_filter_is_there_before_the_port_works(lab: Lab) -> None:
    lab.vpc()
    client = lab.guest("192.168.0.1", "sg-c")
    server = lab.guest("192.168.0.2", "sg-s", wire=False)
    lab.driver.wire_port(server.port)  # without apply_filter
    server.configure()
    lab.rules["sg-c"] = (rule(),)
    expect(False, ping, server, client.ip)
    expect(False, ping, server, server.port.gateway)
    expect(False, tcp_between, client, server, 80)
    lab.apply(sg_s=(rule(),))
    expect(True, tcp_between, client, server, 80)


def test_no_moment_without_a_filter(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    """Rules, groups and members change under fire; nothing gets in that no version of the rules lets in."""
    client, server = pair
    allowed, stop = rule(protocol="tcp", ports=(80, 80)), threading.Event()
    seen = 0
    with serving(server, 9999), server.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("", 5000))
        receiver.settimeout(0.01)

        def hammer() -> None:
            with client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                while not stop.is_set():
                    sender.sendto(b"x", (server.ip, 5000))

        thread = threading.Thread(target=hammer)
        thread.start()
        try:
            for turn in range(60):
                server.groups = ("sg-s",) if turn % 3 else ("sg-s", "sg-t")
                ports = [rule(protocol="udp", ports=(6000 + n, 6000 + n)) for n in range(40 * (turn % 2))]
                lab.apply(sg_s=(allowed, *ports), sg_t=(rule(priority=1 + turn % 5, protocol="icmp"),))
                if turn % 10 == 9:
                    lab.restart()
                try:
                    seen += len(receiver.recv(10))
                except TimeoutError:
                    continue
        finally:
            stop.set()
            thread.join(PATIENCE)
    assert seen == 0


@pytest.mark.parametrize("two_way", [True, False])
def test_a_revoked_permission_cuts_the_flow_and_only_it(lab: Lab, pair: tuple[Guest, Guest], two_way: bool) -> None:
    client, server = pair
    both = (rule(protocol="tcp", ports=(8080, 8080)), rule(protocol="tcp", ports=(9090, 9090)))
    lab.apply(sg_s=both)
    cut, kept = Flow(client, server, 8080, two_way=two_way), Flow(client, server, 9090, two_way=two_way)
    try:
        until(cut.moves, "the cut flow goes on")
        until(kept.moves, "the kept flow goes on")
        lab.apply(sg_s=both[1:])
        until(lambda: not cut.moves(), "the revoked flow stops")
        until(kept.moves, "the kept flow goes on")
        lab.apply(sg_s=both)
        until(cut.moves, "the flow allowed again goes on")
        lab.apply(sg_c=(rule(OUT, DROP, protocol="tcp", ports=(8080, 8080)),))
        until(lambda: not cut.moves(), "the flow forbidden at its source stops")
        until(kept.moves, "the kept flow goes on")
    finally:
        cut.close()
        kept.close()


def test_leaving_a_group_cuts_what_it_allowed(lab: Lab) -> None:
    lab.vpc()
    client, server = lab.guest("192.168.0.1", "sg-a", "sg-b"), lab.guest("192.168.0.2", "sg-a", "sg-c")
    flow = Flow(client, server, 7000)
    try:
        until(flow.moves, "the flow goes")
        server.groups = ("sg-c",)
        lab.apply()
        until(lambda: not flow.moves(), "the flow stops")
    finally:
        flow.close()


def test_mail_within_the_vpc_is_not_concerned_by_the_smtp_rule(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    client, server = pair
    lab.apply(sg_s=(rule(protocol="tcp"),))
    expect(True, tcp_between, client, server, 25)
