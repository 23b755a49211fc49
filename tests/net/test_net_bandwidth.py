"""Bandwidth with the outside (SPEC N6): both ways, within 10 %, changed under traffic; between guests none."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from stage import WORLD, Stage
from vpc_lab import Guest, Lab, expect, ping, rule, serving, until

from agent.drivers.network import shaping
from tests.support.throughput import busy, tcp_mbit

pytestmark = pytest.mark.net

PUBLIC = "203.0.113.50"
KBIT = 1024
SECONDS = 0.7  # over which a rate is measured


@pytest.fixture
def guest(stage: Stage) -> Guest:
    stage.lab.vpc()
    guest = stage.lab.guest("192.168.0.1", "sg-a")
    stage.lab.apply(sg_a=(rule(),))
    stage.network((PUBLIC, guest))
    expect(True, ping, guest, WORLD)
    return guest


def limit(stage: Stage, guest: Guest, inbound: int, outbound: int) -> None:
    """In Mbit/s of 1,024 kbit/s."""
    port = replace(guest.port, inbound_kbit=inbound * KBIT, outbound_kbit=outbound * KBIT)
    stage.lab.driver.limit_port(port)


@contextmanager
def stream(client: Guest, server: Guest, address: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    with serving(server, 5001) as listener, client.socket(socket.AF_INET, socket.SOCK_STREAM) as near:
        near.connect((address, 5001))
        far, _ = listener.accept()
        with far:
            yield near, far


def assert_holds(mbit: int, guest: Guest, counter: str) -> None:
    """By what passes the guest's link, headers included. What passed before the limit came is not counted."""
    rates = []

    def right() -> bool:
        before, begin = count(guest, counter), time.monotonic()
        time.sleep(SECONDS)
        rates.append((count(guest, counter) - before) * 8 / (time.monotonic() - begin) / 1e6)
        return 0.9 <= rates[-1] / (mbit * KBIT / 1000) <= 1.1

    try:
        until(right, f"{mbit} Mbit/s")
    except AssertionError as error:
        raise AssertionError(f"{error}, but {rates}") from None


def count(guest: Guest, counter: str) -> int:
    """`rx_bytes` or `tx_bytes`"""
    link = guest.ns.run(lambda: guest.ns.ip.get_links(ifname="eth0"))[0]
    return int(link.get_attr("IFLA_STATS64")[counter])


def test_both_ways_hold_and_change_under_traffic(stage: Stage, guest: Guest) -> None:
    """One connection each way, whose limit changes, the second time by an agent that has just come."""
    limit(stage, guest, 20, 2)
    with stream(stage.world, guest, PUBLIC) as inward, busy(*inward):
        assert_holds(20, guest, "rx_bytes")
        limit(stage, guest, 4, 10)
        assert_holds(4, guest, "rx_bytes")
    with stream(guest, stage.world, WORLD) as outward, busy(*outward):
        assert_holds(10, stage.world, "rx_bytes")
        stage.lab.restart().ensure_vpc(stage.lab.vpcs["vpc-a"])
        stage.lab.driver.adopt_ports("vpc-a", [replace(guest.port, outbound_kbit=3 * KBIT)])
        assert_holds(3, stage.world, "rx_bytes")
    assert "htb" not in stage.lab.in_router("tc", "qdisc", "show", "dev", guest.port.tap)


def test_only_the_outside_counts(stage: Stage, guest: Guest) -> None:
    """Neighbours and the router are as fast as without, also after the pair was made anew."""
    neighbour = stage.lab.guest("192.168.0.2", "sg-a")
    limit(stage, guest, 1, 1)
    for client, server in ((guest, neighbour), (neighbour, guest)):
        with stream(client, server, server.ip) as sockets:
            assert tcp_mbit(*sockets, 0.3) > 50
    stage.lab.in_router("ip", "link", "del", "up0")
    stage.lab.driver.ensure_vpc(stage.lab.vpcs["vpc-a"])
    assert "rate 1024Kbit" in stage.lab.in_router("tc", "class", "show", "dev", "up0")
    stage.lab.driver.remove_port("vpc-a", guest.port.tap)
    assert stage.lab.in_router("tc", "class", "show", "dev", "up0") == ""


def test_a_port_may_go_while_all_are_limited_anew(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.vpc()
    guest = lab.guest("192.168.0.1", "sg-a")
    lab.driver.limit_port(replace(guest.port, inbound_kbit=KBIT))
    going = threading.Thread(target=lab.driver.remove_port, args=("vpc-a", guest.port.tap))

    def looked(ip: object) -> set[int]:
        going.start()
        going.join(0.2)
        return set()

    monkeypatch.setattr(shaping, "inbound_limited", looked)
    lab.driver.adopt_ports("vpc-a", [])
    going.join()
    assert lab.driver.list_taps() == {}
