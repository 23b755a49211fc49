"""A TCP stream into a guest over a websocket: `GET /tunnel/<token>`.

OpenTunnel issues a token, good for one use within 30 s; whoever presents it gets the stream. Each binary message
is a piece of the stream. An empty binary message means: no more from this side (half-close); the other
direction goes on. The connection closes when both sides have ended or one side breaks off; a closed
websocket ends both directions.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aiohttp import WSCloseCode, WSMsgType, web

from agent.api.edge.one_time import OneTimeTokens
from agent.core.errors import ApiError, DriverError

logger = logging.getLogger(__name__)

LIFETIME = 30.0  # seconds
PIECE = 64 << 10  # bytes read from the guest at once
LARGEST_MESSAGE = 4 << 20  # bytes
LINGER = 30.0  # seconds that a client may stay silent after the guest has ended the stream
FAREWELL = 4000  # close code, of those that applications may use
LONGEST_REASON = 123  # bytes, of a close frame
DIALERS = 32

Dial = Callable[[], socket.socket]


@dataclass(frozen=True)
class _Ticket:
    dial: Dial
    label: str
    farewell: Callable[[], str] | None = None


class TunnelTable:
    """Tokens that wait to be used. Thread-safe; `now` in seconds, for tests."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._tokens: OneTimeTokens[_Ticket] = OneTimeTokens(LIFETIME, now)

    def issue(self, dial: Dial, label: str, farewell: Callable[[], str] | None = None) -> str:
        """A token for one stream. `dial` connects (blocking, with a time limit of its own; raises DriverError,
        ApiError or OSError); `label` says in the log what the stream is.

        With `farewell` it is no TCP stream but a session: when the far end ends it, both directions end, and the
        close frame carries FAREWELL and what `farewell` says."""
        return self._tokens.issue(_Ticket(dial, label, farewell))

    def take(self, token: str) -> _Ticket | None:
        """What `token` stands for, once; None when unknown, used or too old."""
        return self._tokens.take(token)


class Tunnels:
    """The route, and the streams that run. Add `route` to the server, and `close` to its shutdown."""

    def __init__(self, table: TunnelTable) -> None:
        self.table = table
        self._open: set[web.WebSocketResponse] = set()
        # Of its own: guests that do not answer must not hold up anything but tunnels.
        self._dialers = ThreadPoolExecutor(DIALERS, thread_name_prefix="tunnel")

    @property
    def route(self) -> web.RouteDef:
        return web.get("/tunnel/{token}", self.handle)

    async def close(self) -> None:
        """End all streams, as the server stops."""
        for channel in list(self._open):
            await channel.close(code=WSCloseCode.GOING_AWAY, message=b"the agent stops")
        self._dialers.shutdown(wait=False, cancel_futures=True)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        channel = web.WebSocketResponse(compress=False, max_msg_size=LARGEST_MESSAGE, timeout=5)
        if not channel.can_prepare(request).ok:
            return web.Response(status=400, text="A tunnel is a websocket.\n")
        ticket = self.table.take(request.match_info["token"])
        if ticket is None:
            return web.Response(status=404, text="The tunnel's token is unknown, used already or older than 30 s.\n")
        try:
            connection = await asyncio.get_running_loop().run_in_executor(self._dialers, ticket.dial)
        except (OSError, DriverError, ApiError) as error:
            logger.info("tunnel to %s: %s", ticket.label, error)
            return web.Response(status=502, text=f"Cannot connect to {ticket.label}: {error}\n")
        connection.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=connection, limit=PIECE)
        try:
            await channel.prepare(request)
            self._open.add(channel)
            await _bridge(channel, reader, writer, ticket)
        finally:
            self._open.discard(channel)
            await _close(writer)
        return channel


async def _bridge(
    channel: web.WebSocketResponse, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ticket: _Ticket
) -> None:
    began = time.monotonic()
    counts = [0, 0]
    inwards = asyncio.create_task(_inwards(channel, writer, counts))
    outwards = asyncio.create_task(_outwards(channel, reader, counts, half_close=ticket.farewell is None))
    try:
        await _both(inwards, outwards)
    finally:
        for task in (inwards, outwards):
            task.cancel()
        await asyncio.gather(inwards, outwards, return_exceptions=True)
        await _say_goodbye(channel, ticket)
        seconds = time.monotonic() - began
        logger.info("tunnel to %s: %d bytes in, %d bytes out, %.1f s", ticket.label, *counts, seconds)


async def _say_goodbye(channel: web.WebSocketResponse, ticket: _Ticket) -> None:
    reason = ticket.farewell() if ticket.farewell else ""
    if reason:
        await channel.close(code=FAREWELL, message=reason.encode()[:LONGEST_REASON])
    else:
        await channel.close()


async def _both(inwards: asyncio.Task[bool], outwards: asyncio.Task[bool]) -> None:
    """Wait until both directions have ended, or one broke (its task returned False)."""
    done, _ = await asyncio.wait({inwards, outwards}, return_when=asyncio.FIRST_COMPLETED)
    if not all(task.result() for task in done):
        return
    # The guest has ended: a client that knows nothing of half-closed streams would wait for ever.
    await asyncio.wait({inwards, outwards}, timeout=LINGER if outwards in done else None)


async def _inwards(channel: web.WebSocketResponse, writer: asyncio.StreamWriter, counts: list[int]) -> bool:
    """Client to guest, until the client ends its direction (True) or is gone (False)."""
    async for message in channel:
        if message.type is not WSMsgType.BINARY:
            logger.info("a tunnel takes binary messages only")
            return False
        if not message.data:
            return await _quietly(_end(writer))
        writer.write(message.data)
        counts[0] += len(message.data)
        if not await _quietly(writer.drain()):
            return False
    return False


async def _outwards(
    channel: web.WebSocketResponse, reader: asyncio.StreamReader, counts: list[int], *, half_close: bool
) -> bool:
    """Guest to client, until the guest ends its direction (True) or either is gone (False)."""
    while True:
        try:
            data = await reader.read(PIECE)
        except OSError:
            return False
        if not data and not half_close:
            return False
        if not await _quietly(channel.send_bytes(data)):
            return False
        if not data:
            return True
        counts[1] += len(data)


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.write_eof()


async def _quietly(step: Awaitable[None]) -> bool:
    """Whether `step` worked; a connection that is gone is no error here."""
    try:
        await step
    except (OSError, RuntimeError):
        return False
    return True


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await _quietly(writer.wait_closed())
