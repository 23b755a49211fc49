"""A distribution that publishes images: a web server on loopback, with range requests, and a signing key of its own."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NAME = "distro.qcow2"


class Distribution:
    """`files` are what it serves, by path. As a context manager: it listens, by https with `certificate` if `tls`."""

    def __init__(self, directory: Path, *, tls: bool = False) -> None:
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []  # path and Range of each request
        self.break_after: int | None = None  # bytes of a body, after which the connection ends, once
        self.hold = threading.Event()  # while it is not set, the image comes slowly after its first half
        self.hold.set()
        self.tags = True  # whether it names versions
        self.certificate = directory / "certificate.pem"
        self._home = tempfile.mkdtemp(prefix="ecs-gpg-")  # short of name, as it holds sockets
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        if tls:
            self._server.socket = _context(self.certificate).wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Distribution:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        # An agent that gpg started stays for a while otherwise.
        subprocess.run(["gpgconf", "--homedir", self._home, "--kill", "gpg-agent"], check=True)
        shutil.rmtree(self._home)

    # -------------------------------------------------------------------------- publishing

    def publish(self, content: bytes, *, name: str = NAME) -> str:
        """A new version of the image, in a list of checksums that is not signed; its checksum."""
        self.files[f"/{name}"] = content
        digest = hashlib.sha256(content).hexdigest()
        self.files["/SUMS"] = f"{'0' * 64}  other.qcow2\n{digest} *{name}\n".encode()
        return f"sha256:{digest}"

    def new_key(self, user: str = "distro") -> str:
        """A key to sign with; its fingerprint. The public one is served."""
        made = self._gpg("--status-fd", "1", "--quick-gen-key", user, "ed25519", "sign", "never")
        self.files["/key"] = self._gpg("--armor", "--export", user)
        return made.decode().split()[-1]

    def sign(self, user: str = "distro", *, clear: bool = False) -> None:
        """Sign the list of checksums, in a file of its own or within."""
        how = ("--clear-sign",) if clear else ("--detach-sign",)
        signed = self._gpg(*how, "--local-user", user, stdin=self.files["/SUMS"])
        self.files["/SUMS" if clear else "/SUMS.gpg"] = signed

    def recipe(self, fingerprint: str = "", *, clear: bool = False, **more: str) -> dict[str, Any]:
        """The table `download` of a recipe."""
        table: dict[str, Any] = {"url": f"{self.url}/{NAME}", "checksums": f"{self.url}/SUMS", "algorithm": "sha256"}
        if fingerprint:
            table |= {"key": f"{self.url}/key", "fingerprints": [fingerprint]}
            table |= {} if clear else {"signature": f"{self.url}/SUMS.gpg"}
        return table | more

    def ranges(self) -> list[str]:
        """Of the requests for the image."""
        return [wanted for path, wanted in self.asked if path == f"/{NAME}"]

    def _gpg(self, *arguments: str, stdin: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", self._home, "--batch", "--quiet", "--passphrase", "", *arguments]
        return subprocess.run(
            command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        ).stdout


def _handler(distribution: Distribution) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            distribution.asked.append((self.path, wanted))
            if target := distribution.redirects.get(self.path):
                self.send_response(302)
                self.send_header("Location", target)
                self.end_headers()
            elif self.path in distribution.files:
                self._serve(distribution.files[self.path], wanted)
            else:
                self.send_error(404)

        def _serve(self, content: bytes, wanted: str) -> None:
            tag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
            begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if begin and self.headers.get("If-Range") != tag:
                begin = 0
            if begin > len(content):
                self.send_error(416)
                return
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
            if distribution.tags:
                self.send_header("ETag", tag)
            self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            self._send(content[begin:])

        def _send(self, body: bytes) -> None:
            if distribution.break_after is not None and len(body) > distribution.break_after:
                self.wfile.write(body[: distribution.break_after])
                distribution.break_after = None
                self.close_connection = True
                return
            half = len(body) // 2
            self.wfile.write(body[:half])
            while self.path == f"/{NAME}" and not distribution.hold.wait(0.2):
                try:
                    self.wfile.write(body[half : half + 1])
                except OSError:
                    return  # nobody wants it any more
                half += 1
            self.wfile.write(body[half:])

        def log_message(self, *_: object) -> None:
            return

    return Handler


def _context(certificate: Path) -> ssl.SSLContext:
    """With a certificate for 127.0.0.1 that is its own authority, written to `certificate`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "distro")]), dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = certificate.with_suffix(".key")
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    os.chmod(private, 0o600)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    return context
