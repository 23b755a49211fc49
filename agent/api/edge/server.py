"""The agent's doors: the unix socket, http on the loopback, https for the network."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import http_exceptions, web
from aiohttp.typedefs import Handler, Middleware

from agent.api.edge import listen
from agent.api.edge.endpoint import Endpoint, Reply
from agent.api.edge.errors import MalformedRequest, RequestTooLarge
from agent.api.edge.listen import ListenError
from agent.api.edge.request import MAX_BODY
from agent.core.errors import ApiError, ServiceUnavailable

if TYPE_CHECKING:
    from agent.api.edge.tls import Tls

logger = logging.getLogger(__name__)
http_logger = logging.getLogger(__name__ + ".http")

MAX_TARGET = 256 << 10  # bytes; clients put even user data into the query
MAX_HEADER = 16 << 10  # bytes of one header
MAX_WAITING = 512  # requests in the house, in work or not
WORKERS = 16
READ_SECONDS = 60  # for a whole body to arrive
RENEWAL_SECONDS = 12 * 3600


@dataclass(frozen=True)
class Doors:
    """Where to listen; empty means not at all. Addresses are `host:port`, port 0 takes any free one."""

    socket: Path | None = None
    socket_group: str = ""
    http: str = ""
    https: str = ""
    tls_dir: Path = Path("/var/lib/ecs/tls")
    tls_names: tuple[str, ...] = field(default=())  # further names that clients use for this host


class _NoTraceback(logging.Filter):
    """What is no HTTP is the client's fault: one line, not a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, http_exceptions.HttpProcessingError):
            record.exc_info = None
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.msg, record.args = "not readable as HTTP: %s", (type(error).__name__,)
        return True


class Server:
    """Serves `endpoint` on all `doors`. `extra_routes` are matched before the API's own path;
    `closers` are awaited when the server stops, before connections are closed."""

    def __init__(
        self,
        endpoint: Endpoint,
        doors: Doors,
        extra_routes: Sequence[web.AbstractRouteDef] = (),
        closers: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self._endpoint = endpoint
        self._doors = doors
        self._routes = list(extra_routes)
        self._closers = list(closers)
        self._runner: web.AppRunner | None = None
        self._workers: ThreadPoolExecutor | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._tls: Tls | None = None
        self._waiting = 0
        self._socket_inode = 0
        self.http_port = 0
        self.https_port = 0

    @property
    def ca_path(self) -> Path | None:
        """The certificate https clients shall trust; None without https."""
        return self._tls.ca_path if self._tls else None

    def local_url(self) -> str:
        """How a browser on this host reaches the agent; empty when it has no door but the unix socket."""
        for scheme, address, port in (
            ("http", self._doors.http, self.http_port),
            ("https", self._doors.https, self.https_port),
        ):
            if address and port:
                host = listen.parse_address(address, scheme)[0]
                return f"{scheme}://{listen.local_host(host)}:{port}"
        return ""

    async def start(self) -> None:
        """Listen on every door or on none; raises ListenError with one line that says which and why."""
        if not http_logger.filters:
            http_logger.addFilter(_NoTraceback())
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="api")
        app = web.Application(client_max_size=MAX_BODY, middlewares=[_fallback(self._handle)])
        app.add_routes(self._routes)
        app.on_shutdown.append(self._close_streams)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=http_logger,
            handle_signals=False,
            keepalive_timeout=75,
            max_line_size=MAX_TARGET,
            max_field_size=MAX_HEADER,
            auto_decompress=False,
            shutdown_timeout=10,
        )
        try:
            await self._runner.setup()
            await self._open_doors(self._runner)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop listening, let running calls end (10 s at most for their answers), close everything. Repeatable."""
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._remove_socket()
        if self._workers is not None:
            await asyncio.to_thread(self._workers.shutdown, wait=True)
            self._workers = None

    async def _open_doors(self, runner: web.AppRunner) -> None:
        doors = self._doors
        if doors.socket is not None:
            listener = listen.unix_socket(doors.socket, doors.socket_group)
            self._socket_inode = doors.socket.stat().st_ino
            await web.SockSite(runner, listener).start()
        if doors.http:
            host, port = listen.parse_address(doors.http, "http")
            if not listen.is_loopback(host):
                logger.warning("http on %s is not encrypted: passwords in requests can be read; use https", doors.http)
            self.http_port = await _listen(runner, web.TCPSite(runner, host, port), doors.http)
        if doors.https:
            await self._open_https(runner)

    async def _open_https(self, runner: web.AppRunner) -> None:
        from agent.api.edge.tls import Tls  # cryptography is large and https often off

        host, port = listen.parse_address(self._doors.https, "https")
        self._tls = Tls(self._doors.tls_dir, (host, *self._doors.tls_names))
        try:
            context = await asyncio.to_thread(self._tls.context)
        except OSError as error:
            raise ListenError(f"cannot make certificates in {self._doors.tls_dir}: {error}") from None
        site = web.TCPSite(runner, host, port, ssl_context=context)
        self.https_port = await _listen(runner, site, self._doors.https)
        self._renewal = asyncio.create_task(self._renew(self._tls))

    async def _renew(self, tls: Tls) -> None:
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            try:
                await asyncio.to_thread(tls.renew)
            except OSError:
                logger.exception("cannot renew the certificates in %s", tls.directory)

    async def _close_streams(self, _: web.Application) -> None:
        for closer in self._closers:
            await closer()

    def _remove_socket(self) -> None:
        path = self._doors.socket
        # Another agent may have taken the place since.
        if path is not None and self._socket_inode and path.exists() and path.stat().st_ino == self._socket_inode:
            path.unlink()
        self._socket_inode = 0

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        headers = _headers(request)
        peer = listen.peer_of(request.transport)
        if self._waiting >= MAX_WAITING or self._workers is None:
            busy = ServiceUnavailable("The agent has too many requests in work. Try again.")
            return _response(self._endpoint.refuse(busy, headers, peer), close=True)
        self._waiting += 1
        try:
            body = await _body(request)
            reply = await asyncio.get_running_loop().run_in_executor(
                self._workers, self._endpoint.answer, request.method, request.raw_path, headers, body, peer
            )
            return _response(reply)
        except ApiError as error:
            return _response(self._endpoint.refuse(error, headers, peer), close=True)
        finally:
            self._waiting -= 1


def _fallback(handle: Handler) -> Middleware:
    """Whatever is no extra route goes to `handle`: also targets without a path, which no route matches."""

    @web.middleware
    async def choose(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await (handler(request) if request.match_info.http_exception is None else handle(request))

    return choose


async def _listen(runner: web.AppRunner, site: web.TCPSite, address: str) -> int:
    """Start `site`, the newest of `runner`; the port it got."""
    try:
        await site.start()
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from None
    return int(runner.addresses[-1][1])


def _headers(request: web.Request) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in request.headers.items():
        # Bytes that are no UTF-8 cannot be part of anything we compare or store.
        text = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        key = name.lower()
        joined[key] = f"{joined[key]},{text}" if key in joined else text
    return joined


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise RequestTooLarge(f"The body is larger than {MAX_BODY} bytes.") from None
    except TimeoutError:
        raise MalformedRequest(f"The body did not arrive within {READ_SECONDS} s.") from None
    except web.RequestPayloadError:
        raise MalformedRequest("The body is not readable as HTTP.") from None


def _response(reply: Reply, close: bool = False) -> web.Response:
    response = web.Response(status=reply.status, body=reply.body)
    response.headers["Content-Type"] = reply.content_type
    response.headers["x-acs-request-id"] = reply.request_id
    response.headers["Server"] = "ecs"
    if close:
        response.force_close()
    return response
