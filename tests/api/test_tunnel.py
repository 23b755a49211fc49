"""A TCP stream over a websocket: both directions at once, half-close, one use, broken ends."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import aiohttp
import pytest

from agent.api.edge.one_time import MOST_WAITING
from agent.api.edge.tunnel import FAREWELL, LIFETIME, TunnelTable
from agent.core.errors import DriverError
from tests.api.live import Edge

Serve = Callable[[socket.socket], None]


@contextmanager
def guest(serve: Serve) -> Iterator[tuple[str, int]]:
    """A TCP server whose every connection is given to `serve` in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=run, args=(connection,), daemon=True))
            threads[-1].start()

    def run(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(60)
            serve(connection)

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (accepting, *threads):
            thread.join(60)
            assert not thread.is_alive()


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def url_of(edge: Edge, address: tuple[str, int]) -> str:
    token = edge.tunnels.issue(lambda: socket.create_connection(address, timeout=10), "i-1 port 22")
    return f"http://{edge.address}/tunnel/{token}"


async def through(url: str, data: bytes, piece: int = 100_000) -> bytes:
    """Send `data` and the end of our direction; all that comes back until the guest's end."""
    received = bytearray()
    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as channel:

        async def send() -> None:
            for start in range(0, len(data), piece):
                await channel.send_bytes(data[start : start + piece])
            await channel.send_bytes(b"")

        sending = asyncio.create_task(send())
        async for message in channel:
            assert message.type is aiohttp.WSMsgType.BINARY
            if not message.data:
                break
            received += message.data
        await sending
        await channel.close()
    return bytes(received)


def test_megabytes_both_ways(edge: Edge) -> None:
    data = os.urandom(12 << 20)
    with guest(echo) as address:
        received = asyncio.run(through(url_of(edge, address), data))
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()


def test_many_at_once(edge: Edge) -> None:
    data = [os.urandom(300_000) for _ in range(40)]

    async def all_of_them(address: tuple[str, int]) -> list[bytes]:
        return await asyncio.gather(*(through(url_of(edge, address), piece) for piece in data))

    with guest(echo) as address:
        assert asyncio.run(all_of_them(address)) == data


def test_the_guest_speaks_on_after_our_end(edge: Edge) -> None:
    def answer_at_the_end(connection: socket.socket) -> None:
        total = 0
        while data := connection.recv(65536):
            total += len(data)
        connection.sendall(f"got {total}".encode())

    with guest(answer_at_the_end) as address:
        assert asyncio.run(through(url_of(edge, address), b"x" * 1000)) == b"got 1000"


def test_we_speak_on_after_the_guests_end(edge: Edge) -> None:
    got: list[bytes] = []

    def end_first(connection: socket.socket) -> None:
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65536):
            got.append(data)

    async def talk(url: str) -> list[object]:
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as channel:
            heard: list[object] = [await channel.receive_bytes(), await channel.receive_bytes()]
            await channel.send_bytes(b"still here")
            await channel.send_bytes(b"")
            heard.append((await channel.receive()).type)
            return heard

    with guest(end_first) as address:
        heard = asyncio.run(talk(url_of(edge, address)))
    assert heard == [b"bye", b"", aiohttp.WSMsgType.CLOSE]
    assert b"".join(got) == b"still here"


def test_a_slow_reader_holds_the_guest_back(edge: Edge) -> None:
    sent = [0]
    stalled = threading.Event()

    def pour(connection: socket.socket) -> None:
        connection.settimeout(1.5)
        try:
            while True:
                connection.sendall(b"x" * 65536)
                sent[0] += 65536
        except TimeoutError:
            stalled.set()

    async def never_read(url: str) -> None:
        async with aiohttp.ClientSession() as session:
            channel = await session.ws_connect(url)
            assert await asyncio.to_thread(stalled.wait, 60)
            await channel.close()

    with guest(pour) as address:
        asyncio.run(never_read(url_of(edge, address)))
    assert sent[0] < 64 << 20


@pytest.mark.parametrize("who", ["client", "guest"])
def test_a_broken_end_ends_the_other(edge: Edge, who: str) -> None:
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"hello")
        if who == "guest":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.recv(1)
            return
        assert connection.recv(1) == b""
        ended.set()

    async def talk(url: str) -> None:
        async with aiohttp.ClientSession() as session:
            channel = await session.ws_connect(url)
            assert await channel.receive_bytes() == b"hello"
            if who == "client":
                return  # the session drops the connection
            await channel.send_bytes(b"x")
            while (await channel.receive(timeout=30)).type is aiohttp.WSMsgType.BINARY:
                pass

    with guest(serve) as address:
        asyncio.run(talk(url_of(edge, address)))
        assert who == "guest" or ended.wait(30)


def test_text_is_refused(edge: Edge) -> None:
    async def talk(url: str) -> aiohttp.WSMsgType:
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as channel:
            await channel.send_str("hello")
            return (await channel.receive(timeout=30)).type

    with guest(echo) as address:
        assert asyncio.run(talk(url_of(edge, address))) is aiohttp.WSMsgType.CLOSE


def test_a_token_is_good_once(edge: Edge) -> None:
    with guest(echo) as address:
        url = url_of(edge, address)
        assert asyncio.run(through(url, b"once")) == b"once"
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            asyncio.run(through(url, b"twice"))
    assert caught.value.status == 404


def test_a_plain_get_does_not_use_the_token_up(edge: Edge) -> None:
    async def get(url: str) -> int:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status

    with guest(echo) as address:
        url = url_of(edge, address)
        assert asyncio.run(get(url)) == 400
        assert asyncio.run(through(url, b"x")) == b"x"


@pytest.mark.parametrize(
    "error", [DriverError("cannot reach 10.0.0.5:22: no route"), ConnectionRefusedError("refused")]
)
def test_a_guest_that_cannot_be_reached_is_told(edge: Edge, error: Exception) -> None:
    def dial() -> socket.socket:
        raise error

    async def get(url: str) -> tuple[int, str]:
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
            return response.status, await response.text()

    token = edge.tunnels.issue(dial, "i-1 port 22")
    status, text = asyncio.run(get(f"http://{edge.address}/tunnel/{token}"))
    assert status == 502
    assert str(error) in text


def test_the_server_stops_with_streams_open(edge: Edge) -> None:
    async def talk(url: str) -> aiohttp.WSMsgType:
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as channel:
            await channel.send_bytes(b"x")
            await channel.receive_bytes()
            stopping = asyncio.to_thread(edge.run, edge.server.stop())
            message, _ = await asyncio.gather(channel.receive(timeout=30), stopping)
            return message.type

    with guest(echo) as address:
        assert asyncio.run(talk(url_of(edge, address))) is aiohttp.WSMsgType.CLOSE


def test_a_session_ends_with_its_reason(edge: Edge) -> None:
    """A stream that is no TCP stream: no half-close, but both ends at once, and a word on why."""
    ours, theirs = socket.socketpair()

    async def talk(url: str) -> tuple[int | None, str | None]:
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as channel:
            await channel.send_bytes(b"x")
            assert await asyncio.to_thread(theirs.recv, 1) == b"x"
            theirs.sendall(b"last words")
            theirs.close()
            assert await channel.receive_bytes() == b"last words"
            message = await channel.receive(timeout=30)
            return message.data, message.extra

    token = edge.tunnels.issue(lambda: ours, "a session", lambda: "it is over")
    assert asyncio.run(talk(f"http://{edge.address}/tunnel/{token}")) == (FAREWELL, "it is over")


def test_tokens_grow_old() -> None:
    now = [0.0]
    table = TunnelTable(now=lambda: now[0])
    token = table.issue(socket.socket, "x")
    now[0] = LIFETIME + 1
    assert table.take(token) is None
    tokens = [table.issue(socket.socket, "x") for _ in range(MOST_WAITING + 1)]
    assert table.take(tokens[0]) is None
    assert table.take(tokens[-1]) is not None
