"""Between a browser's websocket and a stream socket: bytes as they come, in binary messages."""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import WSMsgType, web

PIECE = 64 << 10  # bytes read at once


class ChannelStream:
    """A websocket's binary messages as a stream of bytes."""

    def __init__(self, channel: web.WebSocketResponse) -> None:
        self._channel = channel
        self._waiting = bytearray()

    async def readexactly(self, count: int) -> bytes:
        """Raises EOFError when the browser is gone or sends what is no binary message."""
        while len(self._waiting) < count:
            self._waiting += await self._next()
        taken = bytes(self._waiting[:count])
        del self._waiting[:count]
        return taken

    async def send(self, data: bytes) -> None:
        await self._channel.send_bytes(data)

    async def read(self) -> bytes:
        """What has come, at least a byte; raises EOFError as `readexactly`."""
        data = bytes(self._waiting) or await self._next()
        self._waiting.clear()
        return data

    async def _next(self) -> bytes:
        message = await self._channel.receive()
        if message.type is not WSMsgType.BINARY:
            raise EOFError
        return bytes(message.data)


class SocketStream:
    """A connection's reader and writer as one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def readexactly(self, count: int) -> bytes:
        return await self._reader.readexactly(count)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def read(self) -> bytes:
        """What has come, at least a byte; raises EOFError at the end."""
        data = await self._reader.read(PIECE)
        if not data:
            raise EOFError
        return data

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def relay(browser: ChannelStream, console: SocketStream) -> bool:
    """Pass on bytes both ways until a side ends: True when it was the console."""
    inwards = asyncio.create_task(_pump(browser, console))
    outwards = asyncio.create_task(_pump(console, browser))
    try:
        done, _ = await asyncio.wait({inwards, outwards}, return_when=asyncio.FIRST_COMPLETED)
        return inwards not in done
    finally:
        for task in (inwards, outwards):
            task.cancel()
        await asyncio.gather(inwards, outwards, return_exceptions=True)


async def _pump(source: ChannelStream | SocketStream, sink: ChannelStream | SocketStream) -> None:
    # An end or a broken connection: `relay` looks only which side it was.
    with contextlib.suppress(EOFError, OSError, RuntimeError):
        while True:
            await sink.send(await source.read())
