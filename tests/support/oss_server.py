"""A small OSS-compatible object store for tests: it keeps objects in memory and answers nothing that is not signed with
its key, version 1 or 4. Buckets are in the path, as of a store that is known by its address."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

KEY_ID, SECRET, REGION = "test-key", "test-secret-nobody-may-see", "test-region"
_SUBRESOURCES = ("uploads", "uploadId", "partNumber", "continuation-token")


class OssServer:
    """`objects`: content by (bucket, key). `versions`: of the signatures that were right. `redirect`: where every
    answer leads to, if it is set."""

    def __init__(self, buckets: tuple[str, ...]) -> None:
        self.buckets = buckets
        self.objects: dict[tuple[str, str], bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.versions: set[str] = set()
        self.redirect = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def _handler(store: OssServer) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        pass

    Handler.store = store
    return Handler


class _Handler(BaseHTTPRequestHandler):
    store: OssServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _begin(self) -> bool:
        """Whether the request may go on: it is signed, and of a bucket that is there."""
        parts = urlsplit(self.path)
        self.bucket, _, self.key = unquote(parts.path).lstrip("/").partition("/")
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        length = int(self.headers.get("Content-Length") or 0)
        self.content = self.rfile.read(length)
        if self.store.redirect:
            self._answer(307, headers={"Location": self.store.redirect})
            return False
        if not self._signed():
            self._fail(403, "SignatureDoesNotMatch")
            return False
        if self.bucket not in self.store.buckets:
            self._fail(404, "NoSuchBucket")
            return False
        return True

    # ------------------------------------------------------------------------ signatures

    def _signed(self) -> bool:
        given = self.headers.get("Authorization", "")
        wanted = self._version_4() if given.startswith("OSS4-") else self._version_1()
        right = hmac.compare_digest(given, wanted)
        if right:
            self.store.versions.add(given.split("-")[0].split()[0])
        return right

    def _version_1(self) -> str:
        named = sorted((k.lower(), v) for k, v in self.headers.items() if k.lower().startswith("x-oss-"))
        sub = sorted((k, v) for k, v in self.query.items() if k in _SUBRESOURCES)
        resource = f"/{self.bucket}/{self.key}"
        if sub:
            resource += "?" + "&".join(f"{k}={v}" if v else k for k, v in sub)
        lines = [self.command, self.headers.get("Content-MD5", ""), self.headers.get("Content-Type", "")]
        text = "\n".join([*lines, self.headers.get("Date", ""), "".join(f"{k}:{v}\n" for k, v in named) + resource])
        digest = hmac.new(SECRET.encode(), text.encode(), hashlib.sha1).digest()
        return f"OSS {KEY_ID}:{base64.b64encode(digest).decode()}"

    def _version_4(self) -> str:
        moment = self.headers.get("x-oss-date", "")
        scope = f"{moment[:8]}/{REGION}/oss/aliyun_v4_request"
        signed = ("content-type", "content-md5")
        named = [
            (k.lower(), v) for k, v in self.headers.items() if k.lower().startswith("x-oss-") or k.lower() in signed
        ]
        query = sorted((quote(k, safe=""), quote(v, safe="")) for k, v in self.query.items())
        canonical = [
            self.command,
            quote(f"/{self.bucket}/{self.key}"),
            "&".join(f"{k}={v}" if v else k for k, v in query),
            "".join(f"{k}:{v}\n" for k, v in sorted(named)),
            "",
            "UNSIGNED-PAYLOAD",
        ]
        text = f"OSS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(chr(10).join(canonical).encode()).hexdigest()}"
        key = f"aliyun_v4{SECRET}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        return f"OSS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, Signature={signature}"

    # ------------------------------------------------------------------------ requests

    def do_HEAD(self) -> None:
        if self._begin():
            self._object(body=False)

    def do_GET(self) -> None:
        if not self._begin():
            return
        if self.key:
            self._object(body=True)
            return
        prefix = self.query.get("prefix", "")
        found = sorted(
            (k, v) for (bucket, k), v in self.store.objects.items() if bucket == self.bucket and k.startswith(prefix)
        )
        rows = "".join(
            f"<Contents><Key>{escape(k)}</Key><LastModified>2026-11-23T07:35:12.000Z</LastModified>"
            f"<ETag>{_etag(v)}</ETag><Type>Normal</Type><Size>{len(v)}</Size><StorageClass>Standard</StorageClass>"
            "</Contents>"
            for k, v in found
        )
        self._answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode())

    def _object(self, *, body: bool) -> None:
        content = self.store.objects.get((self.bucket, self.key))
        if content is None:
            self._fail(404, "NoSuchKey")
            return
        status, headers = 200, {"ETag": _etag(content), "Last-Modified": formatdate(1795419312, usegmt=True)}
        if wanted := self.headers.get("Range"):
            first, last = wanted.removeprefix("bytes=").split("-")
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            status, content = 206, content[int(first) : int(last) + 1]
        self._answer(status, content, headers, body=body)

    def do_POST(self) -> None:
        if not self._begin():
            return
        if "uploads" in self.query:
            upload_id = f"upload{len(self.store.parts)}"
            self.store.parts[upload_id] = {}
            inner = f"<Bucket>{self.bucket}</Bucket><Key>{escape(self.key)}</Key><UploadId>{upload_id}</UploadId>"
            self._answer(200, f"<InitiateMultipartUploadResult>{inner}</InitiateMultipartUploadResult>".encode())
            return
        parts = self.store.parts.pop(self.query["uploadId"])
        self.store.objects[self.bucket, self.key] = b"".join(parts[number] for number in sorted(parts))
        self._answer(200, b"<CompleteMultipartUploadResult></CompleteMultipartUploadResult>", {"ETag": '"whole"'})

    def do_PUT(self) -> None:
        if self._begin():
            self.store.parts[self.query["uploadId"]][int(self.query["partNumber"])] = self.content
            self._answer(200, headers={"ETag": _etag(self.content)})

    def do_DELETE(self) -> None:
        if not self._begin():
            return
        if "uploadId" in self.query:
            self.store.parts.pop(self.query["uploadId"], None)
        else:
            self.store.objects.pop((self.bucket, self.key), None)
        self._answer(204)

    def _fail(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>refused</Message></Error>".encode())

    def _answer(
        self, status: int, content: bytes = b"", headers: dict[str, str] | None = None, *, body: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in {"x-oss-request-id": "test", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(content)


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest().upper()}"'
