"""A peer for ecsctl: an HTTP server that checks each request as an agent would and plays recorded answers."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from ssl import SSLContext
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import WSMsgType, web

Answer = dict[str, Any] | tuple[int, dict[str, Any]] | Callable[[dict[str, str]], Any]
TunnelHandler = Callable[[web.WebSocketResponse], Awaitable[None]]


def error(status: int, code: str, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"RequestId": "11111111-2222-3333-4444-555555555555", "Code": code, "Message": message}


FORBIDDEN = error(403, "Forbidden.RAM", "User not authorized to operate on the specified resource.")


class Peer:
    """Answers are given by action: a body, (status, body), a function of the parameters, or a list of these that
    is used up but for the last. `calls` keeps (action, parameters); `problems` what was wrong with requests."""

    def __init__(self, answers: dict[str, Any] | None = None, keys: dict[str, str] | None = None) -> None:
        self.answers: dict[str, Any] = answers or {}
        self.keys = keys or {}
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.versions: dict[str, str] = {}
        self.signed_by: list[str] = []
        self.tokens: list[str] = []  # security tokens, if they were signed
        self.problems: list[str] = []
        self.tunnel: TunnelHandler = echo
        self.port = 0
        self._nonces: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    # ------------------------------------------------------------------------------------ life

    def start(self, socket: Path | None = None, tls: SSLContext | None = None, port: int = 0) -> Peer:
        if not self._thread.is_alive():
            self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(socket, tls, port), self._loop).result(10)
        return self

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self, socket: Path | None, tls: SSLContext | None, port: int) -> None:
        if self._runner is None:
            app = web.Application(client_max_size=1 << 24)
            app.router.add_post("/", self._rpc)
            app.router.add_get("/tunnel/{token}", self._tunnel)
            self._runner = web.AppRunner(app, shutdown_timeout=0.5)
            await self._runner.setup()
        if socket is not None:
            await web.UnixSite(self._runner, str(socket)).start()
        else:
            site = web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=tls)
            await site.start()
            assert site._server is not None
            self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    # ------------------------------------------------------------------------------------ requests

    async def _rpc(self, request: web.Request) -> web.Response:
        body = await request.read()
        action = request.headers.get("x-acs-action", "")
        parameters = dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body)))
        self.calls.append((action, parameters))
        self.versions[action] = request.headers.get("x-acs-version", "")
        self._check(request, body)
        refusal = self._authenticate(request)
        status, answer = refusal or _normal(await self._answer(action, parameters))
        if status < 400:
            answer = {"RequestId": "00000000-0000-0000-0000-000000000000", **answer}
        return web.json_response(answer, status=status)

    async def _answer(self, action: str, parameters: dict[str, str]) -> Any:
        if action not in self.answers:
            return error(404, "InvalidAction.NotFound", f"The specified action {action} is not found.")
        answer = self.answers[action]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer(parameters)
        return await answer if asyncio.iscoroutine(answer) else answer

    def _check(self, request: web.Request, body: bytes) -> None:
        headers = request.headers
        for name in ("x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce"):
            if not headers.get(name):
                self.problems.append(f"{name} is missing")
        if headers.get("x-acs-content-sha256") != hashlib.sha256(body).hexdigest():
            self.problems.append("x-acs-content-sha256 is wrong")
        if headers.get("content-type") != "application/x-www-form-urlencoded":
            self.problems.append(f"content-type {headers.get('content-type')}")
        nonce = headers.get("x-acs-signature-nonce", "")
        if nonce in self._nonces:
            self.problems.append("a nonce was used twice")
        self._nonces.add(nonce)

    def _authenticate(self, request: web.Request) -> tuple[int, dict[str, Any]] | None:
        """Signature v3, written after the wire's facts; by unix socket nobody needs one."""
        given = request.headers.get("Authorization")
        if "x-acs-security-token" in (given or ""):
            self.tokens.append(request.headers["x-acs-security-token"])
        if given is None:
            local = request.transport is not None and not request.transport.get_extra_info("peername")
            return None if local else error(400, "IncompleteSignature", "there is no Authorization")
        algorithm, _, rest = given.partition(" ")
        fields = dict(part.split("=", 1) for part in rest.split(","))
        secret = self.keys.get(fields["Credential"])
        if secret is None:
            return error(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        names = fields["SignedHeaders"].split(";")
        lines = [f"{name}:{request.headers[name].strip()}\n" for name in names]
        canonical = f"POST\n/\n\n{''.join(lines)}\n{';'.join(names)}\n{request.headers['x-acs-content-sha256']}"
        text = f"{algorithm}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        if hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest() != fields["Signature"]:
            return error(400, "SignatureDoesNotMatch", "Specified signature is not matched with our calculation.")
        self.signed_by.append(fields["Credential"])
        return None

    async def _tunnel(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["token"] != "good":
            return web.Response(status=404, text="The tunnel has expired.")
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        await self.tunnel(socket)
        return socket

    def actions(self) -> list[str]:
        return [action for action, _ in self.calls]

    def parameters(self, action: str) -> dict[str, str]:
        """Of the last call of an action."""
        return next(given for name, given in reversed(self.calls) if name == action)


def _normal(answer: Any) -> tuple[int, dict[str, Any]]:
    return answer if isinstance(answer, tuple) else (200, answer)


async def echo(socket: web.WebSocketResponse) -> None:
    """Give back what comes; an empty message ends our direction too."""
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)


def listing(wrapper: str, items: list[dict[str, Any]]) -> Callable[[dict[str, str]], Any]:
    """A paged list action: filters by fields of the same name, cuts pages as asked."""
    outer, inner = wrapper.split(".")

    def answer(parameters: dict[str, str]) -> Any:
        number, size = int(parameters.get("PageNumber", 1)), int(parameters.get("PageSize", 10))
        if size > (100 if "InstanceIds" in parameters else 50):
            return error(400, "InvalidParameter.PageSize", f"The specified parameter PageSize {size} is not valid.")
        found = [item for item in items if all(item.get(k, v) == v for k, v in parameters.items() if k.endswith("Id"))]
        page = found[(number - 1) * size : number * size]
        return {outer: {inner: page}, "TotalCount": len(found), "PageNumber": number, "PageSize": size}

    return answer
