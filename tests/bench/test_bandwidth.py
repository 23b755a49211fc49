"""How exactly bandwidth with the outside holds (SPEC N6), and that there is none within a VPC.

One TCP connection each way and address, whose limit changes while it is busy. The rates are those of the data that
arrives: headers count for the limit, so about 4 % less is as asked.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from tests.net.stage import WORLD, Stage, staged
from tests.net.vpc_lab import Guest, expect, ping, rule, serving
from tests.support.throughput import busy, tcp_mbit

pytestmark = [pytest.mark.net, pytest.mark.timeout(600)]

RATES = (10, 100, 200, 1)  # Mbit/s, one after the other
KBIT = 1024
OWN, EIP = "203.0.113.50", "203.0.113.51"
SECOND = "192.168.0.11"  # the guest's other address
SETTLING = 0.7  # seconds after a change
SECONDS, LONGEST = 3.0, 10.0  # of a measurement; at 1 Mbit/s a packet as large as they come takes half a second
_BYTES_RECEIVED = 128  # offset in TCP_INFO
INWARD, OUTWARD = "in", "out"


@dataclass(frozen=True)
class Series:
    """What is measured: an address of the guest, and which way data goes."""

    name: str
    public: str
    private: str
    way: str

    @contextmanager
    def connection(self, stage: Stage, guest: Guest) -> Iterator[tuple[socket.socket, socket.socket]]:
        """Of who sends and who receives. The outside calls by the public address, the guest from its private one."""
        inward = self.way == INWARD
        client, server = (stage.world, guest) if inward else (guest, stage.world)
        with serving(server, 5001) as listener, client.socket(socket.AF_INET, socket.SOCK_STREAM) as near:
            if not inward:
                near.bind((self.private, 0))
            near.connect((self.public if inward else WORLD, 5001))
            far, (seen, _) = listener.accept()
            assert inward or seen == self.public
            with far:
                yield near, far


ALL = tuple(
    Series(f"{name}, {way}", public, private, way)
    for name, public, private in (("instance's address", OWN, "192.168.0.1"), ("EIP of its second one", EIP, SECOND))
    for way in (INWARD, OUTWARD)
)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged("auto") as stage:
        yield stage


@pytest.fixture
def guest(stage: Stage) -> Guest:
    stage.lab.vpc()
    guest = stage.lab.guest("192.168.0.1", "sg-a")
    guest.sh("ip", "addr", "add", f"{SECOND}/24", "dev", "eth0")
    stage.lab.assign(guest, SECOND)
    stage.lab.apply(sg_a=(rule(),))
    stage.network((OWN, guest), (EIP, replace(guest, port=replace(guest.port, ip=SECOND))))
    for address in (OWN, EIP):
        expect(True, ping, stage.world, address)
    return guest


def limit(stage: Stage, guest: Guest, way: str, mbit: int) -> None:
    """One way; the other one stays wide."""
    kbit = {INWARD: 200 * KBIT, OUTWARD: 200 * KBIT, way: mbit * KBIT}
    stage.lab.driver.limit_port(replace(guest.port, inbound_kbit=kbit[INWARD], outbound_kbit=kbit[OUTWARD]))


def rate(receiver: socket.socket, seconds: float) -> float:
    """Mbit/s of 1,024 kbit/s that arrive within that time."""

    def received() -> int:
        told = receiver.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED + 8)
        return int(struct.unpack_from("=Q", told, _BYTES_RECEIVED)[0])

    before, begin = received(), time.monotonic()
    time.sleep(seconds)
    return (received() - before) * 8 / (time.monotonic() - begin) / 1000 / KBIT


def measured(stage: Stage, guest: Guest, series: Series) -> dict[int, float]:
    """By what was asked for."""
    found = {}
    limit(stage, guest, series.way, RATES[0])
    with series.connection(stage, guest) as ends, busy(*ends):
        for mbit in RATES:
            limit(stage, guest, series.way, mbit)
            time.sleep(SETTLING)
            found[mbit] = rate(ends[1], LONGEST if mbit == 1 else SECONDS)
    return found


def test_bandwidth_holds_within_10_percent(stage: Stage, guest: Guest, report: Callable[[str], None]) -> None:
    found = {series.name: measured(stage, guest, series) for series in ALL}
    report(f"{'Mbit/s asked for':30}" + "".join(f"{mbit:>10}" for mbit in sorted(RATES)))
    for name, rates in found.items():
        report(f"{name:30}" + "".join(f"{rates[mbit]:10.2f}" for mbit in sorted(RATES)))
    off = {
        name: {mbit: got for mbit, got in rates.items() if abs(got / mbit - 1) > 0.1} for name, rates in found.items()
    }
    assert not any(off.values()), off


def test_within_the_vpc_there_is_no_limit(stage: Stage, guest: Guest, report: Callable[[str], None]) -> None:
    neighbour = stage.lab.guest("192.168.0.2", "sg-a")
    for one in (guest, neighbour):
        stage.lab.driver.limit_port(replace(one.port, inbound_kbit=KBIT, outbound_kbit=KBIT))
    with serving(neighbour, 5001) as listener, guest.socket(socket.AF_INET, socket.SOCK_STREAM) as near:
        near.connect((neighbour.ip, 5001))
        far, _ = listener.accept()
        with far:
            got = tcp_mbit(near, far, SECONDS)
    report(f"between instances with 1 Mbit/s each: {got:,.0f} Mbit/s")
    assert got > 10 * max(RATES)
