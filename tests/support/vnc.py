"""The management terminal without a guest: a server, a screen that stands in for QEMU's, and a viewer."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp

from agent.api.edge.audit import AuditLog
from agent.api.edge.authenticate import Authenticator
from agent.api.edge.dispatch import Dispatcher
from agent.api.edge.endpoint import Endpoint
from agent.api.edge.registry import REGISTRY
from agent.api.edge.server import Doors, Server
from agent.api.stored import StoredTokens
from agent.api.web import rfb
from agent.api.web.access import PageAccess
from agent.api.web.pages import Page, Pages
from agent.api.web.vnc import VncRoutes
from agent.core.clock import ManualClock
from agent.core.errors import DriverError
from agent.core.protocols import Hypervisor
from agent.services.account import AccessKeys
from agent.services.terminal import Terminals
from agent.store.schema import Instance
from tests.support.cloud import Cloud


class Screens:
    """QEMU's side: opens RFB without a password, then returns what it gets. `failure`: it opens nothing."""

    def __init__(self) -> None:
        self.failure = ""
        self.opened: list[str] = []
        self._theirs: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def open_display(self, name: str) -> socket.socket:
        self.opened.append(name)
        if self.failure:
            raise DriverError(self.failure)
        ours, theirs = socket.socketpair()
        self._theirs.append(theirs)
        self._threads.append(threading.Thread(target=self._serve, args=(theirs,), daemon=True))
        self._threads[-1].start()
        return ours

    def _serve(self, connection: socket.socket) -> None:
        connection.sendall(b"RFB 003.008\n")
        assert connection.recv(12, socket.MSG_WAITALL) == b"RFB 003.008\n"
        connection.sendall(b"\x01\x01")
        assert connection.recv(1) == b"\x01"
        connection.sendall(bytes(4))
        while data := connection.recv(65536):
            connection.sendall(data)

    def end(self) -> None:
        """As when the guest stops."""
        for connection in self._theirs:
            connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
        for connection in self._theirs:
            connection.close()


@dataclasses.dataclass
class Terminal:
    """One instance, and the agent's doors for it."""

    cloud: Cloud
    screens: Screens
    server: Server
    access: PageAccess
    clock: ManualClock
    audit: Path
    instance_id: str

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.http_port}"

    def set(self, **values: Any) -> None:
        with self.cloud.store.write() as session:
            for name, value in values.items():
                setattr(session.get_one(Instance, self.instance_id), name, value)

    def password(self) -> str:
        return self.cloud.call("DescribeInstanceVncPasswd", {"InstanceId": self.instance_id})["VncPasswd"]

    def url(self) -> str:
        return self.cloud.call("DescribeInstanceVncUrl", {"InstanceId": self.instance_id})["VncUrl"]

    def open(self) -> str:
        """A new page's session."""
        url, _, token = self.url().partition("#")
        status, answer = asyncio.run(post(f"{self.base}/console/vnc/open", {"Token": token}))
        assert (status, url) == (200, f"{self.base}/console/vnc")
        return answer["Session"]

    def ask(self, session: str, what: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        return asyncio.run(post(f"{self.base}/console/vnc/{what}", body or {}, session))

    def events(self) -> list[tuple[str, str]]:
        lines = [json.loads(line) for line in self.audit.read_text().splitlines()]
        assert all(line["account"] == self.cloud.account_id and line["source"] == "127.0.0.1" for line in lines)
        return [(line["action"], line["code"]) for line in lines]


async def post(url: str, body: dict[str, Any], session: str = "") -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {session}"} if session else {}
    async with aiohttp.ClientSession() as client, client.post(url, json=body, headers=headers) as response:
        return response.status, await response.json()


class Visit:
    """A viewer: `async with Visit(terminal, session) as visit` has a websocket."""

    def __init__(self, terminal: Terminal, session: str, origin: str = "") -> None:
        self._url = f"{terminal.base}/console/vnc/stream"
        self._protocols = ("binary", f"ecs.session.{session}")
        self._headers = {"Origin": origin} if origin else {}
        self._client = aiohttp.ClientSession()
        self._read = b""

    async def __aenter__(self) -> Visit:
        try:
            self.channel = await self._client.ws_connect(self._url, protocols=self._protocols, headers=self._headers)
        except BaseException:
            await self._client.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        await self._client.close()

    async def read(self, count: int) -> bytes:
        while len(self._read) < count:
            message = await self.channel.receive(30)
            assert message.type is aiohttp.WSMsgType.BINARY, message
            self._read += message.data
        taken, self._read = self._read[:count], self._read[count:]
        return taken

    async def greeted(self) -> None:
        """Wait until the agent has greeted, which it does only to a page that found the place free."""
        self._read = await self.read(12) + self._read

    async def log_in(self, password: str) -> str:
        """The reason why not; empty when it worked."""
        assert await self.read(12) == b"RFB 003.008\n"
        await self.channel.send_bytes(b"RFB 003.008\n")
        assert await self.read(2) == b"\x01\x02"
        await self.channel.send_bytes(b"\x02")
        await self.channel.send_bytes(rfb.vnc_response(password, await self.read(16)))
        if not int.from_bytes(await self.read(4), "big"):
            return ""
        return (await self.read(int.from_bytes(await self.read(4), "big"))).decode()

    async def end(self) -> tuple[int, str]:
        """Code and reason with which the agent closes."""
        while (message := await self.channel.receive(30)).type is aiohttp.WSMsgType.BINARY:
            pass
        assert message.type is aiohttp.WSMsgType.CLOSE
        return message.data, message.extra


def try_password(terminal: Terminal, session: str, password: str) -> str:
    async def run() -> str:
        async with Visit(terminal, session) as visit:
            return await visit.log_in(password)

    return asyncio.run(run())


def end_of(terminal: Terminal, session: str) -> tuple[int, str]:
    """How a connection ends that does not come to the password."""

    async def run() -> tuple[int, str]:
        async with Visit(terminal, session) as visit:
            return await visit.end()

    return asyncio.run(run())


@contextmanager
def serve(cloud: Cloud, loop: asyncio.AbstractEventLoop, directory: Path) -> Iterator[Terminal]:
    """The terminal of a new running instance of `cloud`."""
    clock, screens = cloud.clock, Screens()
    holder: list[Server] = []
    access = PageAccess(cloud.services.sealer, clock, 120, "", lambda: holder[0].local_url())
    cloud.services = dataclasses.replace(cloud.services, pages=access)
    dispatcher = Dispatcher(REGISTRY, cloud.store, cloud.services, StoredTokens())
    audit = AuditLog(directory / "log")
    endpoint = Endpoint(dispatcher, Authenticator(AccessKeys(cloud.store, cloud.services.sealer), ""), audit)
    terminals = Terminals(cloud.store, cloud.services.config, cloud.services.sealer, cast(Hypervisor, screens))
    vnc = VncRoutes(access, terminals, endpoint, clock)
    pages = Pages(access, [Page("vnc")], {})
    server = Server(endpoint, Doors(http="127.0.0.1:0"), [*pages.routes, *vnc.routes], [vnc.close])
    holder.append(server)
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
    vpc_id, vswitch_id = cloud.default_vswitch()
    group = cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"]
    yield Terminal(cloud, screens, server, access, clock, audit.path, cloud.add_instance(vswitch_id, [group]))
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
    screens.close()
