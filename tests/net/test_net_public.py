"""Public addresses and forwarded ports (SPEC N3): who reaches a guest by them, and what the guest sees."""

from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from stage import HOST, WORLD, Stage
from vpc_lab import SILENCE, Flow, Guest, expect, ping, rule, serving, tcp, until

from agent.core.specs import ForwardSpec

pytestmark = pytest.mark.net

LAN, LAN_2, PRIVATE, PRIVATE_2 = "203.0.113.50", "203.0.113.51", "100.125.0.9", "100.125.0.10"
OUTSIDE, INSIDE = "100.127.0.5", "100.127.0.6"


@pytest.fixture
def guest(stage: Stage) -> Guest:
    """Open to everybody, by tcp, udp and icmp."""
    stage.lab.vpc()
    guest = stage.lab.guest("192.168.0.1", "sg-a")
    stage.lab.apply(sg_a=(rule(),))
    return guest


def caller(server: Guest, client: Guest, to: str, port: int = 80, listen: int = 80) -> str | None:
    """Whom the server sees when the client connects to an address; None: no connection comes about."""
    with serving(server, listen) as listener:
        if not tcp(client, to, port):
            return None
        connection, (seen, _) = listener.accept()
        connection.close()
    return str(seen)


def sees(seen: str | None, server: Guest, client: Guest, to: str, port: int = 80) -> None:
    if seen is None:
        assert caller(server, client, to, port) is None
    else:
        until(lambda: caller(server, client, to, port) == seen, f"{server.ip} sees {seen}")


def forward(guest: Guest, port: int, protocol: str = "tcp", address: str = "") -> ForwardSpec:
    return ForwardSpec(protocol, address, port, guest.ip, 80)


def test_the_lan_reaches_a_guest_and_the_guest_goes_out_by_its_public_address(stage: Stage, guest: Guest) -> None:
    stage.network((LAN, guest))
    sees(WORLD, guest, stage.world, LAN)
    sees(LAN, stage.world, guest, WORLD)
    sees(OUTSIDE, guest, stage.here, LAN)
    expect(True, ping, stage.world, LAN)
    stage.network()
    sees(None, guest, stage.world, LAN)
    sees(HOST, stage.world, guest, WORLD)
    assert LAN not in stage.on_host("ip", "route") + stage.on_host("ip", "neigh", "show", "proxy")


def test_an_address_of_the_private_pool_is_the_host_s_to_the_outside(stage: Stage, guest: Guest) -> None:
    stage.network((PRIVATE, guest))
    sees(HOST, stage.world, guest, WORLD)
    sees(OUTSIDE, guest, stage.here, PRIVATE)
    assert stage.on_host("ip", "neigh", "show", "proxy") == ""


def test_a_binding_that_is_gone_ends_its_flows(stage: Stage, guest: Guest) -> None:
    """Unbound, and bound to another guest; another address's flow goes on."""
    other = stage.lab.guest("192.168.0.2", "sg-a")
    stage.network((LAN, guest), (LAN_2, other))
    expect(True, ping, stage.world, LAN_2)
    flows = [Flow(stage.world, at(LAN, guest), 7), Flow(stage.world, at(LAN_2, other), 7)]
    flows.append(Flow(guest, stage.world, 8))
    try:
        assert all(flow.moves() for flow in flows)
        stage.network((LAN, other))
        assert not any(flow.moves() for flow in flows)
        sees(WORLD, other, stage.world, LAN)
    finally:
        for flow in flows:
            flow.close()


def at(address: str, guest: Guest) -> Guest:
    """The guest, called by another address."""
    return replace(guest, port=replace(guest.port, ip=address))


def test_guests_reach_each_other_by_public_addresses(stage: Stage, guest: Guest) -> None:
    """In one VPC, in two with the same addresses, and a guest itself."""
    neighbour = stage.lab.guest("192.168.0.2", "sg-a")
    stage.lab.vpc("vpc-b")
    other, plain = (stage.lab.guest(ip, "sg-a", vpc="vpc-b") for ip in ("192.168.0.1", "192.168.0.2"))
    stage.network((PRIVATE, guest))
    stage.network((PRIVATE_2, other), vpc="vpc-b")
    sees(PRIVATE_2, guest, other, PRIVATE)
    sees("100.127.0.10", guest, plain, PRIVATE)
    sees(neighbour.ip, guest, neighbour, PRIVATE)
    sees(PRIVATE, guest, guest, PRIVATE)


def test_an_address_is_given_on_before_its_former_vpc_is_told(stage: Stage, guest: Guest) -> None:
    stage.network((LAN, guest))
    stage.lab.vpc("vpc-b")
    other = stage.lab.guest("192.168.0.2", "sg-a", vpc="vpc-b")
    stage.network((LAN, other), vpc="vpc-b")
    stage.network()
    sees(WORLD, other, stage.world, LAN)
    stage.network((LAN, guest))  # and back, before the other one is told
    sees(WORLD, guest, stage.world, LAN)


def test_a_port_of_the_host_leads_to_a_guest(stage: Stage, guest: Guest) -> None:
    """From the LAN, the host itself, another VPC and its own; nothing else of the host is to be had by that."""
    neighbour = stage.lab.guest("192.168.0.2", "sg-a")
    stage.lab.vpc("vpc-b")
    other = stage.lab.guest("192.168.0.1", "sg-a", vpc="vpc-b")
    stage.network(forwards=(forward(guest, 8080),))
    sees(WORLD, guest, stage.world, HOST, 8080)
    for address in ("127.0.0.1", HOST):
        sees(OUTSIDE, guest, stage.here, address, 8080)
    sees("100.127.0.10", guest, other, HOST, 8080)
    sees(OUTSIDE, guest, neighbour, HOST, 8080)
    with serving(stage.here, 9999):
        expect(True, tcp, stage.here, "127.0.0.1", 9999)
        for client in (guest, other):
            for address in (HOST, OUTSIDE, "127.0.0.1"):
                assert not reaches(client, address, 9999)
    stage.network()
    assert not reaches(stage.world, HOST, 8080)


def reaches(client: Guest, address: str, port: int) -> bool:
    """Refused is not reached, either."""
    try:
        return tcp(client, address, port)
    except OSError:
        return False


def test_ports_of_one_address_of_the_host_and_udp(stage: Stage, guest: Guest) -> None:
    other = stage.lab.guest("192.168.0.2", "sg-a")
    stage.on_host("ip", "addr", "add", "203.0.113.3/24", "dev", "wan0")
    stage.network(forwards=(forward(other, 53, "udp"), forward(guest, 80), forward(other, 80, address="203.0.113.3")))
    sees(WORLD, guest, stage.world, HOST, 80)
    sees(WORLD, other, stage.world, "203.0.113.3", 80)
    for client, address in ((stage.world, HOST), (stage.here, "127.0.0.1")):
        until(lambda client=client, address=address: echoes(other, client, address, 53), f"udp to {address}")


def echoes(server: Guest, client: Guest, address: str, port: int) -> bool:
    with (
        server.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
        client.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
    ):
        there.bind(("", 80))
        for sock in (there, here):
            sock.settimeout(SILENCE)
        here.sendto(b"ask", (address, port))
        try:
            _, sender = there.recvfrom(10)
            there.sendto(b"answer", sender)
            return here.recvfrom(10) == (b"answer", (address, port))
        except TimeoutError:
            return False


def test_a_forward_that_is_gone_ends_its_flows(stage: Stage, guest: Guest) -> None:
    other = stage.lab.guest("192.168.0.2", "sg-a")
    stage.network(forwards=(forward(guest, 80), forward(guest, 81)))
    expect(True, reachable, stage.world, guest, 80)
    flows = [Flow(stage.world, at(HOST, guest), 80), Flow(stage.here, at("127.0.0.1", guest), 80)]
    try:
        assert all(flow.moves() for flow in flows)
        stage.network(forwards=(forward(other, 80),))
        assert not any(flow.moves() for flow in flows)
    finally:
        for flow in flows:
            flow.close()


def reachable(client: Guest, server: Guest, port: int) -> bool:
    return caller(server, client, HOST, port) is not None


@pytest.mark.parametrize("stage", ["none"], indirect=True)
def test_with_uplink_none_only_the_host_reaches_guests(stage: Stage, guest: Guest) -> None:
    stage.network((LAN, guest), forwards=(forward(guest, 8080),))
    sees(OUTSIDE, guest, stage.here, LAN)
    for address in ("127.0.0.1", HOST):
        sees(OUTSIDE, guest, stage.here, address, 8080)
    assert not reaches(stage.world, LAN, 80)
    assert not reaches(stage.world, HOST, 8080)
    for address in (WORLD, HOST, OUTSIDE, "8.8.8.8"):
        expect(False, ping, guest, address)
    assert "default" not in stage.lab.in_router("ip", "route")
    forwarding = Path("/proc/sys/net/ipv4/conf", f"{stage.lab.prefix}-up1", "forwarding")
    assert stage.host.run(forwarding.read_text).strip() == "0"
    assert stage.on_host("ip", "neigh", "show", "proxy") == ""
    stage.network()
    assert stage.on_host("nft", "list", "ruleset") == ""
    assert "-up" not in stage.on_host("ip", "-o", "link") + stage.on_host("ip", "route")


def test_a_fresh_agent_goes_on(stage: Stage, guest: Guest) -> None:
    """It is told of one VPC after the other; what leads to the others stays meanwhile."""
    stage.lab.vpc("vpc-b")
    other = stage.lab.guest("192.168.0.1", "sg-a", vpc="vpc-b")
    stage.network((LAN, guest), forwards=(forward(guest, 80),))
    stage.network((LAN_2, other), forwards=(forward(other, 81), forward(other, 80, address=HOST)), vpc="vpc-b")

    def state() -> list[str]:
        text = stage.on_host("nft", "list", "ruleset") + stage.on_host("ip", "route")
        return sorted((text + stage.on_host("ip", "neigh", "show", "proxy")).splitlines())

    before = state()
    expect(True, reachable, stage.world, other, 81)
    flow = Flow(stage.world, at(LAN_2, other), 7)
    with closing(flow):
        assert flow.moves()
        for vpc in ("vpc-a", "vpc-b"):
            stage.lab.restart().ensure_vpc(stage.lab.vpcs[vpc])
            assert state() == before
            assert flow.moves()


def test_who_may_not_go_out_does_not(stage: Stage, guest: Guest) -> None:
    """No block with translation: neither translated nor as it is."""
    stage.on_host("nft", "add table inet probe; add chain inet probe c { type filter hook prerouting priority -400; }")
    stage.on_host("nft", 'add rule inet probe c iifname "*-up1" counter')
    expect(True, ping, guest, WORLD)
    flow = Flow(guest, stage.world, 8)
    with closing(flow):
        stage.network((LAN, stage.lab.guest("192.168.0.2", "sg-a")), nat=())
        assert not flow.moves()
        stage.on_host("nft", "reset counters table inet probe")
        expect(False, ping, guest, WORLD)
        assert "packets 0" in stage.on_host("nft", "list", "table", "inet", "probe")


def test_errors_of_icmp_are_translated(stage: Stage, guest: Guest) -> None:
    stage.network((LAN, guest), forwards=(forward(guest, 53, "udp"),))
    for address, port in ((LAN, 9), (HOST, 53)):
        until(lambda address=address, port=port: refused(stage.world, address, port), f"{address} refuses {port}")
    until(lambda: refused(guest, WORLD, 9), "the world refuses")


def refused(client: Guest, address: str, port: int) -> bool:
    with client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(SILENCE)
        sock.connect((address, port))
        sock.send(b"x")
        try:
            sock.recv(10)
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    return False


def test_a_guest_that_has_the_public_address_itself(stage: Stage) -> None:
    """As in the classic network (SPEC N4): routed, not translated, and dead when it is taken away."""
    stage.lab.vpc()
    guest = stage.lab.guest(LAN, "sg-a", wire=False)
    stage.lab.apply(sg_a=(rule(),))
    stage.lab.driver.wire_port(guest.port)
    for line in (f"addr add {LAN}/32", "route add 192.168.0.253", "route add default via 192.168.0.253"):
        guest.sh("ip", *line.split(), "dev", "eth0")
    stage.network((LAN, guest))
    sees(WORLD, guest, stage.world, LAN)
    sees(LAN, stage.world, guest, WORLD)
    flow = Flow(stage.world, guest, 7)
    with closing(flow):
        assert flow.moves()
        stage.network()
        assert not flow.moves()


def test_a_lan_with_the_addresses_of_the_vpc(stage: Stage, guest: Guest) -> None:
    """Its hosts reach guests nevertheless: to the guest it is the host that calls."""
    stage.on_host("ip", "addr", "add", "192.168.0.100/24", "dev", "wan0")
    stage.world.sh("ip", "addr", "add", "192.168.0.200/24", "dev", "eth0")
    stage.network((PRIVATE, guest), forwards=(forward(guest, 8080),))
    sees(OUTSIDE, guest, stage.world, "192.168.0.100", 8080)


def test_only_its_own_addresses_are_answered_for_and_removed(stage: Stage) -> None:
    stage.on_host("ip", "neigh", "add", "proxy", "203.0.113.77", "dev", "wan0")
    stage.on_host("ip", "route", "add", "198.51.100.0/24", "via", WORLD)
    before = stage.on_host("ip", "route")
    stage.lab.vpc()
    guest = stage.lab.guest("192.168.0.1", "sg-a")
    stage.network((LAN, guest), (LAN_2, guest))
    assert stage.on_host("ip", "neigh", "show", "proxy").count(LAN) == 1
    stage.lab.restart().remove_all()
    assert stage.on_host("ip", "neigh", "show", "proxy").split()[0] == "203.0.113.77"
    assert stage.on_host("ip", "route") == before
