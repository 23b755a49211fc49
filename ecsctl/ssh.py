"""The ssh:// transport: `ecsctl dial-stdio` run on the host by paramiko, each connection its own channel."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import paramiko

from ecsctl.errors import Unreachable

REMOTE_COMMAND = "ecsctl dial-stdio"
_GLOBAL_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")
_CHUNK = 65536
_GONE = (OSError, EOFError, paramiko.SSHException)  # what a channel raises whose connection has ended


class SshTransport:
    """Connects at the first use. Host name, user, port and keys as `~/.ssh/config` has them; the host's key must
    be in known_hosts."""

    host, peer_known = "localhost", True

    def __init__(self, name: str, port: int | None, user: str | None) -> None:
        shown = f"{user}@{name}" if user else name
        self.endpoint = f"ssh://{shown}:{port}" if port else f"ssh://{shown}"
        self.failure = ""
        self._name, self._port, self._user = name, port, user
        self._client: paramiko.SSHClient | None = None

    def connect(self, timeout: float) -> socket.socket:
        client = self._client = self._client or self._login(timeout)
        transport = client.get_transport()
        try:
            if transport is None:
                raise paramiko.SSHException("the connection is closed")
            channel = transport.open_session(timeout=timeout)
            channel.exec_command(REMOTE_COMMAND)
        except (paramiko.SSHException, OSError) as error:
            self.close()
            raise Unreachable(f"cannot run `{REMOTE_COMMAND}` through {self.endpoint}: {error}") from None
        near, far = socket.socketpair()
        near.settimeout(timeout)
        threading.Thread(target=_upward, args=(far, channel), daemon=True).start()
        threading.Thread(target=self._downward, args=(channel, far), daemon=True).start()
        return near

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _login(self, timeout: float) -> paramiko.SSHClient:
        entry = _ssh_config_entry(self._name)
        client = paramiko.SSHClient()
        client.load_system_host_keys()
        if _GLOBAL_KNOWN_HOSTS.exists():
            client.load_system_host_keys(str(_GLOBAL_KNOWN_HOSTS))
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        try:
            client.connect(
                entry.get("hostname", self._name),
                port=self._port or int(entry.get("port", "22")),
                username=self._user or entry.get("user"),
                key_filename=[path for path in entry.get("identityfile", []) if Path(path).exists()],  # type: ignore[arg-type]
                timeout=timeout,
                banner_timeout=timeout,
                auth_timeout=timeout,
            )
        except (paramiko.SSHException, OSError) as error:
            client.close()
            raise Unreachable(f"cannot reach {self.endpoint}: {_reason(error)}") from None
        return client

    def _downward(self, channel: paramiko.Channel, far: socket.socket) -> None:
        """Channel to socket; at the end, what the remote command had to say is kept in `failure`."""
        try:
            while data := channel.recv(_CHUNK):
                far.sendall(data)
            status = channel.recv_exit_status()
            said = channel.makefile_stderr("rb").read().decode(errors="replace").strip()
            if status:
                self.failure = f"`{REMOTE_COMMAND}` on the host ended with {status}: {said or 'no message'}"
        except _GONE as error:
            self.failure = self.failure or str(error)
        finally:
            _shut(far, socket.SHUT_WR)
            channel.close()


def _upward(far: socket.socket, channel: paramiko.Channel) -> None:
    """Socket to channel, until the near end is closed or the channel is gone."""
    try:
        while data := far.recv(_CHUNK):
            channel.sendall(data)
        channel.shutdown_write()
    except _GONE:
        _shut(far, socket.SHUT_RD)


def _shut(end: socket.socket, how: int) -> None:
    """Shut a socket down that the other side may have closed already."""
    try:
        end.shutdown(how)
    except OSError:
        end.close()


def _ssh_config_entry(name: str) -> paramiko.SSHConfigDict:
    path = Path.home() / ".ssh" / "config"
    config = paramiko.SSHConfig()
    if path.is_file():
        try:
            config = paramiko.SSHConfig.from_path(str(path))
        except (paramiko.SSHException, OSError, UnicodeDecodeError) as error:
            raise Unreachable(f"cannot understand {path}: {error}") from None
    return config.lookup(name)


def _reason(error: Exception) -> str:
    if isinstance(error, paramiko.BadHostKeyException):
        return "the host's key is not the one in known_hosts: if it was reinstalled, `ssh-keygen -R` the old key"
    if isinstance(error, paramiko.AuthenticationException):
        return "the host accepts none of our keys: check that `ssh` logs in without a password"
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    if "not found in known_hosts" in text:
        return "the host's key is not in known_hosts: log in once with `ssh` to check and keep it"
    return text
