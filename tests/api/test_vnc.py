"""The management terminal without a guest: who gets to the screen, what others are told, and the password."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from agent.api.edge.audit import AuditLog
from agent.api.edge.authenticate import Authenticator
from agent.api.edge.dispatch import Dispatcher
from agent.api.edge.endpoint import Endpoint
from agent.api.edge.registry import REGISTRY
from agent.api.edge.server import Doors, Server
from agent.api.stored import StoredTokens
from agent.api.web import rfb
from agent.api.web.access import LONGEST_SECONDS, PageAccess
from agent.api.web.pages import Page, Pages
from agent.api.web.vnc import CODES, OTHER_CODE, VncRoutes
from agent.core.clock import ManualClock
from agent.core.errors import ApiError, DriverError
from agent.core.identity import Identity
from agent.core.protocols import Hypervisor
from agent.services.account import AccessKeys
from agent.services.terminal import Terminals
from agent.store.schema import Instance
from tests.support.cloud import Cloud

WRONG = "wrong1"


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
        status, answer = asyncio.run(_post(f"{self.base}/console/vnc/open", {"Token": token}))
        assert (status, url) == (200, f"{self.base}/console/vnc")
        return answer["Session"]

    def ask(self, session: str, what: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        return asyncio.run(_post(f"{self.base}/console/vnc/{what}", body or {}, session))

    def events(self) -> list[tuple[str, str]]:
        lines = [json.loads(line) for line in self.audit.read_text().splitlines()]
        assert all(line["account"] == self.cloud.account_id and line["source"] == "127.0.0.1" for line in lines)
        return [(line["action"], line["code"]) for line in lines]


async def _post(url: str, body: dict[str, Any], session: str = "") -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {session}"} if session else {}
    async with aiohttp.ClientSession() as client, client.post(url, json=body, headers=headers) as response:
        return response.status, await response.json()


@pytest.fixture
def terminal(cloud: Cloud, loop: asyncio.AbstractEventLoop, tmp_path: Path) -> Iterator[Terminal]:
    clock, screens = cloud.clock, Screens()
    holder: list[Server] = []
    access = PageAccess(cloud.services.sealer, clock, 120, "", lambda: holder[0].local_url())
    cloud.services = dataclasses.replace(cloud.services, pages=access)
    dispatcher = Dispatcher(REGISTRY, cloud.store, cloud.services, StoredTokens())
    audit = AuditLog(tmp_path / "log")
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


# ---------------------------------------------------------------------------------- password


def test_the_generated_password_is_told_once(terminal: Terminal) -> None:
    password = terminal.password()
    assert len(password) == 6
    assert password.isascii()
    assert password.isalnum()
    with pytest.raises(ApiError, match="ModifyInstanceVncPasswd") as refused:
        terminal.password()
    assert (refused.value.code, refused.value.status) == ("InvalidOperation.VncPasswdShown", 403)


def test_the_first_page_tells_the_password_once(terminal: Terminal) -> None:
    session = terminal.open()
    status, answer = terminal.ask(session, "first-password")
    assert status == 200
    assert not try_password(terminal, session, answer["VncPasswd"])
    assert terminal.ask(terminal.open(), "first-password") == (200, {"VncPasswd": ""})
    with pytest.raises(ApiError, match="ModifyInstanceVncPasswd"):
        terminal.password()


def test_the_page_does_not_tell_what_a_call_has_told(terminal: Terminal) -> None:
    terminal.password()
    assert terminal.ask(terminal.open(), "first-password") == (200, {"VncPasswd": ""})


def test_a_change_waits_for_the_console_start(terminal: Terminal) -> None:
    before, session = terminal.password(), terminal.open()
    assert terminal.ask(session, "state")[1]["PasswordPending"] is False
    assert terminal.ask(session, "password", {"VncPassword": "New123"}) == (200, {})
    assert terminal.ask(session, "state")[1]["PasswordPending"] is True
    assert not try_password(terminal, session, before)
    assert try_password(terminal, session, "New123") == "Wrong password."
    with terminal.cloud.store.read() as stored:
        wanted = stored.get_one(Instance, terminal.instance_id).vnc_password
    terminal.set(vnc_password_active=wanted)
    assert not try_password(terminal, session, "New123")
    assert try_password(terminal, session, before) == "Wrong password."


def test_a_password_set_before_the_first_is_seen_leaves_the_first_in_effect(terminal: Terminal) -> None:
    terminal.cloud.call("ModifyInstanceVncPasswd", {"InstanceId": terminal.instance_id, "VncPassword": "New123"})
    assert not try_password(terminal, terminal.open(), terminal.password())


@pytest.mark.parametrize("password", ["", "12345", "1234567", "12345!", "12345é", "١٢٣٤٥٦", "12345\n"])
def test_passwords_of_other_shapes_are_refused(terminal: Terminal, password: str) -> None:
    with pytest.raises(ApiError) as refused:
        terminal.cloud.call("ModifyInstanceVncPasswd", {"InstanceId": terminal.instance_id, "VncPassword": password})
    assert refused.value.code in ("InvalidVncPassword.Malformed", "MissingParameter")
    assert not password or password not in refused.value.message
    status, answer = terminal.ask(terminal.open(), "password", {"VncPassword": password})
    assert status == 400
    assert answer["Code"] == refused.value.code


@pytest.mark.parametrize("action", ["DescribeInstanceVncUrl", "DescribeInstanceVncPasswd", "ModifyInstanceVncPasswd"])
def test_other_accounts_see_no_terminal(terminal: Terminal, action: str) -> None:
    params = {"InstanceId": terminal.instance_id, "VncPassword": "New123"}
    with pytest.raises(ApiError) as refused:
        terminal.cloud.call(action, params, account_id=terminal.cloud.add_account())
    assert refused.value.code == "InvalidInstanceId.NotFound"


def test_no_secret_is_in_the_audit_log(terminal: Terminal) -> None:
    session = terminal.open()
    password = terminal.ask(session, "first-password")[1]["VncPasswd"]
    terminal.ask(session, "password", {"VncPassword": "New123"})
    assert not try_password(terminal, session, password)
    text = terminal.audit.read_text()
    assert password not in text
    assert "New123" not in text
    assert session not in text


# ---------------------------------------------------------------------------------- the screen


def test_bytes_pass_both_ways(terminal: Terminal) -> None:
    password, session = terminal.password(), terminal.open()

    async def run() -> None:
        async with Visit(terminal, session) as visit:
            assert await visit.log_in(password) == ""
            data = bytes(range(256)) * 8000
            await visit.channel.send_bytes(data)
            assert await visit.read(len(data)) == data

    asyncio.run(run())
    assert terminal.screens.opened == [f"ecs-{terminal.instance_id}"]
    assert terminal.events() == [("ConnectVnc", ""), ("DisconnectVnc", "")]


def test_guesses_are_slowed_over_all_connections_and_logged(terminal: Terminal) -> None:
    password, sessions = terminal.password(), [terminal.open(), terminal.open()]
    assert try_password(terminal, sessions[0], WRONG) == "Wrong password."
    assert try_password(terminal, sessions[1], WRONG) == "Wrong password."
    assert try_password(terminal, sessions[0], WRONG) == "Wrong password. Try again in 1 s."
    for session in (*sessions, terminal.open()):
        assert try_password(terminal, session, password).startswith("Too many wrong passwords.")
    assert terminal.screens.opened == []
    assert terminal.events() == [
        *[("ConnectVnc", "WrongPassword")] * 3,
        *[("ConnectVnc", "TooManyWrongPasswords")] * 3,
    ]


def test_guesses_side_by_side_are_judged_one_by_one(terminal: Terminal) -> None:
    terminal.password()
    session = terminal.open()

    async def run() -> list[str]:
        async def guess() -> str:
            async with Visit(terminal, session) as visit:
                return await visit.log_in(WRONG)

        return await asyncio.gather(*(guess() for _ in range(20)))

    reasons = asyncio.run(run())
    assert sum(reason.startswith("Wrong password.") for reason in reasons) == 3
    assert sum(reason.startswith("Too many") for reason in reasons) == 17


def test_a_second_viewer_is_told_who_is_there(terminal: Terminal) -> None:
    password, first, second = terminal.password(), terminal.open(), terminal.open()

    async def run() -> tuple[tuple[int, str], dict[str, Any], dict[str, Any]]:
        async with Visit(terminal, first) as one:
            assert await one.log_in(password) == ""
            async with Visit(terminal, second) as other:
                told = await other.end()
            states = [(await _post(f"{terminal.base}/console/vnc/state", {}, s))[1] for s in (first, second)]
            return told, states[0], states[1]

    (code, reason), own, others = asyncio.run(run())
    told = "The terminal is in use by the account's owner from 127.0.0.1 since 2026-11-23T07:35:12Z."
    assert (code, reason) == (CODES["InUse"], told)
    assert own["Viewer"] is None
    assert others["Viewer"]["Since"] == "2026-11-23T07:35:12Z"
    assert not try_password(terminal, second, password)  # free again


def test_who_waits_at_the_password_keeps_nobody_out_and_is_refused_after_it(terminal: Terminal) -> None:
    password, first, second = terminal.password(), terminal.open(), terminal.open()

    async def run() -> str:
        async with Visit(terminal, first) as waiting, Visit(terminal, second) as quick:
            assert await quick.log_in(password) == ""
            return await waiting.log_in(password)

    assert asyncio.run(run()).startswith("The terminal is in use by the account's owner")


def test_a_page_takes_its_own_place_again(terminal: Terminal) -> None:
    password, session = terminal.password(), terminal.open()

    async def run() -> None:
        async with Visit(terminal, session) as lost, Visit(terminal, session) as again:
            assert await lost.log_in(password) == ""
            assert await again.log_in(password) == ""

    asyncio.run(run())


def test_a_guest_that_stops_ends_the_connection(terminal: Terminal) -> None:
    password, session = terminal.password(), terminal.open()

    async def run() -> tuple[int, str]:
        async with Visit(terminal, session) as visit:
            assert await visit.log_in(password) == ""
            terminal.screens.end()
            return await visit.end()

    code, reason = asyncio.run(run())
    assert code == CODES["ScreenEnded"]
    assert "stopped" in reason


@pytest.mark.parametrize("status", ["Stopped", "Starting", "Stopping", "Pending"])
def test_without_a_running_instance_there_is_no_screen(terminal: Terminal, status: str) -> None:
    session = terminal.open()
    terminal.set(status=status)
    code, reason = end_of(terminal, session)
    assert code == CODES["NotRunning"]
    assert f"is {status}" in reason
    assert terminal.ask(session, "state")[1]["Status"] == status


def test_a_released_instance_has_no_terminal(terminal: Terminal) -> None:
    session = terminal.open()
    terminal.set(releasing=True)
    assert "does not exist" in end_of(terminal, session)[1]
    assert terminal.ask(session, "state")[0] == 404


def test_a_screen_that_cannot_be_opened_is_told_and_leaves_the_place_free(terminal: Terminal) -> None:
    password, session = terminal.password(), terminal.open()
    terminal.screens.failure = "cannot reach libvirt"
    assert try_password(terminal, session, password) == "The screen cannot be opened: cannot reach libvirt."
    terminal.screens.failure = ""
    assert not try_password(terminal, terminal.open(), password)


# ---------------------------------------------------------------------------------- sessions


@pytest.mark.parametrize("session", ["", "forged"])
def test_without_a_session_nothing_is_told(terminal: Terminal, session: str) -> None:
    for what in ("state", "first-password", "password"):
        assert terminal.ask(session, what)[0] == 401
    assert end_of(terminal, session)[0] == CODES["SessionEnded"]


def test_who_may_not_open_the_page_any_more_is_out(terminal: Terminal) -> None:
    user = Identity(account_id=terminal.cloud.account_id, principal_type="user", principal_name="ann")
    token = terminal.access.url("vnc", terminal.instance_id, user, "").partition("#")[2]
    session = terminal.access.seal(terminal.access.open("vnc", token))
    assert terminal.ask(session, "state")[1]["Code"] == "Forbidden.RAM"
    code, reason = end_of(terminal, session)
    assert code == OTHER_CODE
    assert "not authorized" in reason


def test_a_session_ends_for_the_screen_too(terminal: Terminal) -> None:
    session = terminal.open()
    terminal.clock.advance(LONGEST_SECONDS + 1)
    assert end_of(terminal, session)[0] == CODES["SessionEnded"]


def test_a_page_that_is_open_too_long_is_closed(terminal: Terminal) -> None:
    password, session = terminal.password(), terminal.open()
    for _ in range(LONGEST_SECONDS // 1600):
        terminal.clock.advance(1600)
        session = terminal.ask(session, "state")[1]["Session"]

    async def run() -> tuple[int, str]:
        async with Visit(terminal, session) as visit:
            assert await visit.log_in(password) == ""
            return await visit.end()

    code, reason = asyncio.run(run())
    assert code == CODES["SessionEnded"]
    assert "as long as it may" in reason


def test_a_page_of_another_site_gets_nowhere(terminal: Terminal) -> None:
    session = terminal.open()

    async def run() -> int:
        try:
            async with Visit(terminal, session, origin="https://evil.example"):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status

    assert asyncio.run(run()) == 403


def test_a_plain_request_is_no_screen(terminal: Terminal) -> None:
    async def run() -> int:
        url = f"{terminal.base}/console/vnc/stream"
        async with aiohttp.ClientSession() as client, client.get(url) as response:
            return response.status

    assert asyncio.run(run()) == 400


def test_the_agents_end_closes_the_screen(terminal: Terminal, loop: asyncio.AbstractEventLoop) -> None:
    password, session = terminal.password(), terminal.open()

    async def run(stop: Callable[[], Any]) -> tuple[int, str]:
        async with Visit(terminal, session) as visit:
            assert await visit.log_in(password) == ""
            stopping = stop()
            told = await visit.end()
            await asyncio.wrap_future(stopping)
            return told

    stop = lambda: asyncio.run_coroutine_threadsafe(terminal.server.stop(), loop)  # noqa: E731
    assert asyncio.run(run(stop)) == (1001, "The agent stops.")
