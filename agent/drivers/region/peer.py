"""Calls of another region's agent, as its public API has them: signed (v3), over https, or http on this host alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ipaddress
import json
import os
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

from agent.core.errors import DriverError

ECS, HOST = "2014-05-26", "2026-11-01"
SECONDS = 60.0  # for connecting, and between any two bytes of an answer
LARGEST_ANSWER = 4 << 20
_ALGORITHM = "ACS3-HMAC-SHA256"
_AGAIN = (408, 429)  # and all from 500 on, but those that say there is no room: the same call may succeed later
_NO_ROOM = 507

Json = dict[str, Any]


class PeerRefused(DriverError):
    """The other agent answered with an error. `offset`: where it wants an upload to go on, if it said so."""

    def __init__(self, message: str, status: int, code: str, offset: int | None = None) -> None:
        again = status in _AGAIN or (status >= 500 and status != _NO_ROOM)
        super().__init__(message, transient=again)
        self.status, self.code, self.offset = status, code, offset


class Peer:
    """One region. Each call has a connection of its own; endpoints are tried in their order.

    `ca_file` None: the CAs that the system trusts. The secret is read at each call, so that it can be renewed.
    """

    def __init__(
        self, region: str, endpoints: Sequence[str], key_id: str, secret_file: Path, ca_file: Path | None
    ) -> None:
        self._region, self._endpoints = region, endpoints
        self._key_id, self._secret_file, self._ca_file = key_id, secret_file, ca_file

    def call(self, action: str, version: str = HOST, **parameters: object) -> Json:
        """The answer of one action; parameters that are None are left out. Raises PeerRefused, DriverError."""
        named = {name: _text(value) for name, value in parameters.items() if value is not None}
        body = urlencode({"RegionId": self._region, **named}).encode()
        return self._request("POST", "/", body, {"x-acs-action": action, "x-acs-version": version})

    def put(self, path: str, piece: bytes, offset: int, size: int) -> int:
        """Send the bytes from `offset` on of an upload of `size` bytes; how many are there now. Raises as `call`."""
        digest = base64.b64encode(hashlib.sha256(piece).digest()).decode()
        headers = {
            "content-range": f"bytes {offset}-{offset + len(piece) - 1}/{size}",
            "content-digest": f"sha-256=:{digest}:",
        }
        return int(self._request("PUT", path, piece, headers)["Offset"])

    def _request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Json:
        failures = []
        for endpoint in self._endpoints:
            try:
                status, content = self._exchange(urlsplit(endpoint), method, path, body, headers)
                return self._answer(status, content)
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{endpoint}: {getattr(error, 'strerror', None) or error or type(error).__name__}")
        raise DriverError(f"cannot reach the region {self._region}: {'; '.join(failures)}", transient=True)

    def _exchange(
        self, endpoint: SplitResult, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        connection = self._connection(endpoint)
        try:
            if method == "POST":
                headers = self._signed(endpoint.netloc, body, headers)
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read(LARGEST_ANSWER)
        finally:
            connection.close()

    def _connection(self, endpoint: SplitResult) -> http.client.HTTPConnection:
        host = endpoint.hostname or ""
        if endpoint.scheme == "http":
            return http.client.HTTPConnection(host, endpoint.port, timeout=SECONDS)
        try:
            context = ssl.create_default_context(cafile=str(self._ca_file) if self._ca_file else None)
        except OSError as error:
            raise DriverError(
                f"cannot read the CA file {self._ca_file} of the region {self._region}: {error}"
            ) from None
        return http.client.HTTPSConnection(host, endpoint.port, timeout=SECONDS, context=context)

    def _signed(self, host: str, body: bytes, headers: dict[str, str]) -> dict[str, str]:
        try:
            secret = self._secret_file.read_text().strip()
        except OSError as error:
            raise DriverError(
                f"cannot read the secret of the region {self._region}, {self._secret_file}: {error.strerror}"
            ) from None
        return signed(host, body, headers, self._key_id, secret)

    def _answer(self, status: int, content: bytes) -> Json:
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise PeerRefused(f"the region {self._region} answered with HTTP {status} and no JSON", status, "")
        if status < 400:
            return answer
        code, said = str(answer.get("Code", "")), str(answer.get("Message", ""))
        offset = answer.get("Offset")
        text = f"the region {self._region} refused: {code}: {said[:500]}"
        raise PeerRefused(text, status, code, offset if isinstance(offset, int) else None)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_loopback(host: str) -> bool:
    """Whether plain http to it leaves this host not."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def signed(host: str, body: bytes, headers: dict[str, str], key_id: str, secret: str) -> dict[str, str]:
    """All headers of a POST of a form to `/`, the signature (version 3) among them."""
    made = {
        **headers,
        "host": host,
        "accept": "application/json",
        "content-type": "application/x-www-form-urlencoded",
        "x-acs-date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "x-acs-signature-nonce": os.urandom(16).hex(),
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
    }
    names = sorted(name for name in made if name in ("host", "content-type") or name.startswith("x-acs-"))
    lines = "".join(f"{name}:{made[name]}\n" for name in names)
    request = "\n".join(("POST", "/", "", lines, ";".join(names), made["x-acs-content-sha256"]))
    text = f"{_ALGORITHM}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    made["authorization"] = f"{_ALGORITHM} Credential={key_id},SignedHeaders={';'.join(names)},Signature={signature}"
    return made
