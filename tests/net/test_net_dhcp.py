"""DHCP with a real client and with packets no client would send."""

from __future__ import annotations

import random
import select
import socket
import struct
import time
from pathlib import Path

import pytest
from vpc_lab import PATIENCE, SILENCE, Guest, Lab, checksum, until

pytestmark = pytest.mark.net

COOKIE = b"\x63\x82\x53\x63"


@pytest.fixture
def guest(lab: Lab) -> Guest:
    """Wired, without an address."""
    lab.vpc()
    guest = lab.guest("192.168.0.7", "sg-a", wire=False)
    lab.apply()
    lab.driver.wire_port(guest.port)
    return guest


def message(
    guest: Guest, kind: int, *, mac: str | None = None, client: str = "0.0.0.0", flags: int = 0, **options: bytes
) -> bytes:
    hardware = bytes.fromhex((mac or guest.port.mac).replace(":", ""))
    body = struct.pack("!BBBBIHH", 1, 1, 6, 0, random.randrange(1 << 32), 0, flags) + socket.inet_aton(client)
    body += bytes(12) + hardware + bytes(202) + COOKIE + bytes([53, 1, kind])
    for name, value in options.items():
        body += bytes([int(name.removeprefix("o")), len(value)]) + value
    return body + b"\xff"


def frame(guest: Guest, body: bytes, source: str = "0.0.0.0", target: str = "255.255.255.255") -> bytes:
    udp = struct.pack("!HHHH", 68, 67, 8 + len(body), 0) + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
    head += socket.inet_aton(source) + socket.inet_aton(target)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return b"\xff" * 6 + bytes.fromhex(guest.port.mac.replace(":", "")) + b"\x08\0" + head + udp


def ask(guest: Guest, packet: bytes, timeout: float) -> bytes | None:
    """The DHCP message that answers, with its Ethernet, IP and UDP heads."""
    transaction = packet[46:50]
    with guest.link_socket(0x0800) as link:
        link.send(packet)
        deadline = time.monotonic() + timeout
        while select.select([link], [], [], max(0, deadline - time.monotonic()))[0]:
            answer = link.recv(2000)
            if answer[34:36] == b"\0\x43" and answer[46:50] == transaction:
                return answer
    return None


def kind_of(answer: bytes) -> int:
    at = answer.index(COOKIE) + 4
    assert answer[at : at + 2] == b"\x35\x01"
    return answer[at + 2]


def test_a_real_client_gets_everything(lab: Lab, guest: Guest, tmp_path: Path) -> None:
    script, seen = tmp_path / "script", tmp_path / "seen"
    script.write_text(f'#!/bin/sh\necho "$1 $ip $mask $router $dns $hostname $mtu $lease $staticroutes" >> {seen}\n')
    script.chmod(0o755)
    result = guest.sh(
        "busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-O", "staticroutes", "-O", "mtu", "-s", str(script)
    )
    assert result.returncode == 0, result.stderr
    bound = seen.read_text().splitlines()[-1]
    routes = "192.168.0.253/32 0.0.0.0 100.100.100.200/32 192.168.0.253 0.0.0.0/0 192.168.0.253"
    assert bound == f"bound 192.168.0.7 24 192.168.0.253 9.9.9.9 host-1 1500 315360000 {routes}"
    history = [event.what for event in lab.driver.port_history(guest.port.tap)]
    assert history == ["DHCPDISCOVER", "DHCPOFFER 192.168.0.7", "DHCPREQUEST", "DHCPACK 192.168.0.7"]


def test_renewal_by_unicast(lab: Lab, guest: Guest) -> None:
    guest.configure()
    with guest.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((guest.ip, 68))
        client.sendto(message(guest, 3, client=guest.ip), (guest.port.gateway, 67))
        answer, sender = client.recvfrom(2000)
    assert sender == (guest.port.gateway, 67)
    assert answer[240:243] == b"\x35\x01\x05"
    assert answer[16:20] == socket.inet_aton(guest.ip)


def test_a_wrong_address_is_refused(guest: Guest) -> None:
    answer = ask(guest, frame(guest, message(guest, 3, o50=socket.inet_aton("192.168.0.8"))), PATIENCE)
    assert answer is not None
    assert kind_of(answer) == 6
    assert answer[:6] == b"\xff" * 6


def test_another_server_s_offer_is_left_alone(lab: Lab, guest: Guest) -> None:
    request = message(guest, 3, o50=socket.inet_aton(guest.ip), o54=socket.inet_aton("192.168.0.1"))
    assert ask(guest, frame(guest, request), SILENCE) is None


def test_only_the_port_s_own_hardware_address_is_answered(lab: Lab, guest: Guest) -> None:
    assert ask(guest, frame(guest, message(guest, 1, mac="00:16:3e:11:22:33")), SILENCE) is None
    assert lab.driver.port_history(guest.port.tap)[-1].what.startswith("DHCP ignored: from 00:16:3e:11:22:33")


def test_broadcast_if_the_client_wants_it(guest: Guest) -> None:
    answer = ask(guest, frame(guest, message(guest, 1, flags=0x8000)), PATIENCE)
    assert answer is not None
    assert answer[:6] == answer[30:34] + b"\xff\xff" == b"\xff" * 6


def test_hostile_packets_change_nothing(lab: Lab, guest: Guest) -> None:
    good = frame(guest, message(guest, 1))
    chance = random.Random(1)
    with guest.link_socket() as link:
        for length in range(14, len(good), 7):
            link.send(good[:length])
        for _ in range(200):
            bad = bytearray(good)
            for _ in range(chance.randrange(1, 20)):
                bad[chance.randrange(14, len(bad))] = chance.randrange(256)
            link.send(bytes(bad))
    # So many requests at once are more than one port may make: it is answered again a little later.
    until(lambda: ask(guest, frame(guest, message(guest, 1)), SILENCE) is not None, "an answer")
    assert len(lab.driver.port_history(guest.port.tap)) <= 50


def test_an_unknown_port_gets_no_answer_until_it_is_adopted(lab: Lab, guest: Guest) -> None:
    driver = lab.restart()
    driver.ensure_vpc(lab.vpcs["vpc-a"])
    assert ask(guest, frame(guest, message(guest, 1)), SILENCE) is None
    driver.adopt_ports("vpc-a", [guest.port])
    assert ask(guest, frame(guest, message(guest, 1)), PATIENCE) is not None


def test_events_of_others_join_the_history(lab: Lab, guest: Guest) -> None:
    lab.driver.note(guest.port.tap, "one")
    lab.driver.note(guest.ip, "GET /latest/meta-data/", "vpc-a")
    lab.driver.note("192.168.0.99", "nobody", "vpc-a")
    events = lab.driver.port_history(guest.port.tap)
    assert [event.what for event in events] == ["one", "GET /latest/meta-data/"]
    assert events[0].at <= events[1].at <= time.time()
