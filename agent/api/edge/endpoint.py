"""One request from bytes to bytes, in a worker thread: read, authenticate, dispatch, render, audit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agent.api.edge import request as requests
from agent.api.edge import wire
from agent.api.edge.audit import AuditLog
from agent.api.edge.authenticate import Authenticator
from agent.api.edge.call import new_request_id
from agent.api.edge.dispatch import Dispatcher
from agent.api.edge.errors import MalformedRequest, as_api_error
from agent.api.edge.idempotency import NOT_COMPARED
from agent.api.edge.request import Peer, WireRequest
from agent.core.errors import ApiError, InvalidParameter, MissingParameter, UnsupportedHttpMethod
from agent.core.identity import Identity

MAX_NAME = 64  # characters of an action or version that are repeated to anyone


class Reply(NamedTuple):
    """What goes back over the wire."""

    status: int
    content_type: str
    body: bytes
    request_id: str


@dataclass
class _Progress:
    """What is known of a request so far, for its error and its audit line."""

    request_id: str
    host_id: str
    peer: Peer
    form: wire.Format = "XML"
    action: str = ""
    version: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    claimed_key: str = ""
    identity: Identity | None = None
    resources: list[str] = field(default_factory=list)


@dataclass
class Endpoint:
    """The API itself, without sockets. Thread-safe."""

    dispatcher: Dispatcher
    authenticator: Authenticator
    audit: AuditLog

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes, peer: Peer) -> Reply:
        """Never raises: whatever goes wrong is an error answer."""
        began = time.monotonic()
        progress = _Progress(new_request_id(), headers.get("host", "")[:255], peer)
        code, status = "", 200
        try:
            result = self._run(progress, method, target, headers, body)
            content = wire.success(progress.action, progress.request_id, result, progress.form)
        except Exception as error:
            known = as_api_error(error, progress.request_id)
            code, status = known.code, known.status
            content = _failure(progress, known)
        self._audit(progress, code, status, (time.monotonic() - began) * 1000)
        return Reply(status, wire.CONTENT_TYPES[progress.form], content, progress.request_id)

    def permit(self, identity: Identity, action: str, version: str, params: Mapping[str, str]) -> None:
        """Raises an ApiError if somebody recognised before may not do this (any more)."""
        self.dispatcher.permit(self.dispatcher.registry.find(action, version), params, identity, new_request_id())

    def call(
        self, identity: Identity, action: str, version: str, params: Mapping[str, str], peer: Peer
    ) -> dict[str, Any]:
        """An action on behalf of somebody recognised before; the answer without RequestId. Raises an ApiError."""
        began = time.monotonic()
        progress = _Progress(new_request_id(), "", peer, action=action, version=version, params=params)
        progress.identity = identity
        code, status = "", 200
        try:
            found = self.dispatcher.registry.find(action, version)
            return self.dispatcher.dispatch(found, params, identity, progress.request_id, progress.resources)
        except Exception as error:
            known = as_api_error(error, progress.request_id)
            code, status = known.code, known.status
            raise known from error
        finally:
            self._audit(progress, code, status, (time.monotonic() - began) * 1000)

    def refuse(self, error: ApiError, headers: Mapping[str, str], peer: Peer) -> Reply:
        """The answer to a request that could not even be read."""
        progress = _Progress(new_request_id(), headers.get("host", "")[:255], peer)
        progress.form = "JSON" if "x-acs-action" in headers else "XML"
        self._audit(progress, error.code, error.status, 0.0)
        content = _failure(progress, error)
        return Reply(error.status, wire.CONTENT_TYPES[progress.form], content, progress.request_id)

    def _run(
        self, progress: _Progress, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, Any]:
        progress.form = "JSON" if "x-acs-action" in headers else "XML"
        request = requests.read(method, target, headers, body, progress.peer)
        _fill(progress, request)
        if method not in ("GET", "POST"):
            raise UnsupportedHttpMethod(f'The HTTP method "{method[:16]}" is not supported; GET and POST are.')
        if request.path != "/":
            raise MalformedRequest("The API has one path only: /")
        progress.identity = self.authenticator.authenticate(request)
        for name, value in (("Action", progress.action), ("Version", progress.version)):
            if not value:
                raise MissingParameter(name)
        action = self.dispatcher.registry.find(progress.action, progress.version)
        return self.dispatcher.dispatch(
            action, request.params, progress.identity, progress.request_id, progress.resources, progress.host_id
        )

    def _audit(self, progress: _Progress, code: str, status: int, milliseconds: float) -> None:
        self.audit.record(
            request_id=progress.request_id,
            source=str(progress.peer),
            action=progress.action[:MAX_NAME],
            version=progress.version[:MAX_NAME],
            params={k: v for k, v in progress.params.items() if k.lower() not in NOT_COMPARED or k == "ClientToken"},
            identity=progress.identity,
            claimed_key=progress.claimed_key,
            resources=progress.resources,
            code=code,
            status=status,
            milliseconds=milliseconds,
        )


def _fill(progress: _Progress, request: WireRequest) -> None:
    """Action, version and format: of the headers for version 3, which signs those, else of the parameters."""
    progress.params = request.params
    by_headers = request.style == "v3" or (request.style == "unsigned" and "x-acs-action" in request.headers)
    if by_headers:
        progress.form = "JSON"
        progress.action, progress.version = request.header("x-acs-action"), request.header("x-acs-version")
        progress.claimed_key = request.header("authorization").partition("Credential=")[2].partition(",")[0]
        return
    progress.form = "XML"
    progress.action, progress.version = request.params.get("Action", ""), request.params.get("Version", "")
    progress.claimed_key = request.params.get("AccessKeyId", "")
    wanted = (request.params.get("Format") or "XML").upper()
    if wanted not in ("XML", "JSON"):
        raise InvalidParameter("Format", wanted[:MAX_NAME], "it must be XML or JSON.")
    progress.form = "JSON" if wanted == "JSON" else "XML"


def _failure(progress: _Progress, error: ApiError) -> bytes:
    return wire.failure(progress.request_id, progress.host_id, error.code, error.message, progress.form)
