"""The name server and guests that mean it no good."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Sequence
from typing import Any, cast

import dns.message
import dns.rcode
import pytest

from agent.api.names import service
from agent.api.names.service import MAX_QUERY, NameService, _Site


class Nobody:
    def known_to(self, vpc_id: str, source: str) -> Nobody:
        return self

    def addresses(self, label: str) -> Sequence[str]:
        return ()

    def host_name(self, address: str) -> str | None:
        return None

    def is_inside(self, address: str) -> bool:
        return False


def asked(data: bytes) -> bytes | None:
    """What a host says whose name server would not answer at all."""
    names = NameService(cast(Any, None), Nobody(), "ecs.internal", ("192.0.2.1",))
    return asyncio.run(names.answer("vpc-1", "10.0.0.1", data, stream=True))


@pytest.mark.parametrize(("kind", "of"), [("AXFR", "IN"), ("IXFR", "IN"), ("MAILB", "IN"), ("TXT", "CH")])
def test_whole_zones_and_other_worlds_are_not_asked_for(kind: str, of: str) -> None:
    answer = asked(dns.message.make_query("example.com.", kind, of).to_wire())
    assert answer is not None
    assert dns.message.from_wire(answer).rcode() == dns.rcode.REFUSED


def test_what_takes_long_to_read_is_not_read() -> None:
    query = dns.message.make_query("web.ecs.internal.", "A").to_wire()
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + b"\x0a\0\0\x01"
    many = query[:6] + struct.pack("!H", 50) + query[8:] + record * 50
    assert asked(many) is None
    assert asked(query + b"\0" * MAX_QUERY) is None
    assert asked(query) is not None


def test_who_does_not_take_answers_loses_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "CONNECTION_SECONDS", 0.2)

    async def long_answer(*of: object, stream: bool) -> bytes:
        return b"x" * 65000

    async def work() -> None:
        site = _Site("vpc-1", long_answer)
        ended = asyncio.Event()

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await site.converse(reader, writer)
            ended.set()

        server = await asyncio.start_server(converse, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port, limit=1)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(200):
            writer.write(struct.pack("!H", 20) + b"x" * 20)
        async with asyncio.timeout(30):
            await ended.wait()
        await asyncio.sleep(0)  # closing is a call that the loop makes
        assert len(os.listdir("/proc/self/fd")) < before
        writer.transport.abort()
        server.close()

    asyncio.run(work())
