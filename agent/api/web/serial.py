"""The serial console's page (SPEC L7): `GET /console/serial/stream` is the line, `POST /console/serial/state` what is
known of the instance.

The same one-at-a-time holds as for `ecsctl instance console`: both take the line from SerialConsoles.
"""

from __future__ import annotations

import asyncio
import functools
import time
from pathlib import Path

from aiohttp import web

from agent.api.caller import name_of
from agent.api.edge import listen
from agent.api.edge.endpoint import Endpoint
from agent.api.edge.errors import as_api_error
from agent.api.edge.registry import HOST
from agent.api.edge.request import Peer
from agent.api.web.access import PageAccess, PageSession, Refused
from agent.api.web.commonjs import bundle
from agent.api.web.events import ConsoleEvents
from agent.api.web.pages import answer, guarded, secured
from agent.api.web.relay import PIECE, ChannelStream, SocketStream, relay
from agent.api.web.streams import PageStreams
from agent.core import states
from agent.core.clock import iso_seconds
from agent.core.errors import DriverError
from agent.services.serial import SerialLines, Session
from agent.services.terminal import Terminal, Terminals

PAGE = "serial"
XTERM = {"xterm": "public/Terminal", "fit": "addons/fit/fit"}  # what the page imports, and the modules it is in
ACTION = "DescribeInstanceConsoleUrl"


class SerialRoutes(PageStreams):
    """Add `routes` to the server, and `close` to its shutdown."""

    def __init__(
        self, access: PageAccess, terminals: Terminals, lines: SerialLines, endpoint: Endpoint, xterm: Path
    ) -> None:
        super().__init__("serial")
        self._xterm = functools.cache(lambda: bundle(xterm, XTERM))
        self._access, self._terminals, self._lines, self._endpoint = access, terminals, lines, endpoint
        self._events = ConsoleEvents(endpoint.audit)

    @property
    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/console/serial/stream", self.stream),
            web.post("/console/serial/state", self.state),
            web.get("/console/serial/xterm.js", self.xterm),
        ]

    async def xterm(self, request: web.Request) -> web.StreamResponse:
        """xterm.js as one script."""
        try:
            script = await self.in_thread(self._xterm)
        except OSError as error:
            return secured(web.Response(status=503, text=f"xterm.js cannot be read: {error}\n"))
        return secured(web.Response(text=script, content_type="text/javascript"))

    @guarded
    async def state(self, request: web.Request) -> web.StreamResponse:
        """Name and status, who holds the line, and the session anew."""
        session = self._access.session_of(PAGE, request)
        found = await self.in_thread(self._look, session)
        holder = self._lines.holder(session.instance_id)
        return answer(
            {
                "Session": self._access.seal(session),
                "InstanceId": found.instance_id,
                "InstanceName": found.name,
                "Status": found.status,
                "Holder": holder and {"User": holder.user, "Since": iso_seconds(holder.since)},
            }
        )

    async def serve(self, channel: web.WebSocketResponse, request: web.Request) -> None:
        session = self._access.session_of(PAGE, request)
        peer = listen.peer_of(request.transport)
        held = await self._take(session, peer, force=request.query.get("force") == "true")
        assert held.console is not None
        held.console.stream.setblocking(False)
        line = SocketStream(*await asyncio.open_connection(sock=held.console.stream, limit=PIECE))
        try:
            await self._relay(ChannelStream(channel), line, session, peer)
        finally:
            await line.close()
        if held.reason:
            code = "TakenOver" if held.taken_over else "ScreenEnded"
            raise Refused(410, code, f"{held.reason}.")

    def _look(self, session: PageSession) -> Terminal:
        """Raises an ApiError when the instance is gone, or the page's opener may not open it any more."""
        found = self._terminals.look(session.identity.account_id, session.instance_id)
        self._endpoint.permit(session.identity, ACTION, HOST, {"InstanceId": session.instance_id})
        return found

    async def _take(self, session: PageSession, peer: Peer, *, force: bool) -> Session:
        """The line, held. Raises Refused."""
        try:
            found = await self.in_thread(self._look, session)
            if found.status not in states.ALLOWED["watch"]:
                raise Refused(
                    409, "NotRunning", f"The instance is {found.status}; it has a console when it is Running."
                )
            user = f"{name_of(session.identity)}, in a browser at {peer}"
            return await self.in_thread(self._lines.take, session.instance_id, user, force)
        except Refused:
            raise
        except DriverError as error:
            raise Refused(502, "NoConsole", f"{error}.") from None
        except Exception as error:
            known = as_api_error(error, "console")
            in_use = known.code == "InvalidOperation.ConsoleInUse"
            raise Refused(known.status, "InUse" if in_use else known.code, known.message) from None

    async def _relay(self, browser: ChannelStream, line: SocketStream, session: PageSession, peer: Peer) -> None:
        self._events.record("ConnectConsole", session, peer)
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._access.seconds_left(session)):
                await browser.send(await self.in_thread(self._lines.earlier, session.instance_id))
                await relay(browser, line)
        except TimeoutError:
            raise Refused(401, "SessionEnded", "This page was open for as long as it may. Ask for a new one.") from None
        except (OSError, RuntimeError):
            return  # the browser is gone
        finally:
            self._events.record("DisconnectConsole", session, peer, seconds=time.monotonic() - began)
