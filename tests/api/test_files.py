"""The door for files: what local users hand over gets a handle that lives as long as their connection."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.api.edge import files
from agent.api.edge.files import FileDoor
from agent.jobs.open_files import OpenFiles
from tests.support.waiting import wait_for


@pytest.fixture
def open_files() -> OpenFiles:
    return OpenFiles()


@pytest.fixture
def door(open_files: OpenFiles, loop: asyncio.AbstractEventLoop, tmp_path: Path) -> Iterator[Path]:
    """Its socket."""
    made = FileDoor(open_files, tmp_path / "files.sock", "")
    asyncio.run_coroutine_threadsafe(made.start(), loop).result(10)
    yield tmp_path / "files.sock"
    asyncio.run_coroutine_threadsafe(made.stop(), loop).result(10)
    assert not (tmp_path / "files.sock").exists()


def connected(door: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(10)
    connection.connect(str(door))
    return connection


def hand_over(connection: socket.socket, descriptors: list[int], packet: bytes = b'{"Name": "disk.raw"}') -> dict:
    socket.send_fds(connection, [packet], descriptors)
    return json.loads(connection.recv(4096))


def known(open_files: OpenFiles, handle: str) -> bool:
    with open_files.opened(handle) as file:
        return file is not None


def test_a_handle_lives_as_long_as_the_connection(door: Path, open_files: OpenFiles, tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(b"content")
    with connected(door) as connection, (tmp_path / "disk.raw").open("rb") as stream:
        handles = [hand_over(connection, [stream.fileno()])["Handle"] for _ in range(2)]
        assert len(set(handles)) == 2
        with open_files.opened(handles[0]) as file:
            assert file is not None
            assert (os.pread(file.descriptor, 100, 0), file.name) == (b"content", "disk.raw")
            assert not os.get_inheritable(file.descriptor)
    for handle in handles:
        wait_for("the handle's end", lambda handle=handle: not known(open_files, handle), 10)


def test_what_is_no_file_is_refused(door: Path, open_files: OpenFiles, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    with connected(door) as connection:
        file = os.open(tmp_path / "file", os.O_RDONLY)
        pipe = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        directory = os.open(tmp_path, os.O_RDONLY)
        device = os.open("/dev/null", os.O_RDONLY)
        for descriptor in (pipe, directory, device):
            assert "no regular file" in hand_over(connection, [descriptor])["Error"]
        for packet in (b"x", b"[]", b'{"Name": 5}', b'{"Name": ""}', b'{"Name": "a\\nb"}', b"\xff"):
            assert "Error" in hand_over(connection, [file], packet)
        assert "exactly one" in hand_over(connection, [])["Error"]
        assert "exactly one" in hand_over(connection, [file, file])["Error"]
        assert "too many files" in hand_over(connection, [file] * 3)["Error"]
        for _ in range(files.MAX_FILES):
            assert "Handle" in hand_over(connection, [file])
        assert str(files.MAX_FILES) in hand_over(connection, [file])["Error"]
        for descriptor in (file, pipe, directory, device):
            os.close(descriptor)
    wait_for("all descriptors' end", lambda: len(os.listdir("/proc/self/fd")) <= before, 10)


def test_only_the_owner_of_the_host_gets_in(door: Path) -> None:
    assert door.stat().st_mode & 0o777 == 0o600
    assert door.stat().st_uid == 0
