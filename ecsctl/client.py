"""Calls of the agent's API: a form POSTed to `/`, JSON back, signed when there is an access key."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlencode

from ecsctl import signature
from ecsctl.config import Settings
from ecsctl.errors import ApiError, CliError, CredentialsMissing, Unreachable
from ecsctl.transport import Transport, open_transport

ECS, VPC, RAM, STS, OWN = "2014-05-26", "2016-04-28", "2015-05-01", "2015-04-01", "2026-11-01"
DEFAULT_REGION = "local"
PAGE = 50  # the largest page every list action accepts
_IDLE_SECONDS = 5.0  # an unused connection older than this is not trusted with a call that changes something
_AWAY_PAUSE = 0.5

Json = dict[str, Any]


class Client:
    """One agent. Keeps one connection between calls. `timeout`: seconds for connecting and for each answer."""

    def __init__(self, settings: Settings, timeout: float = 60.0) -> None:
        self.settings, self.timeout = settings, timeout
        self._transport: Transport | None = None
        self._connection: HTTPConnection | None = None
        self._used = 0.0
        self._patience = 0.0
        self._region = settings.region

    @property
    def transport(self) -> Transport:
        if self._transport is None:
            self._transport = open_transport(self.settings)
        return self._transport

    @property
    def region(self) -> str:
        """The region set, or the agent's own (a user who may not ask gets the default region's name)."""
        if not self._region:
            try:
                self._region = self.call("DescribeRegions")["Regions"]["Region"][0]["RegionId"]
            except ApiError as error:
                if not error.forbidden:
                    raise
                self._region = DEFAULT_REGION
        return self._region

    def close(self) -> None:
        self._drop()
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def call(self, action: str, version: str = ECS, **parameters: object) -> Json:
        """The answer to one action. Lists become `Name.1`, dictionaries `Name.Key`, None is left out.

        Raises ApiError for an error answer, Unreachable when there is none.
        """
        form = flatten(parameters)
        reads = action.startswith(("Describe", "Get", "List"))
        deadline = time.monotonic() + (self._patience if reads else 0)
        while True:
            try:
                return self._call(action, version, form, reads)
            except Unreachable:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_AWAY_PAUSE)

    @contextmanager
    def patient(self, seconds: float) -> Iterator[None]:
        """Let reading calls wait for an agent that is away, as while it restarts."""
        before, self._patience = self._patience, seconds
        try:
            yield
        finally:
            self._patience = before

    def regional(self, action: str, version: str = ECS, **parameters: object) -> Json:
        """`call` with the region's id."""
        return self.call(action, version, RegionId=self.region, **parameters)

    def items(self, action: str, wrapper: str, version: str = ECS, **parameters: object) -> Iterator[Json]:
        """All items of a paged list; `wrapper` is the path to the list, e.g. `Instances.Instance`."""
        number, seen = 1, 0
        while True:
            answer = self.regional(action, version, PageNumber=number, PageSize=PAGE, **parameters)
            page = unwrap(answer, wrapper)
            yield from page
            seen += len(page)
            if not page or seen >= int(answer.get("TotalCount", seen)):
                return
            number += 1

    def connect(self, timeout: float | None = None) -> socket.socket:
        """A fresh stream to the agent, for a websocket."""
        return self.transport.connect(timeout or self.timeout)

    # -------------------------------------------------------------------------------------- one exchange

    def _call(self, action: str, version: str, form: dict[str, str], reads: bool) -> Json:
        """One exchange; a second one when a kept connection turns out to be dead and repeating does no harm."""
        if self._connection is not None and time.monotonic() - self._used > _IDLE_SECONDS and not reads:
            self._drop()
        reused = self._connection is not None
        try:
            return self._exchange(action, version, form)
        except (HTTPException, OSError) as error:
            self._drop()
            if not reused or not (reads or "ClientToken" in form):
                raise self._broken(action, error, reads) from None
        try:
            return self._exchange(action, version, form)
        except (HTTPException, OSError) as error:
            self._drop()
            raise self._broken(action, error, reads) from None

    def _exchange(self, action: str, version: str, form: dict[str, str]) -> Json:
        body = urlencode(form).encode()
        headers = signature.headers(action, version, self.transport.host, body)
        key_id, secret = self.settings.access_key_id, self.settings.access_key_secret
        if key_id and secret:
            if self.settings.security_token:
                headers["x-acs-security-token"] = self.settings.security_token
            headers["Authorization"] = signature.authorization(headers, key_id, secret)
        elif not self.transport.peer_known:
            raise CredentialsMissing(
                f"{self.transport.endpoint} wants an access key: run `ecsctl config init` on the host, or set "
                "ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET"
            )
        connection = self._connected()
        connection.request("POST", "/", body, headers)
        response = connection.getresponse()
        content = response.read()
        self._used = time.monotonic()
        if response.will_close:
            self._drop()
        return self._answer(action, response, content)

    def _connected(self) -> HTTPConnection:
        if self._connection is None:
            connection = HTTPConnection("localhost")
            connection.sock = self.transport.connect(self.timeout)
            connection.auto_open = 0
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _answer(self, action: str, response: HTTPResponse, content: bytes) -> Json:
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise CliError(
                f"{self.transport.endpoint} answered {action} with HTTP {response.status} and no JSON: is it an agent?"
            )
        if response.status < 400:
            return answer
        message = str(answer.get("Message", "")) or response.reason
        request_id = str(answer.get("RequestId", ""))
        code = str(answer.get("Code", f"HTTP {response.status}"))
        raise ApiError(action, response.status, code, message, request_id, self.settings.key_origin)

    def _broken(self, action: str, error: Exception, reads: bool) -> CliError:
        if isinstance(error, TimeoutError):
            reason = f"no answer within {self.timeout:g} s"
        else:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = self.transport.failure or reason
        doubt = "" if reads else "; it is not known whether the call took effect: look before repeating it"
        return Unreachable(f"the connection to {self.transport.endpoint} broke during {action}: {reason}{doubt}")


def client_token() -> str:
    """A fresh token that makes a creating call safe to repeat (SPEC G5)."""
    return os.urandom(16).hex()


def flatten(parameters: dict[str, object]) -> dict[str, str]:
    """The RPC form of nested parameters."""
    form: dict[str, str] = {}

    def put(name: str, value: object) -> None:
        if value is None:
            return
        if isinstance(value, list | tuple):
            for number, item in enumerate(value, 1):
                put(f"{name}.{number}", item)
        elif isinstance(value, dict):
            for key, item in value.items():
                put(f"{name}.{key}", item)
        elif isinstance(value, bool):
            form[name] = "true" if value else "false"
        else:
            form[name] = str(value)

    for name, value in parameters.items():
        put(name, value)
    return form


def unwrap(answer: Json, path: str) -> list[Json]:
    """The list at `path`; empty when the answer leaves it out."""
    value: Any = answer
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, list) else []
