"""Objects on their way in and out: `PUT /upload/<ticket>` in pieces, `GET /download/<ticket>` with ranges.

A piece names its place (`Content-Range: bytes 0-8388607/20971520`) and may name its checksum (`Content-Digest:
sha-256=:…:`, RFC 9530). It is answered with `{"Offset": n, "Complete": bool}` when it is on the disk. Whoever lost the
answer asks DescribeUpload, or sends the piece again and is told the offset with status 409.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from aiohttp import web

from agent.core.errors import DriverError, NoSuchObject
from agent.core.protocols import Objects
from agent.core.specs import ObjectInfo
from agent.services.upload import LARGEST_PIECE, PieceRefused, Uploads, refusal

logger = logging.getLogger(__name__)

WORKERS = 8
AT_ONCE = 16  # pieces that are held in memory
SILENCE_SECONDS = 60.0  # after which a sender or receiver is given up
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})\Z")
_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})\Z")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):\Z")

T = TypeVar("T")


class _Place(NamedTuple):
    start: int
    length: int


class Transfers:
    """The routes. Add `routes` to the server, and `close` to its shutdown."""

    def __init__(self, uploads: Uploads, objects: Objects) -> None:
        self._uploads, self._objects = uploads, objects
        # Of its own: slow disks and stores must not hold up calls of the API.
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="transfer")
        self._pieces = asyncio.Semaphore(AT_ONCE)

    @property
    def routes(self) -> list[web.RouteDef]:
        return [
            web.put("/upload/{ticket}", self.upload),
            web.get("/download/{ticket}", self.download, allow_head=True),
        ]

    async def close(self) -> None:
        self._workers.shutdown(wait=False, cancel_futures=True)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        try:
            async with self._pieces:
                return await self._take(request)
        except PieceRefused as error:
            refused: dict[str, object] = {"Code": error.code, "Message": error.message}
            if error.offset is not None:
                refused["Offset"] = error.offset
            response = web.json_response(refused, status=error.status)
            response.force_close()  # a body may still be on its way
            return response

    async def _take(self, request: web.Request) -> web.Response:
        upload_id, size = await self._run(lambda: self._uploads.find(request.match_info["ticket"]))
        place = _place(request.headers.get("Content-Range", ""), size)
        digest = _digest(request.headers.get("Content-Digest", ""))
        piece = await _body(request, place.length)
        try:
            offset, whole = await self._run(lambda: self._uploads.take(upload_id, place.start, piece, digest))
        except DriverError as error:
            logger.warning("upload %s: %s", upload_id, error)
            raise refusal(error) from None
        return web.json_response({"Offset": offset, "Complete": whole})

    async def download(self, request: web.Request) -> web.StreamResponse:
        try:
            bucket, key = self._uploads.object_of(request.match_info["ticket"])
            about = await self._run(lambda: self._objects.about(bucket, key))
            return await self._send(request, bucket, about)
        except PieceRefused as error:
            return web.json_response({"Code": error.code, "Message": error.message}, status=error.status)
        except NoSuchObject as error:
            return web.json_response({"Code": "NoSuchKey", "Message": f"{error}."}, status=404)
        except DriverError as error:
            logger.warning("download of %s of %s: %s", key, bucket, error)
            return web.json_response({"Code": "InternalError", "Message": f"{error}."}, status=502)

    async def _send(self, request: web.Request, bucket: str, about: ObjectInfo) -> web.StreamResponse:
        place = _wanted(request, about)
        if place is None:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{about.size}"})
        response = web.StreamResponse(status=206 if place.length != about.size else 200)
        response.headers["ETag"] = f'"{about.version}"'
        response.headers["Accept-Ranges"] = "bytes"
        response.content_type = "application/octet-stream"
        response.content_length = place.length
        if response.status == 206:
            end = place.start + place.length
            response.headers["Content-Range"] = f"bytes {place.start}-{end - 1}/{about.size}"
        await response.prepare(request)
        if request.method != "HEAD":
            pieces = self._objects.read(bucket, about.key, place.start, place.start + place.length)
            await self._write(request, response, pieces)
        return response

    async def _write(self, request: web.Request, response: web.StreamResponse, pieces: Iterator[bytes]) -> None:
        try:
            while piece := await self._run(lambda: next(pieces, b"")):
                async with asyncio.timeout(SILENCE_SECONDS):
                    await response.write(piece)
        except ConnectionError:
            logger.info("a download was broken off by its receiver")
        except (DriverError, TimeoutError) as error:
            # The answer has begun: that it breaks off is all that can be told.
            logger.warning("a download breaks off: %s", error or "the receiver takes nothing")
            if request.transport is not None:
                request.transport.abort()
        finally:
            await self._run(lambda: _close(pieces))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)


def _close(pieces: Iterator[bytes]) -> None:
    """A generator holds a file or a connection until it is closed."""
    close = getattr(pieces, "close", None)
    if close is not None:
        close()


def _place(header: str, size: int) -> _Place:
    found = _CONTENT_RANGE.match(header)
    if not found:
        raise PieceRefused(400, "InvalidRange", "Content-Range must say where the piece belongs: bytes 0-99/1000.")
    start, last, total = (int(text) for text in found.groups())
    if total != size or not start <= last < total:
        raise PieceRefused(
            400, "InvalidRange", f'The Content-Range "{header}" does not fit the {size} bytes announced.'
        )
    if last - start >= LARGEST_PIECE:
        raise PieceRefused(413, "EntityTooLarge", f"A piece has at most {LARGEST_PIECE} bytes.")
    return _Place(start, last - start + 1)


def _digest(header: str) -> bytes | None:
    if not header:
        return None
    found = _DIGEST.match(header)
    try:
        return base64.b64decode(found[1], validate=True) if found else _no_digest()
    except binascii.Error:
        return _no_digest()


def _no_digest() -> bytes:
    raise PieceRefused(400, "InvalidDigest", "Content-Digest must be sha-256=:BASE64:")


async def _body(request: web.Request, length: int) -> bytes:
    """Exactly so many bytes, however slowly they come, as long as some come."""
    if request.content_length is not None and request.content_length != length:
        raise PieceRefused(400, "InvalidRange", "Content-Length and Content-Range do not fit.")
    content = bytearray()
    try:
        while len(content) <= length:
            async with asyncio.timeout(SILENCE_SECONDS):
                piece = await request.content.read(1 << 18)
            if not piece:
                break
            content += piece
    except TimeoutError:
        raise PieceRefused(408, "RequestTimeout", f"Nothing came for {SILENCE_SECONDS:.0f} s.") from None
    except (web.RequestPayloadError, ConnectionError):
        raise PieceRefused(400, "IncompleteBody", "The piece broke off.") from None
    if len(content) != length:
        raise PieceRefused(400, "IncompleteBody", f"The piece has {len(content)} bytes, not {length}.")
    return bytes(content)


def _wanted(request: web.Request, about: ObjectInfo) -> _Place | None:
    """The part that is asked for; all of it, when the object is not any more what the rest of it was asked of."""
    header, condition = request.headers.get("Range", ""), request.headers.get("If-Range", "")
    found = _RANGE.match(header)
    if not found or (condition and condition != f'"{about.version}"'):
        return _Place(0, about.size)
    start = int(found[1])
    stop = min(int(found[2]) + 1, about.size) if found[2] else about.size
    return _Place(start, stop - start) if start < stop else None
