"""A new agent takes over what the last one left, and nobody notices."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import socket
import threading
from collections.abc import Callable

import pytest
from vpc_lab import PATIENCE, Flow, Guest, Lab, expect, rule, tcp_between, udp, until

from agent.core.specs import FilterSpec, Verdict
from agent.drivers.network.driver import NetworkDriver

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


class Drip:
    """Datagrams one after the other: those to port 5000 have to arrive, those to 5001 must not. Leaving the context
    ends it."""

    def __init__(self, client: Guest, server: Guest) -> None:
        self._address = server.ip
        self._sender, self._good, self._bad = (
            guest.socket(socket.AF_INET, socket.SOCK_DGRAM) for guest in (client, server, server)
        )
        for sock, port in ((self._good, 5000), (self._bad, 5001)):
            sock.bind(("", port))
        self._good.settimeout(1)
        self._bad.setblocking(False)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.arrived = self.lost = self.leaked = 0

    def __enter__(self) -> Drip:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)
        for sock in (self._sender, self._good, self._bad):
            sock.close()

    def _run(self) -> None:
        while not self._over.is_set():
            for port in (5001, 5000):
                self._sender.sendto(b"x", (self._address, port))
            try:
                self.arrived += len(self._good.recv(10))
            except TimeoutError:
                self.lost += 1
            with contextlib.suppress(BlockingIOError):
                self.leaked += len(self._bad.recv(10))

    def goes_on(self) -> None:
        """Return when some more have arrived."""
        enough = self.arrived + 5
        until(lambda: self.arrived >= enough, "packets arrive")


OPEN = rule(protocol="udp", ports=(5000, 5000), cidr="192.168.0.0/24")
# Intervals that are another set in each version of the rules, as they drop what would come in.
VERSIONS = tuple(
    (OPEN, *(rule(protocol="udp", ports=(5001 + n, 5001 + n), verdict=Verdict.DROP) for n in range(40 + version)))
    for version in range(2)
)


def dripping(lab: Lab) -> Drip:
    lab.vpc()
    lab.rules["sg-s"] = VERSIONS[0]
    return Drip(lab.guest("192.168.0.1", "sg-c"), lab.guest("192.168.0.2", "sg-s"))


def test_no_packet_is_lost(lab: Lab) -> None:
    """Everything else being equal, taking over is exchanging rules inside chains that stay."""
    with dripping(lab) as drip:
        for _ in range(15):
            lab.restart()
            lab.driver.ensure_vpc(lab.vpcs["vpc-a"])
            lab.apply()
            drip.goes_on()
    assert (drip.lost, drip.leaked) == (0, 0)


def test_an_agent_killed_at_work_leaves_a_whole_filter(lab: Lab) -> None:
    """Each time at another moment of a change, or of taking over."""
    with dripping(lab) as drip:
        lab.driver.close()
        specs = []
        for version in VERSIONS:
            lab.rules["sg-s"] = version
            specs.append(lab.spec())
        for turn in range(12):
            at_work = multiprocessing.get_context("fork").Process(target=_apply_in_turn, args=(lab.new_driver, specs))
            at_work.start()
            drip.goes_on()
            at_work.join(turn * 0.013)  # it goes on for ever
            at_work.kill()
            at_work.join()
            at_work.close()
            drip.goes_on()
        lab.driver = lab.new_driver()
        lab.apply()
        drip.goes_on()
    assert (drip.lost, drip.leaked) == (0, 0)
    expect(True, udp, *lab.guests, 5000)
    expect(False, udp, *lab.guests, 5001)


def _apply_in_turn(new_driver: Callable[[], NetworkDriver], specs: list[FilterSpec]) -> None:
    driver = new_driver()
    for spec in itertools.cycle(specs):
        driver.apply_filter(spec)


# As other versions of the product might have it: what is exchanged without a loss, and what has to be replaced.
LAYOUTS = [
    "add chain inet vpc early { type filter hook forward priority -5; }; add rule inet vpc early ct state invalid drop",
    "flush chain inet vpc input; delete chain inet vpc input; add set inet vpc former { type ipv4_addr; }",
    "insert rule inet vpc in meta mark 1 drop",
]
REPLACED = [
    "add chain inet vpc former { type filter hook forward priority 3; policy drop; }; "
    "add rule inet vpc former accept; flush chain inet vpc in; delete chain inet vpc in; "
    "add chain inet vpc in { type filter hook forward priority 7; policy drop; }; "
    "add rule inet vpc in udp dport 5000 accept",
    "add counter inet vpc former",
]


@pytest.mark.parametrize(("layouts", "replaced"), [(LAYOUTS, False), (REPLACED, True)], ids=["exchanged", "replaced"])
def test_an_upgrade_with_another_layout_is_never_open(lab: Lab, layouts: list[str], replaced: bool) -> None:
    with dripping(lab) as drip:
        for layout in layouts:
            lab.driver.close()
            lab.in_router("nft", layout)
            lab.driver = lab.new_driver()
            lab.driver.ensure_vpc(lab.vpcs["vpc-a"])
            lab.apply()
            drip.goes_on()
            assert "former" not in lab.in_router("nft", "list", "ruleset")
    assert drip.leaked == 0
    assert replaced or drip.lost == 0


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
