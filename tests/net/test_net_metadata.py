"""The metadata service of a real agent, asked by guests on a veth (SPEC I11). The agent has no libvirt."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from typing import cast

import pytest
from metadata_site import Site, answer_to, answers, ask, connect, running_site
from vpc_lab import PATIENCE, SILENCE, Guest, Lab, tcp, until

from agent.api.metadata.answer import Answers
from agent.api.metadata.limits import Limits
from agent.api.metadata.service import MetadataService
from agent.api.metadata.tree import Live
from agent.api.routers import RouterServices
from agent.core.addresses import METADATA_ADDRESS
from agent.drivers.network import netns
from agent.services.instance_credentials import Tokens
from tests.support.waiting import wait_for

pytestmark = pytest.mark.net


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site() as made:
        yield made


@pytest.fixture(scope="module")
def vpc_a(site: Site) -> str:
    return site.vpc()


@pytest.fixture(scope="module")
def one(site: Site, vpc_a: str) -> Guest:
    return site.guest(vpc_a, "192.168.0.1", b"#!/bin/sh\necho \xff one\n")


@pytest.fixture(scope="module")
def two(site: Site, vpc_a: str) -> Guest:
    return site.guest(vpc_a, "192.168.0.2")


@pytest.fixture(scope="module")
def elsewhere(site: Site) -> Guest:
    """In another VPC, with the address of `one`."""
    return site.guest(site.vpc(), "192.168.0.1", b"elsewhere")


def test_each_guest_gets_its_own_data_only(site: Site, one: Guest, two: Guest, elsewhere: Guest) -> None:
    for guest in (one, two, elsewhere):
        answer = ask(guest, "/latest/meta-data/instance-id")
        assert (answer.status, answer.body) == (200, site.instance_of(guest))
        assert ask(guest, "/latest/meta-data/hostname").body.decode() == guest.port.host_name
        assert ask(guest, "/2016-01-01/meta-data/mac").body.decode() == guest.port.mac
    assert ask(one, "/latest/user-data").body == b"#!/bin/sh\necho \xff one\n"
    assert ask(two, "/latest/user-data").status == 404
    assert ask(elsewhere, "/latest/user-data").body == b"elsewhere"


def test_listings_unknown_paths_and_methods(one: Guest) -> None:
    assert ask(one, "/").body == b"2016-01-01\nlatest"
    listing = ask(one, "/latest/meta-data/")
    assert b"instance-id" in listing.body.split(b"\n")
    assert b"network/" in listing.body.split(b"\n")
    assert listing.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert ask(one, "/latest/meta-data/instance-id", "HEAD").body == b""
    for path in ("/latest/vendor-data", "/latest/nothing", "/nothing", "/latest/%2e%2e/", "/latest/meta-data//"):
        assert ask(one, path).status == 404, path
    for method, path in (("PUT", "/latest/user-data"), ("POST", "/latest/user-data"), ("DELETE", "/nothing")):
        refused = ask(one, path, method)
        assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")


def test_what_a_request_claims_of_its_sender_is_ignored(site: Site, one: Guest, two: Guest) -> None:
    claims = {name: two.ip for name in ("X_Forwarded_For", "Forwarded", "X_Real_IP")}
    answer = ask(one, "/latest/meta-data/instance-id", **claims, Host="localhost:8800")
    assert answer.body == site.instance_of(one)
    absolute = b"GET http://127.0.0.1/latest/meta-data/instance-id HTTP/1.1\r\nHost: x\r\n\r\n"
    assert answer_to(one, absolute).endswith(b"\r\n\r\n" + site.instance_of(one))


def test_a_forged_sender_gets_nothing(one: Guest, two: Guest) -> None:
    one.sh("ip", "address", "add", f"{two.ip}/32", "dev", "eth0")
    try:
        with pytest.raises(TimeoutError):
            connect(one, source=two.ip, timeout=SILENCE)
    finally:
        one.sh("ip", "address", "del", f"{two.ip}/32", "dev", "eth0")
    assert ask(two, "/latest/").status == 200


def test_it_is_at_one_address_and_port_only(one: Guest) -> None:
    for address, port in ((METADATA_ADDRESS, 81), (one.port.gateway, 80), ("127.0.0.2", 8800)):
        with contextlib.suppress(ConnectionRefusedError):
            assert not tcp(one, address, port)


def test_each_request_is_in_the_history_of_its_port(site: Site, one: Guest, two: Guest) -> None:
    # Ports are known to an agent that wired them, or took them over.
    site.agent.kill()
    site.agent.start()
    wait_for("the service after a restart", lambda: answers(one), 20)
    ask(two, "/latest/meta-data/")
    ask(two, "/nothing")
    ask(two, "/" + "\u00e4".encode().hex("%").join(("%", "")) + "x" * 300)
    seen = site.history(two)
    assert seen[:2] == ["GET /latest/meta-data/", "GET /nothing 404"]
    assert seen[2].startswith("GET /\\xe4xxx")
    assert len(seen[2]) < 130
    for _ in range(60):
        ask(two, "/latest/")
    assert len(site.history(two)) <= 50
    assert set(site.history(two)) == {"GET /latest/"}
    assert "GET /nothing 404" not in site.history(one)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /latest/ HTTP/9.9\r\n\r\n",
        b"GET latest HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET //[ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /latest/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /latest/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n",
        b"GET /latest/ HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 8000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 100_000,
        b"GET / HTTP/1.1\r\n\r\n" * 10_000,
    ],
    ids=range(18),
)
def test_garbage_is_refused_without_a_trace(site: Site, one: Guest, request_bytes: bytes) -> None:
    before = len(site.agent.output())
    received = answer_to(one, request_bytes)
    assert len(received) < 4096
    assert b"Traceback" not in received
    assert len(re.findall(rb"^HTTP/1\.\d \d{3}", received, re.MULTILINE)) <= 1  # one connection, one answer
    assert ask(one, "/latest/").status == 200
    assert "Traceback" not in site.agent.output()[before:]
    assert "ERROR" not in site.agent.output()[before:]


@contextlib.contextmanager
def serving(lab: Lab, limits: Limits) -> Iterator[None]:
    """The service alone, with other limits than the product's, in a VPC of the lab; it knows no instance."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait_for_end(work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(20)

    async def make() -> RouterServices:
        knows_nobody = Answers(lambda vpc_id, ip: None, cast(Live, None), cast(Tokens, None))
        return RouterServices(lab.driver, [MetadataService(lab.driver, knows_nobody, limits)])

    service = asyncio.run_coroutine_threadsafe(make(), loop).result(20)
    try:
        wait_for_end(service.start())
        lab.vpc()
        yield
    finally:
        wait_for_end(service.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


def test_idle_connections_of_a_guest_are_few_and_end(lab: Lab) -> None:
    with serving(lab, Limits(connection_seconds=2.0)), contextlib.ExitStack() as stack:
        one, two = lab.guest("192.168.0.1", "sg-a"), lab.guest("192.168.0.2", "sg-a")
        wait_for("the service", lambda: answers(one), 20)
        idle = [stack.enter_context(connect(one)) for _ in range(30)]
        for sock in idle:
            sock.setblocking(False)
        until(lambda: sum(_is_open(sock) for sock in idle) == 8, "connections over the limit are reset")
        assert answers(two)
        # Those within it end, too, though each sends a byte now and then.
        kept = [sock for sock in idle if _is_open(sock)]
        kept[0].send(b"GET /latest/ HT")
        wait_for("the end of idle connections", lambda: not any(map(_is_open, kept)), 20)
        assert answers(one)


def _is_open(sock: socket.socket) -> bool:
    try:
        return sock.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def test_a_guest_that_asks_too_often_waits_and_others_do_not(lab: Lab) -> None:
    with serving(lab, Limits(burst=10, per_second=50)):
        one, two = lab.guest("192.168.0.1", "sg-a"), lab.guest("192.168.0.2", "sg-a")
        wait_for("the service", lambda: answers(one), 20)
        start = time.monotonic()
        for _ in range(60):
            assert answers(one)
        assert time.monotonic() - start > 0.8
        start = time.monotonic()
        assert answers(two)
        assert time.monotonic() - start < 0.5


def _connect_here() -> socket.socket | None:
    with contextlib.suppress(OSError):  # the router, then its address, then the service comes
        return socket.create_connection((METADATA_ADDRESS, 80), PATIENCE)
    return None


def test_a_vpc_that_is_removed_leaves_nothing_open(site: Site, one: Guest) -> None:
    def cycle() -> None:
        vpc_id = site.vpc()
        router = netns.Namespace(f"{site.lab.prefix}-{vpc_id}")
        try:
            # The router's own loopback reaches its services.
            with wait_for("the service", lambda: router.run(_connect_here), 20):
                vswitch = site.agent.call("DescribeVSwitches", VpcId=vpc_id)["VSwitches"]["VSwitch"][0]["VSwitchId"]
                site.agent.call("DeleteVSwitch", VSwitchId=vswitch)
                site.agent.call("DeleteVpc", VpcId=vpc_id)
                site.agent.wait_jobs()
        finally:
            router.close()

    cycle()
    before = len(site.descriptors())
    for _ in range(3):
        cycle()
    wait_for("closed sockets", lambda: len(site.descriptors()) <= before, 20)
    assert ask(one, "/latest/").status == 200


def test_an_address_that_is_taken_is_tried_again(site: Site, vpc_a: str, one: Guest, elsewhere: Guest) -> None:
    site.agent.stop()
    router = netns.Namespace(f"{site.lab.prefix}-{vpc_a}")
    try:
        with router.run(lambda: socket.create_server((METADATA_ADDRESS, 80))):
            site.agent.start()
            wait_for("the warning", lambda: f"no metadata in {vpc_a}" in site.agent.output(), 20)
            wait_for("the other VPC's service", lambda: answers(elsewhere), 20)
        wait_for("the service", lambda: answers(one), 20)
    finally:
        router.close()
    assert site.agent.output().count(f"no metadata in {vpc_a}") == 1


def test_an_agent_that_stops_does_so_at_once_and_cleanly(site: Site, one: Guest) -> None:
    with connect(one) as idle:
        start = time.monotonic()
        site.agent.stop()
        assert time.monotonic() - start < 8
        assert idle.recv(1) == b""
    site.agent.start()
    wait_for("the service after a restart", lambda: answers(one), 20)
    assert "Traceback" not in site.agent.output()
