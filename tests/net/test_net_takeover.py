"""A new agent takes over what the last one left, and nobody notices."""

from __future__ import annotations

import socket
import threading

import pytest
from vpc_lab import PATIENCE, Flow, Lab, expect, rule, tcp_between, until

pytestmark = pytest.mark.net


def test_flows_go_on_and_the_filter_is_known_again(lab: Lab) -> None:
    lab.vpc()
    lab.rules["sg-s"] = (
        rule(protocol="tcp", ports=(80, 80)),
        *(rule(protocol="udp", ports=(n, n)) for n in range(1, 50)),
    )
    client, server = lab.guest("192.168.0.1", "sg-c"), lab.guest("192.168.0.2", "sg-s")
    flow = Flow(client, server, 80)
    try:
        for _ in range(3):
            driver = lab.restart()
            assert driver.list_vpcs() == {"vpc-a"}
            assert driver.list_taps() == {client.port.tap: "vpc-a", server.port.tap: "vpc-a"}
            driver.ensure_vpc(lab.vpcs["vpc-a"])
            driver.adopt_ports("vpc-a", [client.port, server.port])
            until(flow.moves, "the flow goes on before the filter is applied again")
            lab.apply()
            until(flow.moves, "the flow goes on after it")
        expect(True, tcp_between, client, server, 80)
        expect(False, tcp_between, client, server, 81)
        lab.apply(sg_s=(rule(protocol="tcp", ports=(81, 81)),))
        until(lambda: not flow.moves(), "the new driver's changes cut the flow")
        expect(True, tcp_between, client, server, 81)
    finally:
        flow.close()


def test_what_changed_while_no_agent_ran_is_removed(lab: Lab) -> None:
    lab.vpc()
    client, server = lab.guest("192.168.0.1", "sg-c"), lab.guest("192.168.0.2", "sg-s")
    lab.apply(sg_s=(rule(priority=1, protocol="tcp"), rule(priority=7, protocol="udp")), sg_c=(rule(),))
    lab.restart()
    lab.rules.clear()
    client.groups = ("sg-other",)
    lab.apply()
    expect(False, tcp_between, client, server, 80)
    listing = lab.in_router("nft", "list", "ruleset")
    assert "s_sg-s_i_7_accept" not in listing
    assert "m_sg-c" not in listing


def test_no_packet_is_lost(lab: Lab) -> None:
    """Everything else being equal, taking over is exchanging rules inside chains that stay."""
    lab.vpc()
    lab.rules["sg-s"] = tuple(rule(protocol="udp", ports=(5000 + n, 5000 + n)) for n in range(40))
    client, server = lab.guest("192.168.0.1", "sg-c"), lab.guest("192.168.0.2", "sg-s")
    with (
        server.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("", 5000))
        sent = 0
        over = threading.Event()

        def talk() -> None:
            nonlocal sent
            while not over.is_set():
                sender.sendto(b"x", (server.ip, 5000))
                receiver.recv(10)  # a lost one is a TimeoutError
                sent += 1

        failure: list[BaseException] = []

        def guarded() -> None:
            try:
                talk()
            except BaseException as error:
                failure.append(error)

        receiver.settimeout(PATIENCE / 5)
        thread = threading.Thread(target=guarded)
        thread.start()
        for _ in range(15):
            lab.restart()
            lab.driver.ensure_vpc(lab.vpcs["vpc-a"])
            lab.apply()
            before = sent
            until(lambda: sent > before or failure, "packets pass")  # noqa: B023
        over.set()
        thread.join(PATIENCE)
    assert failure == []


def test_a_filter_of_unknown_layout_is_replaced(lab: Lab) -> None:
    lab.vpc()
    client, server = lab.guest("192.168.0.1", "sg-c"), lab.guest("192.168.0.2", "sg-s")
    lab.apply(sg_s=(rule(protocol="tcp"),))
    lab.in_router("nft", "delete table inet vpc; add table inet vpc; add chain inet vpc strange")
    lab.restart()
    lab.apply(sg_s=(rule(protocol="tcp", ports=(80, 80)),))
    expect(True, tcp_between, client, server, 80)
    expect(False, tcp_between, client, server, 81)
    assert "strange" not in lab.in_router("nft", "list", "ruleset")


@pytest.mark.parametrize("damage", ["flush ruleset", "delete element inet vpc m_sg-s { 192.168.0.2 }"])
def test_somebody_else_changed_the_filter(lab: Lab, damage: str) -> None:
    lab.vpc()
    client, server = lab.guest("192.168.0.1", "sg-c"), lab.guest("192.168.0.2", "sg-s")
    lab.in_router("nft", damage)
    server.groups = ("sg-t",)  # takes the element away that is away already
    lab.apply(sg_t=(rule(protocol="tcp", ports=(80, 80)),))
    expect(True, tcp_between, client, server, 80)
    expect(False, tcp_between, client, server, 81)
