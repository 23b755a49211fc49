"""What others change of the host's interfaces is followed without a restart, and not fought against (SPEC N3, N5)."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from stage import HOST, WORLD, Stage, join
from test_net_public import sees
from vpc_lab import PATIENCE, Guest, Lab, expect, ping, rule, until

from agent.core.specs import ForwardSpec

pytestmark = pytest.mark.net

LAN, LAN_2, NEW, NEW_HOST, NEW_WORLD = "203.0.113.50", "203.0.113.51", "198.51.100.50", "198.51.100.2", "198.51.100.1"
_REST_SECONDS = 0.45  # more than a change takes until it is followed
_GROUPS = 0x1 | 0x10 | 0x40  # RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE


@pytest.fixture
def guest(stage: Stage) -> Guest:
    """Open to everybody, with a public address and a forwarded port."""
    stage.host.sysctl({"ipv4/ip_forward": 0})
    stage.lab.vpc()
    guest = stage.lab.guest("192.168.0.1", "sg-a")
    stage.lab.apply(sg_a=(rule(),))
    stage.network((LAN, guest), forwards=(ForwardSpec("tcp", "", 8080, guest.ip, 80),))
    return guest


def forwards(stage: Stage, interface: str) -> bool:
    path = Path("/proc/sys/net/ipv4/conf", interface, "forwarding")
    return stage.host.run(path.read_text).strip() == "1"


def answers(stage: Stage) -> set[tuple[str, str]]:
    """For which addresses the host answers ARP, and on which interface."""
    lines = stage.on_host("ip", "neigh", "show", "proxy").splitlines()
    return {(line.split()[0], line.split()[2]) for line in lines}


def settled(stage: Stage) -> None:
    """Nothing changes any more on the host."""
    deadline = PATIENCE
    with stage.here.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as changes:
        changes.bind((0, _GROUPS))
        while select.select([changes], [], [], _REST_SECONDS)[0]:
            changes.recv(1 << 18)
            deadline -= 0.1
            assert deadline > 0, "the host's links, addresses and routes never rest"


def test_the_interface_vanishes_and_comes_again(stage: Stage, guest: Guest) -> None:
    assert answers(stage) == {(LAN, "wan0")}
    stage.on_host("ip", "link", "del", "wan0")
    until(lambda: 'oifname "wan0"' not in stage.on_host("nft", "list", "ruleset"), "it is known to be gone")
    sees("100.127.0.5", guest, stage.here, LAN)
    join(stage.host, stage.world.ns)
    until(lambda: answers(stage) == {(LAN, "wan0")}, "the host answers for the address")
    sees(WORLD, guest, stage.world, LAN)
    sees(WORLD, guest, stage.world, HOST, 8080)
    settled(stage)


@pytest.mark.parametrize("stage", ["wan0"], indirect=True)
def test_a_vpc_is_made_before_the_interface_is_there(stage: Stage) -> None:
    stage.on_host("ip", "link", "del", "wan0")
    stage.lab.vpc()
    guest = stage.lab.guest("192.168.0.1", "sg-a")
    expect(False, ping, guest, WORLD)
    join(stage.host, stage.world.ns)
    expect(True, ping, guest, WORLD)


def test_the_interface_gets_another_address(stage: Stage, guest: Guest) -> None:
    """As by DHCP, by which the default route goes for a moment."""
    other = stage.lab.guest("192.168.0.2", "sg-a")
    stage.network((LAN, guest), (NEW, other), forwards=stage.lab.vpcs["vpc-a"].forwards)
    plain = stage.lab.guest("192.168.0.3", "sg-a")
    assert answers(stage) == {(LAN, "wan0")}
    stage.on_host("ip", "addr", "flush", "dev", "wan0")
    until(lambda: not forwards(stage, "wan0"), "nothing leads out")
    stage.on_host("ip", "addr", "add", f"{NEW_HOST}/24", "dev", "wan0")
    stage.on_host("ip", "route", "add", "default", "via", NEW_WORLD)
    stage.world.sh("ip", "addr", "add", f"{NEW_WORLD}/24", "dev", "eth0")
    until(lambda: answers(stage) == {(NEW, "wan0")}, "the host answers for what its network has")
    sees(NEW_WORLD, other, stage.world, NEW)
    sees(NEW_WORLD, guest, stage.world, NEW_HOST, 8080)
    sees(NEW_HOST, stage.world, plain, NEW_WORLD)
    settled(stage)


def test_the_default_route_moves(stage: Stage, guest: Guest) -> None:
    """To another interface and back; the one that is left is as it was before."""
    plain = stage.lab.guest("192.168.0.2", "sg-a")
    stage.on_host(
        "ip", "link", "add", "wan1", "type", "veth", "peer", "name", "far1", "netns", str(stage.world.ns.name)
    )
    stage.on_host("ip", "addr", "add", f"{NEW_HOST}/24", "dev", "wan1")
    stage.on_host("ip", "link", "set", "wan1", "up")
    for line in (f"addr add {NEW_WORLD}/24 dev far1", "link set far1 up"):
        stage.world.sh("ip", *line.split())
    for there, here, used, left in ((NEW_WORLD, NEW_HOST, "wan1", "wan0"), (WORLD, HOST, "wan0", "wan1")):
        stage.on_host("ip", "route", "replace", "default", "via", there)
        until(lambda used=used: forwards(stage, used), f"{used} forwards")
        sees(here, stage.world, plain, there)
        until(lambda left=left: not forwards(stage, left), f"{left} does not any more")
    sees(WORLD, guest, stage.world, LAN)


def test_what_somebody_took_away_comes_back(stage: Stage, guest: Guest) -> None:
    """Programs that manage networks remove routes they do not know, and forwarding."""
    stage.on_host("ip", "route", "del", LAN)
    until(lambda: LAN in stage.on_host("ip", "route"), "the route is there again")
    stage.on_host("sysctl", "-qw", "net.ipv4.conf.wan0.forwarding=0")
    until(lambda: forwards(stage, "wan0"), "the interface forwards again")
    sees(WORLD, guest, stage.world, LAN)
    settled(stage)


def test_a_host_that_begins_to_forward_goes_on(stage: Stage, guest: Guest) -> None:
    """Docker and libvirt switch it on for all; it is not ours to switch off, then."""
    assert 'iifname "wan0"' in stage.on_host("nft", "list", "ruleset")
    stage.on_host("sysctl", "-qw", "net.ipv4.ip_forward=1")
    until(lambda: 'iifname "wan0"' not in stage.on_host("nft", "list", "ruleset"), "others are let through")
    stage.lab.driver.remove_all()
    assert forwards(stage, "wan0")


@pytest.fixture
def second(stage: Stage) -> Iterator[Lab]:
    """Another agent on the same host."""
    lab = Lab(uplink="auto", host=str(stage.host.name))
    try:
        yield lab
    finally:
        lab.close()


def test_two_agents_on_one_host(stage: Stage, guest: Guest, second: Lab) -> None:
    """With the same addresses. Neither touches what is the other's; what both want is that of the first."""
    theirs = replace(stage, lab=second)
    second.vpc()
    other = second.guest("192.168.0.1", "sg-a")
    second.apply(sg_a=(rule(),))
    theirs.network((LAN, other), (LAN_2, other), forwards=(ForwardSpec("tcp", "", 8081, other.ip, 80),))
    settled(stage)
    sees(WORLD, guest, stage.world, LAN)
    for address, port in ((LAN_2, 80), (HOST, 8081)):
        sees(WORLD, other, stage.world, address, port)
    sees(HOST, stage.world, second.guest("192.168.0.2", "sg-a"), WORLD)
    assert answers(stage) == {(LAN, "wan0"), (LAN_2, "wan0")}
    contested = [found.what for found in second.driver.check_host({}) if found.subject == "public addresses"]
    assert len(contested) == 1
    assert LAN in contested[0]
    stage.lab.driver.remove_all()
    sees(WORLD, other, stage.world, LAN)
    sees(WORLD, other, stage.world, HOST, 8081)
    second.driver.remove_all()
    assert not forwards(stage, "wan0")
    assert answers(stage) == set()


def test_a_driver_leaves_no_thread_and_no_socket(stage: Stage) -> None:
    stage.lab.vpc()
    stage.lab.restart()

    def held() -> tuple[int, int]:
        watchers = [thread for thread in threading.enumerate() if thread.name == "host-changes"]
        return len(os.listdir("/proc/self/fd")), len(watchers)

    before = held()
    for _ in range(3):
        stage.lab.restart()
    assert held() == before
