"""The ways to an agent: unix socket, http, https, ssh. Each gives connected stream sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from ecsctl.errors import CliError, Unreachable

if TYPE_CHECKING:
    from ecsctl.config import Settings

HTTP_PORT, HTTPS_PORT = 8800, 8443


class Transport(Protocol):
    """`host` is what the Host header says; `peer_known`: the far end identifies us without an access key;
    `failure`: why a connection that was made ended early, if the transport knows."""

    endpoint: str
    host: str
    peer_known: bool
    failure: str

    def connect(self, timeout: float) -> socket.socket:
        """A connected stream socket with `timeout` seconds set; Unreachable with the reason."""
        ...

    def close(self) -> None:
        """Give up what connections share."""
        ...


class UnixTransport:
    host, peer_known, failure = "localhost", True, ""

    def __init__(self, path: str) -> None:
        self.path, self.endpoint = path, f"unix://{path}"

    def connect(self, timeout: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect(self.path)
        except OSError as error:
            connection.close()
            raise Unreachable(f"cannot reach the agent at {self.endpoint}: {self._reason(error)}") from None
        return connection

    def close(self) -> None:
        """Nothing is shared."""

    def _reason(self, error: OSError) -> str:
        if isinstance(error, PermissionError):
            return "permission denied: use sudo, or become a member of the socket's group (`ecs`), or use an access key"
        if isinstance(error, FileNotFoundError):
            return "no such socket: is the agent running? (`sudo scripts/quickstart` starts it)"
        if isinstance(error, ConnectionRefusedError):
            return "nobody listens: is the agent running? (`sudo scripts/quickstart` starts it)"
        return error.strerror or str(error)


class TcpTransport:
    peer_known, failure = False, ""

    def __init__(self, host: str, port: int, *, tls: bool, ca: str = "") -> None:
        self.name, self.port, self.tls, self.ca = host, port, tls, ca
        shown = f"[{host}]" if ":" in host else host
        self.host = f"{shown}:{port}"
        self.endpoint = f"{'https' if tls else 'http'}://{self.host}"

    def connect(self, timeout: float) -> socket.socket:
        try:
            connection = socket.create_connection((self.name, self.port), timeout)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise Unreachable(f"cannot reach the agent at {self.endpoint}: {error.strerror or error}") from None
        return self._wrap(connection) if self.tls else connection

    def close(self) -> None:
        """Nothing is shared."""

    def _wrap(self, connection: socket.socket) -> socket.socket:
        import ssl

        try:
            context = ssl.create_default_context(cafile=self.ca or None)
        except (OSError, ssl.SSLError) as error:
            connection.close()
            raise CliError(f"cannot use the CA file {self.ca}: {error.strerror or error}") from None
        try:
            return context.wrap_socket(connection, server_hostname=self.name)
        except ssl.SSLCertVerificationError as error:
            connection.close()
            advice = f"it is not signed by {self.ca}" if self.ca else "name the agent's CA file with ECSCTL_CA"
            raise Unreachable(
                f"the certificate of {self.endpoint} is not trusted: {error.verify_message}: {advice}"
            ) from None
        except OSError as error:
            connection.close()
            raise Unreachable(f"no TLS with {self.endpoint}: {error.strerror or error}") from None


def open_transport(settings: Settings) -> Transport:
    """The transport of an endpoint; CliError for a text that is none."""
    endpoint = settings.endpoint
    parts = urlsplit(endpoint)
    try:
        port = parts.port
    except ValueError:
        raise CliError(f"endpoint {endpoint!r}: the port must be a number up to 65535") from None
    if parts.scheme == "unix" and not parts.netloc and os.path.isabs(parts.path):
        return UnixTransport(unquote(parts.path))
    if parts.scheme in ("http", "https") and parts.hostname and parts.path in ("", "/"):
        tls = parts.scheme == "https"
        ca = str(Path(settings.ca).expanduser()) if settings.ca else ""
        return TcpTransport(parts.hostname, port or (HTTPS_PORT if tls else HTTP_PORT), tls=tls, ca=ca)
    if parts.scheme == "ssh" and parts.hostname and parts.path in ("", "/"):
        from ecsctl.ssh import SshTransport

        return SshTransport(parts.hostname, port, unquote(parts.username) if parts.username else None)
    raise CliError(
        f"endpoint {endpoint!r} ({settings.origins.get('endpoint', 'given')}) must be unix:///PATH, http://HOST:PORT, "
        "https://HOST:PORT or ssh://USER@HOST[:PORT]"
    )
