"""The door for files: programs on this host hand over files that they opened themselves, so that the agent reads what
they may read, and opens no path that anybody names.

A unix socket of packets beside the API's, for the same users. A packet is `{"Name": "disk.vmdk"}` with one descriptor;
the answer is `{"Handle": "file-…"}`, good in actions while the connection lives, or `{"Error": "…"}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import stat
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from agent.api.edge import listen
from agent.api.edge.authenticate import is_administrator
from agent.jobs.open_files import OpenFiles

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 128
MAX_FILES = 32  # of one connection
MAX_PACKET = 4096  # bytes
MAX_NAME = 255  # characters


class _Refused(Exception):
    """One line for the caller."""


class FileDoor:
    """Puts what comes in into `open_files`, and takes it out when the caller hangs up."""

    def __init__(self, open_files: OpenFiles, path: Path, group: str) -> None:
        self._open_files, self._path, self._group = open_files, path, group
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises ListenError."""
        self._listener = listen.unix_socket(self._path, self._group, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        self._spawn(self._accept(self._listener))

    async def stop(self) -> None:
        """Hang up on everybody. Repeatable."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._path.unlink(missing_ok=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            if len(self._tasks) > MAX_CONNECTIONS:
                logger.warning("more than %d programs hand over files at once: one is sent away", MAX_CONNECTIONS)
                connection.close()
            else:
                self._spawn(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        handles: list[str] = []
        try:
            while await _readable(connection):
                try:
                    if not (packet := _receive(connection)):
                        return
                    answer = {"Handle": self._take(connection, *packet, handles)}
                except _Refused as refusal:
                    answer = {"Error": str(refusal)}
                await asyncio.get_running_loop().sock_sendall(connection, json.dumps(answer).encode())
        except OSError as error:
            logger.info("a program that handed over files is gone: %s", error)
        finally:
            connection.close()
            for handle in handles:
                self._open_files.drop(handle)

    def _take(self, connection: socket.socket, text: bytes, descriptors: list[int], handles: list[str]) -> str:
        with contextlib.ExitStack() as unused:
            for descriptor in descriptors:
                unused.callback(os.close, descriptor)
            peer = listen.unix_peer(connection)
            if not is_administrator(peer.uid, peer.groups, self._group):
                raise _Refused("you are neither root nor a member of the socket's group")
            if len(handles) >= MAX_FILES:
                raise _Refused(f"one connection may hand over {MAX_FILES} files")
            if len(descriptors) != 1:
                raise _Refused("exactly one open file belongs to each packet")
            if not stat.S_ISREG(os.fstat(descriptors[0]).st_mode):
                raise _Refused("it is no regular file; devices, pipes and directories are not taken")
            name = _name(text)
            unused.pop_all()
        handles.append(self._open_files.put(descriptors[0], name))
        return handles[-1]


async def _readable(connection: socket.socket) -> bool:
    """True, once there is something to receive."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        return await ready.wait()
    finally:
        loop.remove_reader(connection)


def _receive(connection: socket.socket) -> tuple[bytes, list[int]] | None:
    """A packet and its descriptors, now ours; None when the caller has hung up."""
    text, descriptors, flags, _ = socket.recv_fds(connection, MAX_PACKET, 2, socket.MSG_CMSG_CLOEXEC)
    if not text and not descriptors:
        return None
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        for descriptor in descriptors:
            os.close(descriptor)
        raise _Refused("the packet is too long, or too many files came with it")
    return text, list(descriptors)


def _name(text: bytes) -> str:
    try:
        name = json.loads(text)["Name"]
    except (ValueError, TypeError, KeyError):
        raise _Refused('a packet must be {"Name": "…"}') from None
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise _Refused(f"a name must have 1 to {MAX_NAME} printable characters")
    return name
