"""The name server in every VPC: what it knows itself it answers, the rest it asks the host's own name servers.

Who asks is known by VPC and source address, which guests cannot forge. Without an uplink nothing is asked outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, cast

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode

from agent.api.names.answer import Known, may_go_out, own_answer, parse, refusal, to_wire
from agent.core.addresses import NAME_SERVER
from agent.core.protocols import Network

log = logging.getLogger(__name__)

PORT = 53
_SO_RCVBUFFORCE = 33
WORKERS = 2
TRY_SECONDS = 2.0  # for one name server of the host
PER_GUEST, ALL_GUESTS = 32, 512  # questions that are being answered; more are not
CONNECTIONS_PER_GUEST, CONNECTIONS = 4, 128
CONNECTION_SECONDS = 30.0
MAX_QUERY = 1232  # bytes
WAITING_BYTES = 4 << 20  # of questions by UDP that were not read yet: one guest's shall not push out another's
MIN_UDP, MAX_UDP = 512, 1232  # bytes of an answer, whatever the guest offers to take


class Names(Protocol):
    def known_to(self, vpc_id: str, source: str) -> Known:
        """What the guest with that address may know. Its functions may block."""


class NameService:
    """A RouterService. `resolvers`: addresses that the host asks, in this order; none: nobody is asked."""

    name = "name server"

    def __init__(self, network: Network, names: Names, domain: str, resolvers: tuple[str, ...]) -> None:
        self._network, self._names, self._domain, self._resolvers = network, names, domain, resolvers
        self._busy: Counter[tuple[str, str]] = Counter()
        self._workers: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="names")

    async def stop(self) -> None:
        if self._workers is not None:
            await asyncio.to_thread(self._workers.shutdown)
            self._workers = None

    async def open(self, vpc_id: str) -> _Site:
        """Listen in the VPC, by UDP and TCP."""
        loop = asyncio.get_running_loop()
        site = _Site(vpc_id, self.answer)
        udp = await loop.run_in_executor(self._workers, self._network.receive, vpc_id, NAME_SERVER, PORT)
        try:
            udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, WAITING_BYTES)
            await loop.create_datagram_endpoint(lambda: site, sock=udp)
        except BaseException:
            udp.close()
            raise
        try:
            tcp = await loop.run_in_executor(self._workers, self._network.listen, vpc_id, NAME_SERVER, PORT)
            site.listener = await asyncio.start_server(site.converse, sock=tcp, backlog=32)
        except BaseException:
            site.abort()
            raise
        return site

    async def answer(self, vpc_id: str, source: str, data: bytes, *, stream: bool) -> bytes | None:
        """The answer to one message of a guest; None: there is none."""
        key = vpc_id, source
        if len(data) > MAX_QUERY or self._busy[key] >= PER_GUEST or self._busy.total() >= ALL_GUESTS:
            return None
        query = parse(data)
        if query is None:
            return None
        self._busy[key] += 1
        try:
            response = await self._own(vpc_id, source, query) or await self._ask(query, stream=stream)
            return to_wire(response, 65535 if stream else max(MIN_UDP, min(query.payload, MAX_UDP)))
        except (dns.exception.DNSException, ValueError) as error:  # of what the world outside answered
            log.debug("no answer for %s in %s: %s", source, vpc_id, error)
            return to_wire(refusal(query, dns.rcode.SERVFAIL), MIN_UDP)
        finally:
            self._busy[key] -= 1
            if not self._busy[key]:
                del self._busy[key]

    async def _own(self, vpc_id: str, source: str, query: dns.message.QueryMessage) -> dns.message.Message | None:
        def look() -> dns.message.Message | None:
            return own_answer(query, self._domain, self._names.known_to(vpc_id, source))

        return await asyncio.get_running_loop().run_in_executor(self._workers, look)

    async def _ask(self, query: dns.message.QueryMessage, *, stream: bool) -> dns.message.Message:
        """What a name server of the host says; its own failures are said on, unless another one knows more."""
        if not self._resolvers or not may_go_out(query):
            return refusal(query, dns.rcode.REFUSED)
        answer = refusal(query, dns.rcode.SERVFAIL)
        for resolver in self._resolvers:
            question = dns.message.from_wire(query.to_wire())
            question.id = secrets.randbelow(1 << 16)
            with contextlib.suppress(OSError, dns.exception.DNSException, EOFError):
                answer = await _exchange(question, resolver, stream=stream)
                answer.id = query.id
                if answer.rcode() not in (dns.rcode.SERVFAIL, dns.rcode.REFUSED):
                    break
        return answer


async def _exchange(question: dns.message.Message, resolver: str, *, stream: bool) -> dns.message.Message:
    backend = dns.asyncbackend.get_backend("asyncio")
    if stream:
        return await dns.asyncquery.tcp(question, resolver, TRY_SECONDS, backend=backend, ignore_trailing=True)
    return await dns.asyncquery.udp(
        question,
        resolver,
        TRY_SECONDS,
        backend=backend,
        ignore_trailing=True,
        ignore_unexpected=True,  # what somebody else sends neither counts as the answer nor ends the waiting for it
        ignore_errors=True,
    )


class _Site(asyncio.DatagramProtocol):
    """One VPC's sockets."""

    def __init__(self, vpc_id: str, answer: Callable[..., Awaitable[bytes | None]]) -> None:
        self._vpc_id, self._answer = vpc_id, answer
        self._transport: asyncio.DatagramTransport | None = None
        self.listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: dict[asyncio.StreamWriter, str] = {}

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        if self.listener is not None:
            self.listener.close()
        for task in list(self._tasks):
            task.cancel()
        for writer in list(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        self.abort()  # guests ask again, and the next agent answers
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ------------------------------------------------------------------------ UDP

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # it is one, by another name

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.get_running_loop().create_task(self._reply(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            response = await self._answer(self._vpc_id, addr[0], data, stream=False)
        except Exception:
            log.exception("cannot answer %s in %s", addr[0], self._vpc_id)
            return
        if response is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(response, addr)

    def error_received(self, exc: Exception) -> None:
        log.debug("a guest in %s does not take its answer: %s", self._vpc_id, exc)

    # ------------------------------------------------------------------------ TCP

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Questions one after the other, each with its length before it."""
        source = writer.get_extra_info("peername")[0]
        taken = list(self._writers.values())
        if taken.count(source) >= CONNECTIONS_PER_GUEST or len(taken) >= CONNECTIONS:
            writer.transport.abort()
            return
        self._writers[writer] = source
        try:
            async with asyncio.timeout(CONNECTION_SECONDS):
                with contextlib.suppress(asyncio.IncompleteReadError):
                    await self._converse(source, reader, writer)
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, ConnectionError):
            log.debug("a conversation with %s in %s ended", source, self._vpc_id)
        finally:
            del self._writers[writer]
            writer.transport.abort()  # what a guest does not take is not kept for it

    async def _converse(self, source: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            if length > MAX_QUERY:
                return
            response = await self._answer(self._vpc_id, source, await reader.readexactly(length), stream=True)
            if response is None:
                return
            writer.write(struct.pack("!H", len(response)) + response)
            await writer.drain()
