"""Objects of buckets on their way to the agent and from it, in pieces: whatever breaks off goes on where it was."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path

from ecsctl.client import OWN, Client, Json
from ecsctl.errors import ApiError, CliError, NotFound, Unreachable, UsageFault
from ecsctl.progress import Progress

PIECE = 8 << 20
_READ = 1 << 20
_PATIENCE_SECONDS = 60.0  # with an agent that is away, as while it restarts
_PAUSE_SECONDS = 0.5
_ANSWER_SECONDS = 600.0  # the last piece is answered when all of a large object was read again

Request = Callable[[HTTPConnection], HTTPResponse]


def parse_address(text: str) -> tuple[str, str]:
    """Bucket and object of `oss://BUCKET/OBJECT` or `BUCKET/OBJECT`; the object is empty where only a bucket is
    named. UsageFault without a bucket."""
    bucket, _, key = text.removeprefix("oss://").partition("/")
    if not bucket:
        raise UsageFault(f"{text!r} names no bucket: BUCKET/OBJECT, or oss://BUCKET/OBJECT")
    return bucket, key


def send(client: Client, source: Path, bucket: str, key: str, progress: Progress) -> tuple[str, str]:
    """Make a file an object; bucket and name of what it is. Without a bucket it is kept only to be imported.

    Repeated after whatever broke it off, it goes on. CliError when the file cannot be read or changes meanwhile.
    """
    try:
        with open(source, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            sha256 = _sha256(stream.fileno(), size, f"reading {source.name}", progress)
            key = key or f"{sha256[:16]}-{source.name}"
            wanted = {"Bucket": bucket, "Object": key, "Size": size, "Sha256": sha256}
            upload = client.call("CreateUpload", OWN, **wanted)
            _Sender(client, upload, stream.fileno(), size, progress).send()
    except OSError as error:
        raise CliError(f"cannot read {source}: {error.strerror or error}") from None
    _complete(client, upload)
    return str(upload["Bucket"]), str(upload["Object"])


def _complete(client: Client, upload: Json) -> None:
    try:
        client.call("CompleteUpload", OWN, UploadId=upload["UploadId"])
    except Unreachable:
        # Whether it took effect is not known; if it did, there is nothing left to complete.
        _patiently(lambda: _complete_again(client, upload))


def _complete_again(client: Client, upload: Json) -> None:
    try:
        client.call("CompleteUpload", OWN, UploadId=upload["UploadId"])
    except ApiError as error:
        if error.code != "NoSuchUpload":
            raise


class _Sender:
    """Sends what is missing of an upload."""

    def __init__(self, client: Client, upload: Json, descriptor: int, size: int, progress: Progress) -> None:
        self._client, self._upload, self._descriptor, self._size = client, upload, descriptor, size
        self._progress = progress
        self._path, self._offset = str(upload["Path"]), int(upload["Offset"])
        self._stream = _Stream(client)

    def send(self) -> None:
        try:
            while self._offset < self._size:
                percent = 100 * self._offset // self._size
                self._progress.share(f"sending {self._upload['Object']}", percent, _mib(self._offset, self._size))
                self._send_piece()
        finally:
            self._stream.close()

    def _send_piece(self) -> None:
        piece = os.pread(self._descriptor, min(PIECE, self._size - self._offset), self._offset)
        if len(piece) < min(PIECE, self._size - self._offset):
            raise CliError("the file became shorter while it was sent")
        try:
            status, answer = self._stream.put(self._path, self._headers(piece), piece)
        except (HTTPException, OSError, Unreachable):
            self._stream.close()
            self._look_again()
            return
        if status in (200, 409):
            self._offset = int(answer.get("Offset", self._offset))
        elif status == 422 and answer.get("Offset") == 0:
            raise CliError(f"the file changed while it was sent: {answer.get('Message')}")
        else:
            raise CliError(f"the agent refuses to take more: {answer.get('Message', f'HTTP {status}')}")

    def _headers(self, piece: bytes) -> dict[str, str]:
        digest = base64.b64encode(hashlib.sha256(piece).digest()).decode()
        return {
            "Content-Range": f"bytes {self._offset}-{self._offset + len(piece) - 1}/{self._size}",
            "Content-Digest": f"sha-256=:{digest}:",
        }

    def _look_again(self) -> None:
        """How far it came, once the agent answers again."""
        found = _patiently(lambda: self._client.call("DescribeUpload", OWN, UploadId=self._upload["UploadId"]))
        self._path, self._offset = str(found["Path"]), int(found["Offset"])


def fetch(client: Client, bucket: str, key: str, target: Path, progress: Progress) -> None:
    """Make an object a file, which has its name when it is whole. Repeated after whatever broke it off, it goes on.

    CliError when the file cannot be written.
    """
    about = client.call("OpenDownload", OWN, Bucket=bucket, Object=key)
    stream = _Stream(client)
    try:
        version = stream.version(str(about["Path"]))
        mark = hashlib.sha256(f"{bucket}/{key} {version}".encode()).hexdigest()[:12]
        partial = target.with_name(f".{target.name}.{mark}.part")
        with open(partial, "ab") as output:
            _Receiver(client, stream, about, version, progress).receive(output.fileno())
            os.fsync(output.fileno())
        partial.rename(target)
    except OSError as error:
        raise CliError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        stream.close()


class _Receiver:
    def __init__(self, client: Client, stream: _Stream, about: Json, version: str, progress: Progress) -> None:
        self._client, self._stream, self._version, self._progress = client, stream, version, progress
        self._path, self._size = str(about["Path"]), int(about["Size"])

    def receive(self, descriptor: int) -> None:
        while (here := os.fstat(descriptor).st_size) < self._size:
            try:
                self._receive_from(descriptor, here)
            except (HTTPException, ConnectionError, TimeoutError, Unreachable):
                self._stream.close()
                _patiently(lambda: self._client.call("DescribeRegions"))

    def _receive_from(self, descriptor: int, start: int) -> None:
        response = self._stream.get(self._path, {"Range": f"bytes={start}-", "If-Range": self._version})
        if response.status not in (200, 206):
            raise CliError(f"the agent refuses the object: {_message(response)}")
        if start and response.status == 200:
            raise CliError("the object changed while it was fetched: try again")
        while piece := response.read(_READ):
            os.write(descriptor, piece)
            start += len(piece)
            self._progress.share("fetching", 100 * start // max(1, self._size), _mib(start, self._size))


class _Stream:
    """A connection for pieces, made anew when it broke."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._connection: HTTPConnection | None = None

    def put(self, path: str, headers: dict[str, str], piece: bytes) -> tuple[int, Json]:
        connection = self._connected()
        connection.request("PUT", path, piece, headers)
        response = connection.getresponse()
        content = response.read()
        if response.will_close:
            self.close()
        answer = json.loads(content) if response.headers.get_content_type() == "application/json" else {}
        return response.status, answer

    def get(self, path: str, headers: dict[str, str]) -> HTTPResponse:
        self.close()  # what is left of an answer before must not be taken for this one's
        connection = self._connected(self._client.timeout)
        connection.request("GET", path, headers=headers)
        return connection.getresponse()

    def version(self, path: str) -> str:
        """The object's ETag."""
        try:
            connection = self._connected()
            connection.request("HEAD", path)
            response = connection.getresponse()
            response.read()
        except (HTTPException, OSError) as error:
            raise Unreachable(f"the connection to {self._client.transport.endpoint} broke: {error}") from None
        if response.status != 200:
            raise NotFound("the object is not there any more")
        return response.headers.get("ETag", "")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self, timeout: float = _ANSWER_SECONDS) -> HTTPConnection:
        if self._connection is None:
            connection = HTTPConnection(self._client.transport.host)
            connection.sock = self._client.connect(timeout)
            connection.auto_open = 0
            self._connection = connection
        return self._connection


def _patiently(call: Callable[[], Json | None]) -> Json:
    """The answer, also of an agent that is away for a while."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return call() or {}
        except Unreachable:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE_SECONDS)


def _sha256(descriptor: int, size: int, doing: str, progress: Progress) -> str:
    digest, done = hashlib.sha256(), 0
    while piece := os.pread(descriptor, PIECE, done):
        digest.update(piece)
        done += len(piece)
        progress.share(doing, 100 * done // max(size, done))
    return digest.hexdigest()


def _message(response: HTTPResponse) -> str:
    try:
        return str(json.loads(response.read())["Message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status}"


def _mib(done: int, size: int) -> str:
    return f"{done >> 20}/{size >> 20} MiB"
