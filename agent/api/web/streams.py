"""What the websockets of console pages have in common: who is let in, threads of their own, and how they end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from aiohttp import WSCloseCode, web

from agent.api.web.access import Refused
from agent.api.web.pages import check_origin, refusal

WORKERS = 8
HEARTBEAT_SECONDS = 20.0  # a browser that is silent that long is gone, and its place free
LARGEST_MESSAGE = 4 << 20  # bytes
LONGEST_REASON = 123  # bytes; a websocket's close frame holds no more
CODES = {"SessionEnded": 4001, "InUse": 4002, "NotRunning": 4003, "ScreenEnded": 4004, "TakenOver": 4005}
OTHER_CODE = 4000

T = TypeVar("T")


class PageStreams(ABC):
    """The streams of one kind of page; a failure closes the websocket with one of CODES and a sentence.

    A subclass has `serve`. `name` is that of its threads: a libvirt that hangs must not hold up anything else.
    """

    def __init__(self, name: str) -> None:
        self._channels: set[web.WebSocketResponse] = set()
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix=name)

    @abstractmethod
    async def serve(self, channel: web.WebSocketResponse, request: web.Request) -> None:
        """Until the stream ends. Raises Refused with what the page shall say, unless the browser ended it."""

    async def close(self) -> None:
        """End all connections, as the server stops."""
        for channel in list(self._channels):
            await channel.close(code=WSCloseCode.GOING_AWAY, message=b"The agent stops.")
        self._workers.shutdown(wait=False, cancel_futures=True)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        channel = web.WebSocketResponse(
            protocols=("binary",),
            compress=False,
            heartbeat=HEARTBEAT_SECONDS,
            max_msg_size=LARGEST_MESSAGE,
            timeout=5,
        )
        if not channel.can_prepare(request).ok:
            return web.Response(status=400, text="A console is a websocket.\n")
        try:
            check_origin(request)
        except Refused as error:
            return refusal(error)
        await channel.prepare(request)
        self._channels.add(channel)
        try:
            await self.serve(channel, request)
        except Refused as error:
            reason = error.message.encode()[:LONGEST_REASON].decode(errors="ignore").encode()
            await channel.close(code=CODES.get(error.code, OTHER_CODE), message=reason)
        finally:
            self._channels.discard(channel)
        await channel.close()
        return channel

    async def in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, function, *arguments)
