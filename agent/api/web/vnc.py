"""The management terminal's requests: `GET /console/vnc/stream` is the screen, the others serve its page.

The screen is RFB over a websocket. Towards the browser this is a VNC server that asks for the instance's VNC
password, towards QEMU a client of a socket that libvirt opens; nothing of it passes the guest's network. A failure
before or after the RFB connection closes the websocket with one of CODES and a sentence.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from aiohttp import web

from agent.api.edge import listen
from agent.api.edge.endpoint import Endpoint
from agent.api.edge.errors import as_api_error
from agent.api.edge.registry import ECS
from agent.api.edge.request import Peer
from agent.api.web import rfb
from agent.api.web.access import PageAccess, PageSession, Refused
from agent.api.web.events import ConsoleEvents
from agent.api.web.pages import answer, body_of, guarded
from agent.api.web.relay import PIECE, ChannelStream, SocketStream, relay
from agent.api.web.streams import PageStreams
from agent.api.web.throttle import Throttle
from agent.api.web.viewers import Viewer, Viewers
from agent.core import states
from agent.core.clock import Clock, iso_seconds
from agent.core.errors import ApiError, DriverError
from agent.services.terminal import Terminal, Terminals

PAGE = "vnc"
LOGIN_SECONDS = 120.0  # for the password to be typed, in a viewer that connects first


@dataclass
class _Visit:
    """One websocket on its way to the screen. `screen`: once the password was right."""

    session: PageSession
    peer: Peer
    viewer: Viewer
    screen: SocketStream | None = None


class VncRoutes(PageStreams):
    """Add `routes` to the server, and `close` to its shutdown."""

    def __init__(self, access: PageAccess, terminals: Terminals, endpoint: Endpoint, clock: Clock) -> None:
        self._access, self._terminals, self._endpoint, self._clock = access, terminals, endpoint, clock
        self._events = ConsoleEvents(endpoint.audit)
        self._viewers, self._throttle = Viewers(), Throttle()
        super().__init__("vnc")

    @property
    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/console/vnc/stream", self.stream),
            web.post("/console/vnc/state", self.state),
            web.post("/console/vnc/first-password", self.first_password),
            web.post("/console/vnc/password", self.change_password),
        ]

    # ------------------------------------------------------------------------------ what the page asks for

    def _look(self, session: PageSession) -> Terminal:
        """Raises an ApiError when the instance is gone, or the page's opener may not open it any more."""
        found = self._terminals.look(session.identity.account_id, session.instance_id)
        instance = {"InstanceId": session.instance_id}
        self._endpoint.permit(session.identity, "DescribeInstanceVncUrl", ECS, instance)
        return found

    @guarded
    async def state(self, request: web.Request) -> web.StreamResponse:
        """Name and status, who else is connected, and the session anew."""
        session = self._access.session_of(PAGE, request)
        found = await self.in_thread(self._look, session)
        viewer = self._viewers.other(session.instance_id, session.id)
        return answer(
            {
                "Session": self._access.seal(session),
                "InstanceId": found.instance_id,
                "InstanceName": found.name,
                "Status": found.status,
                "PasswordPending": found.password_pending,
                "Viewer": viewer
                and {
                    "Principal": viewer.principal,
                    "Source": viewer.source,
                    "Since": iso_seconds(viewer.since),
                },
            }
        )

    @guarded
    async def first_password(self, request: web.Request) -> web.StreamResponse:
        """The generated password, to the first page that is opened, unless a call told it before."""
        session = self._access.session_of(PAGE, request)
        account_id = session.identity.account_id
        password = await self.in_thread(self._terminals.first_password, account_id, session.instance_id)
        if password:
            self._events.record("ShowVncPasswd", session, listen.peer_of(request.transport))
        return answer({"VncPasswd": password})

    @guarded
    async def change_password(self, request: web.Request) -> web.StreamResponse:
        """The API's own action, so that permission, checks and audit are the same."""
        session, body = self._access.session_of(PAGE, request), await body_of(request)
        params = {"InstanceId": session.instance_id, "VncPassword": str(body.get("VncPassword", ""))}
        peer = listen.peer_of(request.transport)
        call = self._endpoint.call
        await self.in_thread(lambda: call(session.identity, "ModifyInstanceVncPasswd", ECS, params, peer))
        return answer({})

    # ------------------------------------------------------------------------------ the screen

    async def serve(self, channel: web.WebSocketResponse, request: web.Request) -> None:
        """Raises Refused with what the page shall say at the end, unless RFB itself or the browser ended it."""
        session = self._access.session_of(PAGE, request)
        peer = listen.peer_of(request.transport)
        visit = _Visit(session, peer, Viewer(session.id, session.identity, str(peer), self._clock.now()))
        browser = ChannelStream(channel)
        try:
            await self._check_free(session)
            if await self._admit(browser, visit):
                await self._watch(browser, visit)
        except (EOFError, ConnectionError):
            return  # the browser is gone
        finally:
            self._viewers.release(session.instance_id, visit.viewer)
            if visit.screen is not None:
                await visit.screen.close()

    async def _check_free(self, session: PageSession) -> None:
        """Before the password is asked for. Raises Refused."""
        try:
            found = await self.in_thread(self._look, session)
        except Exception as error:
            known = as_api_error(error, "console")
            raise Refused(known.status, known.code, known.message) from None
        if found.status != states.RUNNING:
            raise Refused(409, "NotRunning", f"The instance is {found.status}; its screen is there when it is Running.")
        viewer = self._viewers.other(session.instance_id, session.id)
        if viewer is not None:
            raise Refused(409, "InUse", f"The terminal is {viewer}.")

    async def _admit(self, browser: ChannelStream, visit: _Visit) -> bool:
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                return await rfb.admit(browser, lambda challenge, response: self._judge(visit, challenge, response))
        except TimeoutError:
            raise Refused(408, "NoPassword", f"No password was given for {LOGIN_SECONDS:.0f} s.") from None
        except rfb.ProtocolError as error:
            raise Refused(400, "NotRfb", f"{error}.") from None

    async def _judge(self, visit: _Visit, challenge: bytes, response: bytes) -> str:
        """Let in who knows the password and finds the place free; a reason for others."""
        session, instance_id = visit.session, visit.session.instance_id
        try:
            password = await self.in_thread(self._terminals.password, session.identity.account_id, instance_id)
        except ApiError as error:
            return error.message
        # No await from here to the verdict: tries on many connections at once must not be judged side by side.
        reason = self._judge_password(visit, password, challenge, response)
        if reason:
            return reason
        other = self._viewers.claim(instance_id, visit.viewer)
        if other is not None:
            return f"The terminal is {other}."
        try:
            visit.screen = await self._open_screen(instance_id)
        except (DriverError, rfb.ProtocolError, OSError, EOFError) as error:
            self._viewers.release(instance_id, visit.viewer)
            return f"The screen cannot be opened: {error}."
        return ""

    def _judge_password(self, visit: _Visit, password: str, challenge: bytes, response: bytes) -> str:
        instance_id = visit.session.instance_id
        wait = self._throttle.wait(instance_id)
        if wait:
            self._events.record("ConnectVnc", visit.session, visit.peer, "TooManyWrongPasswords")
            return f"Too many wrong passwords. Try again in {wait} s."
        if rfb.is_response(password, challenge, response):
            self._throttle.succeed(instance_id)
            return ""
        self._throttle.fail(instance_id)
        self._events.record("ConnectVnc", visit.session, visit.peer, "WrongPassword")
        wait = self._throttle.wait(instance_id)
        return f"Wrong password. Try again in {wait} s." if wait else "Wrong password."

    async def _open_screen(self, instance_id: str) -> SocketStream:
        connection = await self.in_thread(self._terminals.open_screen, instance_id)
        connection.setblocking(False)
        screen = SocketStream(*await asyncio.open_connection(sock=connection, limit=PIECE))
        try:
            await rfb.enter(screen)
        except BaseException:
            await screen.close()
            raise
        return screen

    async def _watch(self, browser: ChannelStream, visit: _Visit) -> None:
        """The connection itself. Raises Refused when it was not the browser that ended it."""
        assert visit.screen is not None
        self._events.record("ConnectVnc", visit.session, visit.peer)
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._access.seconds_left(visit.session)):
                ended = await relay(browser, visit.screen)
        except TimeoutError:
            raise Refused(401, "SessionEnded", "This page was open for as long as it may. Ask for a new one.") from None
        finally:
            seconds = time.monotonic() - began
            self._events.record("DisconnectVnc", visit.session, visit.peer, seconds=seconds)
        if ended:
            raise Refused(410, "ScreenEnded", "The screen is gone: the instance was stopped, restarted or released.")
