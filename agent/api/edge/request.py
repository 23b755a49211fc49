"""A request as it came over the wire, before anything in it is believed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl

from agent.api.edge.errors import MalformedRequest, RequestTooLarge

MAX_BODY = 1 << 20  # bytes, also after decompression
MAX_PAIRS = 10_000
_FORM = "application/x-www-form-urlencoded"

_V1_MARKS = frozenset({"AccessKeyId", "Signature", "SignatureMethod", "SignatureNonce"})

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Peer:
    """Where the connection comes from: an address, or the credentials of a process on the unix socket."""

    address: str = ""
    uid: int | None = None
    groups: frozenset[int] = frozenset()
    secure: bool = False

    def __str__(self) -> str:
        return self.address if self.uid is None else f"unix:uid={self.uid}"


@dataclass(frozen=True)
class WireRequest:
    """Header names in lower case, values of repeated headers joined by commas; `body` as sent."""

    method: str
    path: str
    query: Pairs
    headers: Mapping[str, str]
    peer: Peer
    body: bytes = b""
    form: Pairs = ()
    content: bytes = b""  # the body after decompression
    params: Mapping[str, str] = field(default_factory=dict)  # query and form together, the form's value winning

    def header(self, name: str) -> str:
        return self.headers.get(name, "")

    @property
    def style(self) -> Literal["v3", "v1", "unsigned"]:
        """How the request claims to be signed. What decides its action must come from what that style signs."""
        if self.header("authorization").startswith("ACS"):
            return "v3"
        return "v1" if self.params.keys() & _V1_MARKS else "unsigned"


def read(method: str, target: str, headers: Mapping[str, str], body: bytes, peer: Peer) -> WireRequest:
    """A request from its parts; `target` is what follows the method. Raises MalformedRequest or RequestTooLarge."""
    path, _, query_text = target.partition("#")[0].partition("?")
    query = _pairs(query_text)
    content = _decompressed(body, headers.get("content-encoding", ""))
    is_form = headers.get("content-type", "").split(";")[0].strip().lower() == _FORM
    form = _pairs(_decoded(content)) if is_form and method == "POST" else ()
    return WireRequest(
        method=method,
        path=_path(path),
        query=query,
        headers=headers,
        peer=peer,
        body=body,
        form=form,
        content=content,
        params=dict((*query, *form)),
    )


def _path(path: str) -> str:
    """The path of a target that may be absolute (`http://host/path`), as clients behind a proxy send it."""
    scheme, separator, rest = path.partition("://")
    if separator and scheme.isalpha():
        path = "/" + rest.partition("/")[2]
    return path or "/"


def _pairs(text: str) -> Pairs:
    # The separators are ASCII; bytes that are not come escaped from correct clients and raw from careless ones.
    try:
        raw = text.encode("utf-8", "surrogateescape").decode("utf-8")
        return tuple(parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=MAX_PAIRS))
    except UnicodeError:
        raise MalformedRequest("The parameters are not valid UTF-8.") from None
    except ValueError:
        raise MalformedRequest(f"The request has more than {MAX_PAIRS} parameters.") from None


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedRequest("The body is not valid UTF-8.") from None


def _decompressed(body: bytes, encoding: str) -> bytes:
    encoding = encoding.strip().lower()
    if encoding in ("", "identity") or not body:
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise MalformedRequest(f'The Content-Encoding "{encoding}" is not supported; gzip and deflate are.')
    inflater = zlib.decompressobj(zlib.MAX_WBITS if encoding == "deflate" else zlib.MAX_WBITS | 16)
    try:
        content = inflater.decompress(body, MAX_BODY + 1)
    except zlib.error:
        raise MalformedRequest(f"The body is not valid {encoding}.") from None
    if len(content) > MAX_BODY or inflater.unconsumed_tail:
        raise RequestTooLarge(f"The body is larger than {MAX_BODY} bytes.")
    if not inflater.eof:
        raise MalformedRequest(f"The body is incomplete {encoding}.")
    return content
