"""How much of the agent guests may use by asking: few connections, short ones, and not too many a second."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

_MANY_SOURCES = 1024


@dataclass(frozen=True)
class Limits:
    """`open` and `open_each`: connections of all guests of the host, and of one. `burst` connections of one guest are
    answered at once, more at `per_second`."""

    open: int = 256
    open_each: int = 8
    burst: int = 100
    per_second: float = 20.0
    request_bytes: int = 16 << 10  # all a guest may send on a connection
    connection_seconds: float = 20.0  # from its acceptance to its end, whatever happens on it


@dataclass
class _Source:
    open: int = 0
    paid_until: float = 0.0  # when all of its connections until now would have been at an even rate


class Sources:
    """Who has how many connections; keys are (VPC id, address). Times are the loop's, in seconds."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._sources: dict[tuple[str, str], _Source] = {}
        self._open = 0

    def opened(self, key: tuple[str, str], now: float) -> float | None:
        """Seconds that the new connection has to wait for its turn; None: it is one too many, and not counted."""
        source, limits = self._sources.get(key), self.limits
        if source is None:
            self._forget_idle(now)
            source = self._sources[key] = _Source()
        if self._open >= limits.open or source.open >= limits.open_each:
            return None
        self._open += 1
        source.open += 1
        wait = max(0.0, source.paid_until - limits.burst / limits.per_second - now)
        source.paid_until = max(source.paid_until, now) + 1 / limits.per_second
        return wait

    def closed(self, key: tuple[str, str]) -> None:
        self._open -= 1
        self._sources[key].open -= 1

    def _forget_idle(self, now: float) -> None:
        if len(self._sources) >= _MANY_SOURCES:
            self._sources = {k: s for k, s in self._sources.items() if s.open or s.paid_until > now}


class Guard(asyncio.Protocol):
    """Stands between a connection and the protocol `inner` that serves it, which knows nothing of it."""

    def __init__(self, inner: asyncio.Protocol, vpc_id: str, sources: Sources, open_guards: set[Guard]) -> None:
        self._inner, self._vpc_id, self._sources, self._guards = inner, vpc_id, sources, open_guards
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._key: tuple[str, str] | None = None  # of a connection that is counted
        self._timers: list[asyncio.TimerHandle] = []
        self._serving = False
        self._received = 0
        self._held = b""  # what came before it was its turn

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        key = (self._vpc_id, peer[0] if peer else "")
        wait = self._sources.opened(key, self._loop.time())
        if wait is None:
            transport.abort()
            return
        self._key = key
        self._guards.add(self)
        self._timers.append(self._loop.call_later(self._sources.limits.connection_seconds, transport.abort))
        if wait:
            self._timers.append(self._loop.call_later(wait, self._serve))
        else:
            self._serve()

    def _serve(self) -> None:
        assert self._transport is not None
        self._serving = True
        self._inner.connection_made(self._transport)
        held, self._held = self._held, b""
        if held:
            self._inner.data_received(held)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > self._sources.limits.request_bytes:
            self.abort()
        elif self._serving:
            self._inner.data_received(data)
        else:
            self._held += data

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._serving else None

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in self._timers:
            timer.cancel()
        if self._key is not None:
            self._sources.closed(self._key)
        self._guards.discard(self)
        if self._serving:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
