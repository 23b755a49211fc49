"""The way out (SPEC N5), with one namespace that plays the host and one that plays the rest of the world."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from stage import HOST, WORLD, Stage
from vpc_lab import Guest, expect, ping, rule, serving, tcp, until

from agent.core.specs import Direction, PortSpec, Verdict

pytestmark = pytest.mark.net


@pytest.fixture
def guest(stage: Stage) -> Guest:
    stage.lab.vpc()
    return stage.lab.guest("192.168.0.1", "sg-a")


@pytest.mark.parametrize("stage", ["auto", "wan0"], indirect=True)
def test_out_by_the_host_s_address_and_back(stage: Stage, guest: Guest) -> None:
    expect(True, ping, guest, WORLD)
    with serving(stage.world, 443) as listener:
        expect(True, tcp, guest, WORLD, 443)
        connection, (seen, _) = listener.accept()
        connection.close()
    assert seen == HOST


def test_two_vpcs_with_the_same_addresses(stage: Stage, guest: Guest) -> None:
    stage.lab.vpc("vpc-b")
    other = stage.lab.guest(guest.ip, "sg-a", vpc="vpc-b")
    expect(True, ping, guest, WORLD)
    expect(True, ping, other, WORLD)
    addresses = stage.on_host("ip", "-4", "-o", "addr")
    assert "100.127.0.5/30" in addresses
    assert "100.127.0.9/30" in addresses


def test_nobody_gets_in_and_guests_do_not_reach_the_host(stage: Stage, guest: Guest) -> None:
    stage.lab.apply(sg_a=(rule(),))

    def route() -> None:
        stage.world.ns.ip.route("add", dst="100.127.0.0/16", gateway=HOST)

    stage.world.ns.run(route)
    expect(False, ping, stage.world, "100.127.0.6")
    expect(False, ping, guest, HOST)
    expect(False, ping, guest, "100.127.0.5")
    host = Guest(PortSpec("", "", "", "", HOST, 24, "", ""), (), stage.host)
    with serving(host, 22):
        expect(False, tcp, guest, HOST, 22)
        expect(True, tcp, stage.world, HOST, 22)


def test_other_ways_out_of_the_host_are_closed(stage: Stage, guest: Guest) -> None:
    """Another network of the host, and link-local addresses even by the uplink."""
    stage.on_host("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
    stage.on_host("ip", "addr", "add", "10.9.9.1/24", "dev", "lan0")
    for name in ("lan0", "lan1"):
        stage.on_host("ip", "link", "set", name, "up")
    stage.on_host("ip", "neigh", "add", "10.9.9.2", "lladdr", "02:00:00:00:00:01", "dev", "lan0")
    stage.on_host("nft", "add table inet probe; add chain inet probe c { type filter hook postrouting priority 300; }")
    stage.on_host("nft", 'add rule inet probe c oifname "lan0" ip daddr 10.9.9.2 counter')
    stage.on_host("nft", 'add rule inet probe c oifname "wan0" ip daddr 169.254.169.254 counter')
    expect(False, ping, guest, "10.9.9.2")
    expect(False, ping, guest, "169.254.169.254")
    listing = stage.on_host("nft", "list", "table", "inet", "probe")
    assert listing.count("counter packets 0 bytes 0") == 2


def test_mail_to_the_outside_is_off_but_for_whom_it_is_allowed(stage: Stage, guest: Guest) -> None:
    with serving(stage.world, 25), serving(stage.world, 26):
        expect(False, tcp, guest, WORLD, 25)
        expect(True, tcp, guest, WORLD, 26)
        stage.lab.smtp = {guest.port.tap}
        stage.lab.apply()
        expect(True, tcp, guest, WORLD, 25)


def test_egress_rules_hold_for_the_outside(stage: Stage, guest: Guest) -> None:
    stage.lab.apply(sg_a=(rule(Direction.EGRESS, Verdict.DROP, protocol="icmp"),))
    expect(False, ping, guest, WORLD)


def test_a_flow_survives_a_restart(stage: Stage, guest: Guest) -> None:
    with serving(stage.world, 443) as listener, guest.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.connect((WORLD, 443))
        connection, _ = listener.accept()
        with connection:
            for turn in (b"a", b"b"):
                stage.lab.restart()
                stage.lab.driver.ensure_vpc(stage.lab.vpcs["vpc-a"])
                stage.lab.apply()
                connection.sendall(turn)
                assert client.recv(10) == turn


def test_addresses_in_use_on_the_host_are_avoided(stage: Stage) -> None:
    stage.on_host("ip", "route", "add", "100.64.0.0/10", "via", WORLD)
    stage.lab.vpc()
    guest = stage.lab.guest("192.168.0.1", "sg-a")
    assert "198.18.0.5/30" in stage.on_host("ip", "-4", "-o", "addr")
    expect(True, ping, guest, WORLD)


def test_removal_leaves_the_host_as_it_was(stage: Stage) -> None:
    def state() -> tuple[str, ...]:
        forwarding = stage.host.run(lambda: Path("/proc/sys/net/ipv4/conf/wan0/forwarding").read_text())
        return (
            stage.on_host("nft", "list", "ruleset"),
            stage.on_host("ip", "-o", "-4", "addr"),
            stage.on_host("ip", "route"),
            forwarding,
        )

    stage.host.sysctl({"ipv4/ip_forward": 0})
    stage.on_host("nft", "add table inet others; add chain inet others c")
    before = state()
    stage.lab.vpc()
    guest = stage.lab.guest("192.168.0.1", "sg-a")
    expect(True, ping, guest, WORLD)
    stage.lab.driver.create_tap(stage.lab.new_port("192.168.0.2"))
    stage.lab.restart().remove_all()
    assert stage.lab.driver.list_vpcs() == set()
    assert stage.lab.driver.list_taps() == {}
    assert state() == before


@pytest.mark.parametrize("stage", ["none"], indirect=True)
def test_none_means_none(stage: Stage, guest: Guest) -> None:
    assert stage.on_host("nft", "list", "ruleset") == ""
    assert "-up" not in stage.on_host("ip", "-o", "link")
    expect(False, ping, guest, WORLD)
    links = stage.lab.in_router("ip", "-o", "link").splitlines()
    assert len(links) == 2  # loopback and the guest's port


def test_switching_it_off(stage: Stage, guest: Guest) -> None:
    expect(True, ping, guest, WORLD)
    stage.lab.uplink = "none"
    stage.lab.restart().ensure_vpc(stage.lab.vpcs["vpc-a"])
    stage.lab.apply()
    expect(False, ping, guest, WORLD)
    assert stage.on_host("nft", "list", "ruleset") == ""
    assert "-up" not in stage.on_host("ip", "-o", "link")


def test_removing_a_vpc_removes_its_pair(stage: Stage, guest: Guest) -> None:
    stage.lab.driver.remove_vpc("vpc-a")
    until(lambda: "-up" not in stage.on_host("ip", "-o", "link"), "the pair is gone")
    assert "100.127.0.6" not in stage.on_host("nft", "list", "ruleset")
