"""Sockets to listen on, and who is at the other end."""

from __future__ import annotations

import asyncio
import errno
import grp
import ipaddress
import logging
import os
import pwd
import socket
import stat
import struct
import tempfile
from pathlib import Path

from agent.api.edge.request import Peer

logger = logging.getLogger(__name__)

_SO_PEERGROUPS = 59  # <asm-generic/socket.h>; the socket module does not name it
_LARGEST_OPTION = 1024  # bytes; Python reads no longer option


class ListenError(Exception):
    """An address cannot be listened on; one line."""


def parse_address(text: str, key: str) -> tuple[str, int]:
    """`127.0.0.1:8800` or `[::1]:8800`; `key` is the configuration's name for it. Raises ListenError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ListenError(f'{key} = "{text}" is not an address to listen on, such as 127.0.0.1:8800')
    return host, int(port)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def local_host(host: str) -> str:
    """Where a program on this host finds what listens on `host`, as a URL says it."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def unix_socket(path: Path, group: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A bound socket that root and the members of `group` (if it exists) may connect to. Raises ListenError."""
    _remove_stale(path, kind)
    listener = socket.socket(socket.AF_UNIX, kind)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made in a private directory and moved into place, so that nobody can connect before the mode is right.
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as private:
            made = Path(private) / "s"
            listener.bind(str(made))
            _hand_to_group(made, group)
            listener.listen(128)
            made.rename(path)
    except OSError as error:
        listener.close()
        raise ListenError(f"cannot listen on {path}: {error.strerror or error}") from None
    return listener


def _remove_stale(path: Path, kind: int) -> None:
    """A socket nobody listens on goes; one that answers belongs to a running agent."""
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise ListenError(f"cannot listen on {path}: something that is no socket is in its place")
    with socket.socket(socket.AF_UNIX, kind) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            raise ListenError(f"cannot listen on {path}: {error.strerror or error}") from None
    raise ListenError(f"cannot listen on {path}: another agent does already")


def _hand_to_group(path: Path, group: str) -> None:
    try:
        gid = grp.getgrnam(group).gr_gid if group else None
    except KeyError:
        logger.info("the group %s does not exist: only root may use the unix socket", group)
        gid = None
    if gid is not None:
        os.chown(path, -1, gid)
    path.chmod(0o660 if gid is not None else 0o600)


def peer_of(transport: asyncio.BaseTransport | None) -> Peer:
    """Who is at the other end of a connection; an empty Peer when it is gone already."""
    connection = transport.get_extra_info("socket") if transport is not None else None
    if transport is None or connection is None:
        return Peer()
    if connection.family == socket.AF_UNIX:
        return unix_peer(connection)
    name = transport.get_extra_info("peername")
    secure = transport.get_extra_info("sslcontext") is not None
    return Peer(address=_plain_address(name[0]) if name else "", secure=secure)


def _plain_address(text: str) -> str:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def unix_peer(connection: socket.socket) -> Peer:
    """Who connected to a unix socket, and with which groups."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, gid = struct.unpack("3I", raw)
    return Peer(uid=uid, groups=frozenset({gid, *_further_groups(connection, uid, gid)}), secure=True)


def _further_groups(connection: socket.socket, uid: int, gid: int) -> list[int]:
    """The groups the process had when it connected, not those its user would have at the next login."""
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _LARGEST_OPTION)
        return list(struct.unpack(f"{len(raw) // 4}I", raw))
    except OSError as error:
        if error.errno not in (errno.ERANGE, errno.ENOPROTOOPT):
            raise
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return []
