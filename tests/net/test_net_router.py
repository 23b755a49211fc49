"""Routers, taps and what remains of them (SPEC N1, N2)."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import gc
import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from vpc_lab import Flow, Lab, expect, ping, rule, serving, tcp, tcp_between, until

from agent.core.errors import DriverError
from agent.core.specs import FilterSpec, MemberSpec
from agent.drivers.network import netns

pytestmark = pytest.mark.net

LINEAR_SYN = Path("/proc/sys/net/ipv4/tcp_syn_linear_timeouts")


@contextlib.contextmanager
def attached(tap: str) -> Iterator[int]:
    """A process that has the tap open, as QEMU does."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", tap.encode(), 0x2 | 0x1000 | 0x4000))
        yield descriptor
    finally:
        os.close(descriptor)


def test_vpcs_with_the_same_addresses_are_apart(lab: Lab) -> None:
    lab.vpc("vpc-a")
    lab.vpc("vpc-b")
    lab.rules["sg-a"] = (rule(),)
    one = lab.guest("192.168.0.1", "sg-a", vpc="vpc-a")
    other = lab.guest("192.168.0.1", "sg-a", vpc="vpc-b")
    neighbour = lab.guest("192.168.0.2", "sg-a", vpc="vpc-b")
    expect(True, ping, neighbour, other.ip)
    expect(False, ping, one, neighbour.ip)
    with serving(other, 80):
        expect(True, tcp, neighbour, other.ip, 80)
        lab.driver.dial("vpc-b", other.ip, 80, 5).close()
        with pytest.raises(ConnectionRefusedError):
            lab.driver.dial("vpc-a", other.ip, 80, 5)


def test_vswitches_of_a_vpc_reach_each_other(lab: Lab) -> None:
    lab.vpc(gateways=("192.168.0.253", "192.168.1.253"))
    lab.rules["sg-a"] = (rule(),)
    one = lab.guest("192.168.0.1", "sg-a")
    two = lab.guest("192.168.1.1", "sg-a", wire=False)
    two.port = dataclasses.replace(two.port, gateway="192.168.1.253")
    lab.apply()
    lab.driver.wire_port(two.port)
    two.configure()
    expect(True, ping, one, two.ip)
    expect(True, ping, two, two.port.gateway)


def test_every_call_may_be_repeated(lab: Lab) -> None:
    lab.vpc()
    lab.rules["sg-a"] = (rule(),)
    one, two = lab.guest("192.168.0.1", "sg-a"), lab.guest("192.168.0.2", "sg-a")
    flow = Flow(one, two, 8000)
    try:
        for _ in range(2):
            lab.driver.ensure_vpc(lab.vpcs["vpc-a"])
            lab.apply()
            lab.driver.wire_port(one.port)
            lab.driver.wire_port(two.port)
            until(flow.moves, "the flow goes on")
    finally:
        flow.close()
    for _ in range(2):
        lab.driver.remove_port("vpc-a", one.port.tap)
        assert lab.driver.list_taps() == {two.port.tap: "vpc-a"}
    for _ in range(2):
        lab.driver.remove_vpc("vpc-a")
        assert lab.driver.list_vpcs() == set()


def test_nothing_is_left_of_a_vpc_whose_namespace_somebody_deleted(lab: Lab) -> None:
    lab.vpc()
    subprocess.run(["ip", "netns", "delete", f"{lab.prefix}-vpc-a"], check=True)
    lab.driver.remove_vpc("vpc-a")
    lab.vpc()
    assert "unreachable 192.168.0.0/16" in lab.in_router("ip", "route")


def test_gateways_follow_the_spec(lab: Lab) -> None:
    lab.vpc(gateways=("192.168.0.253", "192.168.1.253"))
    lab.vpcs["vpc-a"] = dataclasses.replace(lab.vpcs["vpc-a"], gateways=("192.168.1.253", "192.168.2.253"))
    lab.driver.ensure_vpc(lab.vpcs["vpc-a"])
    text = lab.in_router("ip", "-4", "-o", "addr", "show", "dev", "lo")
    assert sorted(line.split()[3] for line in text.splitlines()) == [
        "100.100.100.200/32",
        "100.100.2.136/32",
        "127.0.0.1/8",
        "192.168.1.253/32",
        "192.168.2.253/32",
    ]


def test_dial_comes_from_the_gateway_and_needs_no_open_port(lab: Lab) -> None:
    lab.vpc()
    guest = lab.guest("192.168.0.1", "sg-closed")
    with serving(guest, 22) as listener:
        connection = lab.driver.dial("vpc-a", guest.ip, 22, 5)
        accepted, (peer, _) = listener.accept()
        accepted.sendall(b"SSH-2.0")
        assert connection.recv(100) == b"SSH-2.0"
        assert connection.gettimeout() is None
        assert peer == guest.port.gateway
        connection.close()
        accepted.close()
    with pytest.raises(ConnectionRefusedError):
        lab.driver.dial("vpc-a", guest.ip, 22, 5)
    with pytest.raises(OSError):
        lab.driver.dial("vpc-a", "192.168.0.99", 22, 5)


def test_dial_soon_reaches_a_guest_that_comes_up_late(lab: Lab) -> None:
    """The kernel alone repeats a SYN after 1, 3 and 7 s; newer ones do better, unless told not to."""
    lab.vpc()
    guest = lab.guest("192.168.0.1")
    guest.sh("ip", "address", "flush", "dev", "eth0")
    if LINEAR_SYN.exists():
        lab.in_router("sysctl", "-qw", "net.ipv4.tcp_syn_linear_timeouts=0")
    with serving(guest, 22), guest.link_socket(0x0800) as link, ThreadPoolExecutor(1) as pool:
        dialing = pool.submit(lab.driver.dial, "vpc-a", guest.ip, 22, 10)
        for _ in range(3):
            link.recv(100)
        guest.configure()
        began = time.monotonic()
        dialing.result().close()
        assert time.monotonic() - began < 3


def test_an_address_without_a_port_leads_nowhere(lab: Lab) -> None:
    lab.vpc()
    lab.rules["sg-a"] = (rule(),)
    guest = lab.guest("192.168.0.1", "sg-a")
    expect(False, ping, guest, "192.168.0.77")
    expect(False, ping, guest, "192.168.77.77")
    expect(False, ping, guest, "8.8.8.8")
    assert "default" not in lab.in_router("ip", "route")


def test_the_life_of_a_tap(lab: Lab) -> None:
    lab.vpc()
    port = lab.new_port("192.168.0.5")
    lab.driver.create_tap(port)
    assert lab.driver.list_taps() == {port.tap: None}
    lab.driver.create_tap(port)
    with attached(port.tap) as tap:
        lab.driver.create_tap(port)  # in use: it stays
        lab.apply()
        lab.driver.wire_port(port)
        assert lab.driver.list_taps() == {port.tap: "vpc-a"}
        assert lab.driver.is_wired(port)
        lab.driver.create_tap(port)
        assert lab.driver.list_taps() == {port.tap: "vpc-a"}
        link = lab.in_router("ip", "-d", "link", "show", port.tap)
        assert "vnet_hdr on" in link
        assert "ee:ff:ff:ff:ff:ff" in link
        arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + bytes.fromhex(port.mac.replace(":", "")) + bytes(4)
        request = b"\xff" * 6 + arp[8:14] + b"\x08\x06" + arp + bytes(6) + socket.inet_aton(port.gateway)

        def answered() -> bool:
            os.write(tap, bytes(10) + request)
            return bool(select.select([tap], [], [], 0.2)[0]) and b"\xee\xff\xff\xff\xff\xff" in os.read(tap, 2000)

        assert not answered()  # the filter does not know it
        member = MemberSpec(port.tap, port.mac, (port.ip,), ("sg-a",))
        lab.driver.apply_filter(FilterSpec("vpc-a", {}, (member,)))
        until(answered, "the gateway's ARP answer")
    lab.driver.create_tap(port)  # its domain is gone: afresh
    assert lab.driver.list_taps() == {port.tap: None}
    assert not lab.driver.is_wired(port)
    lab.driver.remove_port("vpc-a", port.tap)
    lab.driver.remove_port("vpc-a", port.tap)
    assert lab.driver.list_taps() == {}


def test_a_stranger_s_link_is_not_touched(lab: Lab) -> None:
    lab.vpc()
    port = lab.new_port("192.168.0.5")
    subprocess.run(["ip", "tuntap", "add", port.tap, "mode", "tap"], check=True)
    try:
        with pytest.raises(DriverError, match=f"there is a link {port.tap} on the host that is not of this agent"):
            lab.driver.create_tap(port)
        lab.driver.remove_port("vpc-a", port.tap)
        assert lab.driver.list_taps() == {}
    finally:
        subprocess.run(["ip", "link", "del", port.tap], check=True)


def test_an_interrupted_creation_is_completed(lab: Lab) -> None:
    netns.RUN_DIR.mkdir(exist_ok=True)
    (netns.RUN_DIR / f"{lab.prefix}-vpc-a").touch()
    assert lab.driver.list_vpcs() == set()
    lab.vpc()
    assert lab.driver.list_vpcs() == {"vpc-a"}
    assert "hook forward priority filter; policy drop" in lab.in_router("nft", "list", "table", "inet", "vpc")
    lab.in_router("nft", "flush", "ruleset")
    lab.driver.ensure_vpc(lab.vpcs["vpc-a"])
    assert "hook forward priority filter; policy drop" in lab.in_router("nft", "list", "table", "inet", "vpc")


def test_errors_are_one_clear_line(lab: Lab) -> None:
    lab.vpc()
    with pytest.raises(DriverError, match="VPC vpc-none has no router on this host"):
        lab.driver.wire_port(dataclasses.replace(lab.new_port("192.168.0.1"), vpc_id="vpc-none"))
    with pytest.raises(DriverError, match=r"tap .* of i-1 does not exist; start the instance again"):
        lab.driver.wire_port(lab.new_port("192.168.0.1"))
    bad = rule(protocol="tcp", ports=(10, 5))
    guest = lab.guest("192.168.0.1", "sg-a")
    with pytest.raises(DriverError, match=r"cannot change the filter of vpc-a: ports \(10, 5\)"):
        lab.apply(sg_a=(bad,))
    lab.apply(sg_a=(rule(),))
    expect(True, tcp_between, guest, guest, 80)


def test_nothing_is_left_open(lab: Lab) -> None:
    def round_trip() -> None:
        lab.vpc()
        port = lab.new_port("192.168.0.5")
        lab.apply()
        lab.driver.create_tap(port)
        lab.driver.wire_port(port)
        lab.driver.listen("vpc-a", "100.100.100.200", 80).close()
        lab.driver.remove_vpc("vpc-a")

    def is_open() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    round_trip()
    gc.collect()  # what other tests left to it
    descriptors, threads = is_open()
    for _ in range(3):
        round_trip()
    # Fewer are possible: threads of other tests may still have been about to end.
    until(lambda: is_open()[0] <= descriptors and is_open()[1] <= threads, "no more descriptors or threads than before")
