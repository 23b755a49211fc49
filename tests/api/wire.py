"""Requests made by hand: signed with the SDK's own composer, sent as raw bytes or by http.client."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import xml.etree.ElementTree as ElementTree
from typing import Any, NamedTuple
from urllib.parse import quote

from aliyunsdkcore.auth.composer.rpc_signature_composer import get_signed_url

from tests.api.live import KEY, SECRET, Edge

COMMON = {"Version": "2014-05-26", "RegionId": "local"}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def xml(self) -> ElementTree.Element:
        return ElementTree.fromstring(self.body)

    @property
    def code(self) -> str:
        if self.body.startswith(b"{"):
            return str(self.json.get("Code", ""))
        return self.xml.findtext("Code") or ""

    @property
    def message(self) -> str:
        return str(self.json["Message"]) if self.body.startswith(b"{") else self.xml.findtext("Message") or ""


def signed_target(
    action: str,
    *,
    method: str = "GET",
    form: dict[str, str] | None = None,
    accept: str | None = "JSON",
    secret: str = SECRET,
    **params: str,
) -> str:
    """The path and query of a request of version 1, signed by the SDK."""
    query = {**COMMON, "Action": action, **params}
    target, _ = get_signed_url(query, KEY, secret, accept, method, form or {})
    return str(target)


def send(
    edge: Edge, target: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
) -> Answer:
    connection = http.client.HTTPConnection(edge.address, timeout=30)
    try:
        connection.request(method, target, body, headers or {})
        return answer_of(connection.getresponse())
    finally:
        connection.close()


def answer_of(response: http.client.HTTPResponse) -> Answer:
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def call(edge: Edge, action: str, **params: str) -> Answer:
    """A signed GET with an answer in JSON; `Name__1` stands for `Name.1`."""
    return send(edge, signed_target(action, **{k.replace("__", "."): v for k, v in params.items()}))


def exchange(address: tuple[str, int] | str, data: bytes) -> Answer:
    """Send raw bytes and read one answer; a connection closed without one is status 0."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as connection:
        connection.settimeout(30)
        connection.connect(address)
        # The server may answer, and say why, before it has read everything.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        response = http.client.HTTPResponse(connection)
        try:
            response.begin()
            return answer_of(response)
        except (http.client.BadStatusLine, ConnectionResetError):
            return Answer(0, {}, b"")


def unsigned_request(action: str, form: dict[str, str] | None = None, more: str = "") -> bytes:
    """A request as local clients send it on the unix socket."""
    body = "&".join(f"{quote(k)}={quote(v)}" for k, v in (form or {}).items())
    return (
        f"POST / HTTP/1.1\r\nHost: localhost\r\nx-acs-action: {action}\r\nx-acs-version: 2014-05-26\r\n{more}"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
