"""The name server of a VPC asked by guests on a veth, and what it asks in turn."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from vpc_lab import PATIENCE, SILENCE, Guest, Lab, until

from agent.api.names.service import PER_GUEST, NameService
from agent.api.routers import RouterServices
from agent.core.addresses import NAME_SERVER

pytestmark = pytest.mark.net


class Neighbours:
    def addresses(self, label: str) -> list[str]:
        return ["192.168.0.2"] if label == "two" else []

    def host_name(self, address: str) -> str | None:
        return None

    def is_inside(self, address: str) -> bool:
        return False


class Names:
    """Remembers who asked."""

    def __init__(self) -> None:
        self.asked: set[tuple[str, str]] = set()

    def known_to(self, vpc_id: str, source: str) -> Neighbours:
        self.asked.add((vpc_id, source))
        return Neighbours()


class Upstream:
    """A name server on a loopback address of its own: UDP and TCP, on port 53."""

    def __init__(self) -> None:
        self.address = f"127.{random.randrange(50, 250)}.{random.randrange(250)}.{random.randrange(1, 250)}"
        self.silent = False
        self.asked: list[str] = []
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        for sock in (self._udp, self._tcp):
            sock.bind((self.address, 53))
        self._tcp.listen()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._by_udp, self._by_tcp)]
        for thread in self._threads:
            thread.start()

    def _by_udp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, client = self._udp.recvfrom(4096)
                if data == b"end":
                    return
                answer = self._answer(data)
                if not self.silent:
                    self._udp.sendto(answer.to_wire(max_size=512, prefer_truncation=True), client)

    def _by_tcp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._tcp.accept()
                with connection, contextlib.suppress(struct.error):
                    (length,) = struct.unpack("!H", connection.recv(2))
                    wire = self._answer(connection.recv(length)).to_wire()
                    connection.sendall(struct.pack("!H", len(wire)) + wire)

    def _answer(self, data: bytes) -> dns.message.Message:
        query = dns.message.from_wire(data)
        name = query.question[0].name
        self.asked.append(str(name))
        answer = dns.message.make_response(query)
        count = 100 if str(name).startswith("many") else 1
        addresses = [f"203.0.113.{number}" for number in range(1, count + 1)]
        answer.answer.append(dns.rrset.from_text_list(name, 60, "IN", "A", addresses))
        return answer

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"end", (self.address, 53))
        self._tcp.shutdown(socket.SHUT_RDWR)
        self._tcp.close()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._udp.close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with contextlib.closing(Upstream()) as made:
        yield made


@contextlib.contextmanager
def serving(lab: Lab, names: Names, resolvers: tuple[str, ...]) -> Iterator[None]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(20)

    async def make() -> RouterServices:
        return RouterServices(lab.driver, [NameService(lab.driver, names, "ecs.internal", resolvers)])

    service = run(make())
    try:
        run(service.start())
        lab.vpc()
        yield
    finally:
        run(service.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


def ask(guest: Guest, name: str, timeout: float = PATIENCE) -> dns.message.Message:
    """By UDP; TimeoutError without an answer."""
    query = dns.message.make_query(name, "A")
    with guest.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.connect((NAME_SERVER, 53))
        sock.send(query.to_wire())
        answer = dns.message.from_wire(sock.recv(4096))
    assert query.is_response(answer)
    return answer


def ask_by_stream(guest: Guest, name: str) -> dns.message.Message:
    query = dns.message.make_query(name, "A")
    wire = query.to_wire()
    with guest.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect((NAME_SERVER, 53))
        sock.sendall(struct.pack("!H", len(wire)) + wire)
        with sock.makefile("rb") as stream:
            (length,) = struct.unpack("!H", stream.read(2))
            answer = dns.message.from_wire(stream.read(length))
    assert query.is_response(answer)
    return answer


def is_up(guest: Guest) -> bool:
    with contextlib.suppress(OSError):
        return bool(ask(guest, "two", SILENCE).answer)
    return False


def addresses(answer: dns.message.Message) -> list[str]:
    return sorted(str(item) for rrset in answer.answer for item in rrset)


def test_neighbours_are_known_here_and_the_world_by_the_hosts_name_servers(lab: Lab, upstream: Upstream) -> None:
    names = Names()
    with serving(lab, names, (upstream.address,)):
        one = lab.guest("192.168.0.1", "sg-a")
        until(lambda: is_up(one), "the name server answers")
        assert addresses(ask(one, "two.ecs.internal")) == ["192.168.0.2"]
        assert addresses(ask_by_stream(one, "two")) == ["192.168.0.2"]
        assert ask(one, "nobody.ecs.internal").rcode() == dns.rcode.NXDOMAIN
        assert names.asked == {("vpc-a", "192.168.0.1")}
        assert upstream.asked == []  # nothing of the inside is told outside

        assert addresses(ask(one, "www.example.com")) == ["203.0.113.1"]
        assert ask(one, "many.example.com").flags & dns.flags.TC
        assert len(addresses(ask_by_stream(one, "many.example.com"))) == 100


def test_a_name_server_that_is_silent_is_passed_over_and_none_is_a_refusal(lab: Lab, upstream: Upstream) -> None:
    upstream.silent = True
    with contextlib.closing(Upstream()) as second, serving(lab, Names(), (upstream.address, second.address)):
        one = lab.guest("192.168.0.1", "sg-a")
        until(lambda: is_up(one), "the name server answers")
        assert addresses(ask(one, "www.example.com")) == ["203.0.113.1"]
        assert upstream.asked == second.asked == ["www.example.com."]
        second.silent = True
        assert ask(one, "www.example.com").rcode() == dns.rcode.SERVFAIL


def test_without_an_uplink_nobody_is_asked(lab: Lab) -> None:
    with serving(lab, Names(), ()):
        one = lab.guest("192.168.0.1", "sg-a")
        until(lambda: is_up(one), "the name server answers")
        assert ask(one, "www.example.com").rcode() == dns.rcode.REFUSED


def test_a_guest_that_floods_it_keeps_nobody_else_from_answers(lab: Lab, upstream: Upstream) -> None:
    upstream.silent = True
    with serving(lab, Names(), (upstream.address,)):
        one, two = lab.guest("192.168.0.1", "sg-a"), lab.guest("192.168.0.3", "sg-a")
        until(lambda: is_up(one), "the name server answers")
        with one.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((NAME_SERVER, 53))
            for number in range(10 * PER_GUEST):
                sock.send(dns.message.make_query(f"w{number}.example.com", "A").to_wire())
                sock.send(bytes(random.randrange(256) for _ in range(30)))
        until(lambda: is_up(two), "another guest has its answer")
        until(lambda: len(upstream.asked) >= PER_GUEST, "its first questions are asked")
        assert len(upstream.asked) <= 2 * PER_GUEST
