"""The serial console's page without a guest: who gets the line, what others are told, and how it ends (SPEC L7)."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.api.edge.audit import AuditLog
from agent.api.edge.authenticate import Authenticator
from agent.api.edge.dispatch import Dispatcher
from agent.api.edge.endpoint import Endpoint
from agent.api.edge.registry import HOST, REGISTRY
from agent.api.edge.server import Doors, Server
from agent.api.stored import StoredTokens
from agent.api.web.access import PageAccess
from agent.api.web.pages import Asset, Page, Pages
from agent.api.web.serial import SerialRoutes
from agent.api.web.streams import CODES
from agent.services.account import AccessKeys
from agent.services.serial import SerialLines
from agent.services.terminal import Terminals
from agent.store.schema import Instance
from tests.support.cloud import Cloud
from tests.support.vnc import post


@dataclasses.dataclass
class Console:
    cloud: Cloud
    server: Server
    instance_id: str
    audit: Path

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.http_port}/console"

    def open(self) -> str:
        """A new page's session."""
        told = self.cloud.call("DescribeInstanceConsoleUrl", {"InstanceId": self.instance_id}, version=HOST)
        token = told["ConsoleUrl"].partition("#")[2]
        status, answer = asyncio.run(post(f"{self.base}/serial/open", {"Token": token}))
        assert status == 200
        return answer["Session"]

    def state(self, session: str) -> dict[str, Any]:
        status, answer = asyncio.run(post(f"{self.base}/serial/state", {}, session))
        assert status == 200, answer
        return answer

    def set_status(self, status: str) -> None:
        with self.cloud.store.write() as session:
            session.get_one(Instance, self.instance_id).status = status

    @asynccontextmanager
    async def attached(self, session: str, query: str = "") -> Any:
        protocols = ("binary", f"ecs.session.{session}")
        url = f"{self.base}/serial/stream{query}"
        async with aiohttp.ClientSession() as client, client.ws_connect(url, protocols=protocols) as channel:
            yield channel


@pytest.fixture
def console(cloud: Cloud, loop: asyncio.AbstractEventLoop, tmp_path: Path) -> Iterator[Console]:
    holder: list[Server] = []
    access = PageAccess(cloud.services.sealer, cloud.clock, 120, "", lambda: holder[0].local_url())
    cloud.services = services = dataclasses.replace(cloud.services, pages=access)
    dispatcher = Dispatcher(REGISTRY, cloud.store, services, StoredTokens())
    audit = AuditLog(tmp_path / "log")
    endpoint = Endpoint(dispatcher, Authenticator(AccessKeys(cloud.store, services.sealer), ""), audit)
    terminals = Terminals(cloud.store, services.config, services.sealer, services.hypervisor)
    lines = SerialLines(services.config, services.hypervisor, services.consoles)
    serial = SerialRoutes(access, terminals, lines, endpoint, tmp_path / "none")
    pages = Pages(access, [Page("serial", assets=("xterm",))], {"xterm": Asset(tmp_path / "none", "node-xterm")})
    holder.append(Server(endpoint, Doors(http="127.0.0.1:0"), [*pages.routes, *serial.routes], [serial.close]))
    asyncio.run_coroutine_threadsafe(holder[0].start(), loop).result(30)
    instance_id = cloud.add_instance(cloud.default_vswitch()[1], [])
    made = Console(cloud, holder[0], instance_id, audit.path)
    made.set_status("Running")
    yield made
    asyncio.run_coroutine_threadsafe(holder[0].stop(), loop).result(30)


async def end_of(channel: aiohttp.ClientWebSocketResponse) -> tuple[int, str]:
    while (message := await channel.receive(30)).type is aiohttp.WSMsgType.BINARY:
        pass
    assert message.type is aiohttp.WSMsgType.CLOSE
    return message.data, message.extra


def test_earlier_output_then_both_ways(console: Console) -> None:
    session = console.open()
    assert console.state(session)["Holder"] is None

    async def talk() -> dict[str, Any]:
        async with console.attached(session) as channel:
            assert await channel.receive_bytes() == b"hello\r\n"  # without what a terminal would answer to
            line = console.cloud.hypervisor.consoles[0].guest
            await channel.send_bytes(b"ls\r")
            assert await asyncio.to_thread(line.recv, 100) == b"ls\r"
            line.sendall(b"file\r\n")
            assert await channel.receive_bytes() == b"file\r\n"
            return await asyncio.to_thread(console.state, session)

    found = asyncio.run(talk())
    assert found["Holder"]["Since"] == "2026-11-23T07:35:12Z"
    assert found["Holder"]["User"].endswith(", in a browser at 127.0.0.1")
    actions = [json.loads(line)["action"] for line in console.audit.read_text().splitlines()]
    assert actions == ["ConnectConsole", "DisconnectConsole"]


def test_a_second_one_is_told_and_may_take_over(console: Console) -> None:
    first, second = console.open(), console.open()

    async def talk() -> None:
        async with console.attached(first) as holder:
            await holder.receive_bytes()
            async with console.attached(second) as refused:
                code, reason = await end_of(refused)
                assert code == CODES["InUse"]
                assert "is in use by" in reason
            async with console.attached(second, "?force=true") as taker:
                await taker.receive_bytes()
                code, reason = await end_of(holder)
                assert code == CODES["TakenOver"]
                assert "took the console over" in reason

    asyncio.run(talk())


def test_how_it_ends(console: Console) -> None:
    session = console.open()

    async def stopped_guest() -> tuple[int, str]:
        async with console.attached(session) as channel:
            await channel.receive_bytes()
            console.cloud.hypervisor.consoles[0].hang_up("the instance has stopped")
            return await end_of(channel)

    async def end() -> tuple[int, str]:
        async with console.attached(session) as channel:
            return await end_of(channel)

    assert asyncio.run(stopped_guest()) == (CODES["ScreenEnded"], "the instance has stopped.")
    console.set_status("Stopped")
    code, reason = asyncio.run(end())
    assert (code, "The instance is Stopped" in reason) == (CODES["NotRunning"], True)
    session = "forged"
    assert asyncio.run(end())[0] == CODES["SessionEnded"]


def test_a_missing_package_is_named(console: Console) -> None:
    async def get() -> tuple[int, str]:
        async with aiohttp.ClientSession() as client, client.get(f"{console.base}/serial") as response:
            return response.status, await response.text()

    status, text = asyncio.run(get())
    assert status == 503
    assert "node-xterm" in text
