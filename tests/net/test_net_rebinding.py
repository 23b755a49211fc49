"""Who goes on sending while an address or a forwarded port is led to another guest (SPEC N3)."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from stage import HOST, WORLD, Stage
from vpc_lab import Guest, expect, ping, rule, until

from agent.core.specs import ForwardSpec

pytestmark = pytest.mark.net

LAN = "203.0.113.50"


@pytest.fixture
def guest(stage: Stage) -> Guest:
    stage.lab.vpc()
    guest = stage.lab.guest("192.168.0.1", "sg-a")
    stage.lab.apply(sg_a=(rule(),))
    return guest


@contextlib.contextmanager
def bound(guest: Guest, port: int) -> Iterator[socket.socket]:
    with guest.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", port))
        sock.setblocking(False)
        yield sock


def arrived(sock: socket.socket) -> set[tuple[str, int]]:
    """Who sent what has arrived."""
    senders = set()
    with contextlib.suppress(BlockingIOError):
        while True:
            senders.add(sock.recvfrom(100)[1])
    return senders


def test_senders_reach_who_has_it_now(stage: Stage, guest: Guest) -> None:
    """They never pause, so the kernel would not forget by itself where they were led to."""
    other = stage.lab.guest("192.168.0.2", "sg-a")
    stage.lab.vpc("vpc-b")
    third = stage.lab.guest("192.168.0.1", "sg-a", vpc="vpc-b")
    with ExitStack() as stack:
        servers = [stack.enter_context(bound(one, 80)) for one in (guest, other, third)]
        heard: list[set[tuple[str, int]]] = [set(), set(), set()]
        by_address, by_port = (stack.enter_context(bound(stage.world, port)) for port in (4000, 4001))

        def reaches(server: int) -> bool:
            by_address.sendto(b"x", (LAN, 80))
            by_port.sendto(b"x", (HOST, 5353))
            heard[server] |= arrived(servers[server])
            return heard[server] == {(WORLD, 4000), (WORLD, 4001)}

        stage.network((LAN, guest), forwards=(ForwardSpec("udp", "", 5353, guest.ip, 80),))
        expect(True, ping, stage.world, LAN)
        until(lambda: reaches(0), "the first guest has both")
        stage.network((LAN, other), forwards=(ForwardSpec("udp", "", 5353, other.ip, 80),))
        until(lambda: reaches(1), "its neighbour has both")
        stage.network()
        stage.network((LAN, third), forwards=(ForwardSpec("udp", "", 5353, third.ip, 80),), vpc="vpc-b")
        until(lambda: reaches(2), "another VPC's guest has both")


def test_what_a_guest_goes_on_sending_has_its_new_address(stage: Stage, guest: Guest) -> None:
    with bound(guest, 4000) as client, bound(stage.world, 80) as server:

        def seen(address: str) -> bool:
            client.sendto(b"x", (WORLD, 80))
            return address in {sender for sender, _ in arrived(server)}

        stage.network((LAN, guest))
        until(lambda: seen(LAN), "it goes out by its public address")
        stage.network()
        until(lambda: seen(HOST), "it goes out by the host's")
