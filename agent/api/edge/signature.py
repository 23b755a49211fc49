"""Signatures of requests, version 1 (HMAC-SHA1) and version 3 (ACS3-HMAC-SHA256), as pure functions.

Each side's string to sign is computed from the request as received; reference/api.md has the rules.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote

from agent.api.edge.request import WireRequest
from agent.core.errors import IncompleteSignature

V3_ALGORITHM = "ACS3-HMAC-SHA256"
# Whatever decides what a request does must be covered by its signature.
_V3_SIGNED = ("x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce")
_V3_PART = re.compile(r"\s*(Credential|SignedHeaders|Signature)=([^,\s]+)\s*\Z")


def percent_encode(text: str) -> str:
    """RFC 3986: everything but letters, digits, `-`, `_`, `.` and `~`."""
    return quote(text, safe="~")


def _canonical(pairs: Iterable[tuple[str, str]]) -> str:
    return "&".join(f"{percent_encode(name)}={percent_encode(value)}" for name, value in sorted(pairs))


# ------------------------------------------------------------------------------ version 1


def v1_string_to_sign(request: WireRequest) -> str:
    """Query and form together, without the signature itself. A name in both counts once, as the form has it."""
    pairs = ((name, value) for name, value in request.params.items() if name != "Signature")
    return f"{request.method}&{percent_encode('/')}&{percent_encode(_canonical(pairs))}"


def v1_signature(string_to_sign: str, secret: str) -> str:
    digest = hmac.new(f"{secret}&".encode(), string_to_sign.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


# ------------------------------------------------------------------------------ version 3


class V3Authorization(NamedTuple):
    """The parts of an `Authorization: ACS3-HMAC-SHA256 …` header."""

    credential: str
    signed_headers: tuple[str, ...]
    signature: str


def v3_authorization(header: str) -> V3Authorization:
    """Raises IncompleteSignature when a part is missing."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme != V3_ALGORITHM:
        raise IncompleteSignature(f'The signature algorithm "{scheme}" is not supported; {V3_ALGORITHM} is.')
    parts = {match[1]: match[2] for piece in rest.split(",") if (match := _V3_PART.match(piece))}
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not parts.get(name):
            raise IncompleteSignature(f"The Authorization header has no {name}.")
    signed = tuple(parts["SignedHeaders"].lower().split(";"))
    return V3Authorization(parts["Credential"], signed, parts["Signature"])


def v3_check_coverage(request: WireRequest, signed: tuple[str, ...]) -> None:
    """Raises IncompleteSignature unless the headers that decide the request are signed and its hash is the body's."""
    required = [*_V3_SIGNED, *(n for n in ("x-acs-security-token", "host") if n in request.headers)]
    for name in required:
        if not request.header(name):
            raise IncompleteSignature(f"The header {name} is missing.")
        if name not in signed:
            raise IncompleteSignature(f"The header {name} is not among the SignedHeaders.")
    hashes = (_sha256(request.body), _sha256(request.content))
    if not any(hmac.compare_digest(_ascii(request.header("x-acs-content-sha256")).lower(), h) for h in hashes):
        raise IncompleteSignature("The header x-acs-content-sha256 is not the SHA-256 of the body.")


def v3_string_to_sign(request: WireRequest, signed: tuple[str, ...]) -> str:
    headers = "".join(f"{name}:{request.header(name).strip()}\n" for name in signed)
    payload = request.header("x-acs-content-sha256")
    canonical = "\n".join((request.method, request.path, _canonical(request.query), headers, ";".join(signed), payload))
    return f"{V3_ALGORITHM}\n{hashlib.sha256(canonical.encode('utf-8', 'surrogateescape')).hexdigest()}"


def v3_signature(string_to_sign: str, secret: str) -> str:
    return hmac.new(secret.encode(), string_to_sign.encode(), hashlib.sha256).hexdigest()


def same(given: str, computed: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(_ascii(given).encode(), computed.encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _ascii(text: str) -> str:
    return text if text.isascii() else ""
