"""Files from the web: small ones at once, large ones piece by piece so that a break costs nothing.

The environment's proxies are used. Every redirection must be as safe as the address it comes from.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent.core.errors import DriverError

STALLED_SECONDS = 30.0
SMALL_BYTES, SMALL_SECONDS = 1 << 20, 60.0
LARGEST_BYTES = 16 << 30
PIECE_BYTES = 1 << 20
REPORT_SECONDS = 1.0
_AGENT = "ecs-agent"
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

Report = Callable[[int, str], None]
Cancelled = Callable[[], bool]


class _NoSuchRange(Exception):
    """More is here than the server has."""


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Never from https to http: that would give away what https was asked for."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in allowed:
            raise DriverError(f"cannot download {req.full_url}: it leads on to {newurl}, which is not {allowed[-1]}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@dataclass(frozen=True)
class Partial:
    """A file that is being fetched, and beside it what tells whether the server still has the same one."""

    path: Path

    @property
    def _notes(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self, url: str) -> str:
        """The entity tag or date with which the server named what is here; empty: unknown."""
        try:
            notes = json.loads(self._notes.read_text())
        except (OSError, ValueError):
            return ""
        return str(notes["validator"]) if notes["url"] == url else ""

    def begin(self, url: str, validator: str) -> None:
        """Nothing is here yet; what will be is of that version."""
        self.path.write_bytes(b"")
        self._notes.write_text(json.dumps({"url": url, "validator": validator}))

    def discard(self) -> None:
        self._notes.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def text(url: str) -> bytes:
    """A small file. Raises DriverError."""
    content, ends = b"", time.monotonic() + SMALL_SECONDS
    with _answer(url, {}) as answer:
        while piece := _piece(url, answer):
            content += piece
            if len(content) > SMALL_BYTES:
                raise DriverError(f"cannot use {url}: it is larger than {SMALL_BYTES} bytes")
            if time.monotonic() > ends:
                raise DriverError(f"cannot download {url}: it is not there after {SMALL_SECONDS:.0f} s")
    return content


def file(url: str, partial: Partial, report: Report, cancelled: Cancelled) -> None:
    """Fetch what is missing of `partial`. Raises InterruptedError when `cancelled`, and DriverError, transient where
    the connection broke: then what is there is kept for the next call."""
    try:
        _fetch_rest(url, partial, report, cancelled)
    except _NoSuchRange:
        partial.discard()
        _fetch_rest(url, partial, report, cancelled)


def _fetch_rest(url: str, partial: Partial, report: Report, cancelled: Cancelled) -> None:
    size, validator = partial.size(), partial.validator(url)
    headers = {"Range": f"bytes={size}-", "If-Range": validator} if size and validator else {}
    with _answer(url, headers) as answer:
        if answer.status != 206 or not _continues(answer, size):
            # A weak tag names what means the same, not the same bytes.
            tag = answer.headers.get("ETag", "")
            known = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")
            partial.begin(url, known)
            size = 0
        total = _total(url, answer, size, partial.path)
        _receive(url, answer, partial.path, size, total, report, cancelled)


def _continues(answer: Any, size: int) -> bool:
    match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return bool(match) and int(match[1]) == size  # type: ignore[index]


def _total(url: str, answer: Any, size: int, path: Path) -> int:
    """How large the file will be; 0: the server does not say. Raises DriverError when that is too much."""
    length = answer.headers.get("Content-Length", "")
    total = size + int(length) if length.isdigit() else 0
    if total > LARGEST_BYTES:
        raise DriverError(f"cannot download {url}: {total} bytes are more than the {LARGEST_BYTES} allowed")
    if total - size > shutil.disk_usage(path.parent).free:
        raise DriverError(f"cannot download {url}: {total - size} bytes do not fit on the disk of {path.parent}")
    return total


def _receive(url: str, answer: Any, path: Path, size: int, total: int, report: Report, cancelled: Cancelled) -> None:
    looked = 0.0
    with path.open("ab", buffering=0) as output:
        while piece := _piece(url, answer):
            size += _append(output, piece, path)
            if size > (total or LARGEST_BYTES):
                raise DriverError(f"cannot download {url}: the server sends more than it said")
            if time.monotonic() - looked >= REPORT_SECONDS:
                looked = time.monotonic()
                report(size * 100 // total if total else 0, _progress(size, total))
                if cancelled():
                    raise InterruptedError
        os.fsync(output.fileno())
    if size < total:
        raise DriverError(f"the download of {url} broke off at {size} of {total} bytes", transient=True)


def _piece(url: str, answer: Any) -> bytes:
    try:
        piece: bytes = answer.read1(PIECE_BYTES)  # what is there, so that a slow one can be cancelled
        return piece
    except (OSError, http.client.HTTPException) as error:
        raise _broken(url, error) from None


def _append(output: Any, piece: bytes, path: Path) -> int:
    try:
        rest = memoryview(piece)
        while rest:
            rest = rest[output.write(rest) :]
        return len(piece)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "the disk is full" if full else error.strerror
        raise DriverError(f"cannot write {path}: {why}") from None


def _progress(size: int, total: int) -> str:
    return f"downloading, {size >> 20} of {total >> 20} MiB" if total else f"downloading, {size >> 20} MiB"


@contextlib.contextmanager
def _answer(url: str, headers: dict[str, str]) -> Any:
    """The server's answer, a good one."""
    opener = urllib.request.build_opener(_SafeRedirects)
    request = urllib.request.Request(url, headers={"User-Agent": _AGENT, "Accept-Encoding": "identity", **headers})
    try:
        answer = opener.open(request, timeout=STALLED_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and "Range" in headers:
            raise _NoSuchRange from None
        raise DriverError(f"cannot download {url}: the server says {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(url, error) from None
    with answer:
        yield answer


def _unreachable(url: str, error: Exception) -> DriverError:
    reason = getattr(error, "reason", error)
    why = getattr(reason, "strerror", None) or reason
    return DriverError(
        f"cannot download {url}: {urlsplit(url).hostname} cannot be reached ({why}); this host needs a way there, or a "
        "proxy in https_proxy; or bring the file yourself: ecsctl image import"
    )


def _broken(url: str, error: Exception) -> DriverError:
    why = getattr(error, "strerror", None) or error
    return DriverError(f"the download of {url} broke off: {why or type(error).__name__}", transient=True)
