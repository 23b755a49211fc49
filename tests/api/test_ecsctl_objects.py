"""ecsctl's side of uploads and downloads against the real server: over connections that break it goes on."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.api.edge.registry import HOST
from ecsctl import objects
from ecsctl.client import Client
from ecsctl.config import Settings
from ecsctl.errors import CliError
from ecsctl.progress import Progress
from tests.support.cloud import Cloud

MIB = 1 << 20


class BreakingRelay:
    """Passes TCP streams on to `address`; as many of those that carry much are cut in the middle as `breaks` says."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._target, self.breaks = (host, int(port)), 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            far = socket.create_connection(self._target)
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        count = 0
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
                count += len(data)
                if count > 10 * MIB and self.breaks > 0:
                    self.breaks -= 1
                    break
        except OSError:
            pass  # the other direction was cut
        for end in (source, target):
            with contextlib.suppress(OSError):  # shut already
                end.shutdown(socket.SHUT_RDWR)  # wakes the thread of the other direction
            end.close()


@pytest.fixture
def relay(address: str) -> Iterator[BreakingRelay]:
    made = BreakingRelay(address)
    yield made
    made.close()


@pytest.fixture
def client(relay: BreakingRelay, key: tuple[str, str], cloud: Cloud) -> Iterator[Client]:
    cloud.call("CreateBucket", {"Bucket": "files"}, version=HOST)
    settings = Settings("", f"http://{relay.address}", access_key_id=key[0], access_key_secret=key[1])
    made = Client(settings)
    yield made
    made.close()


def test_a_file_goes_there_and_back_over_connections_that_break(
    client: Client, relay: BreakingRelay, tmp_path: Path
) -> None:
    content = os.urandom(26 * MIB)
    (tmp_path / "file").write_bytes(content)
    with Progress() as progress:
        relay.breaks = 2
        assert objects.send(client, tmp_path / "file", "files", "a/b", progress) == ("files", "a/b")
        assert relay.breaks == 0
        relay.breaks = 2
        objects.fetch(client, "files", "a/b", tmp_path / "again", progress)
    assert relay.breaks == 0
    assert (tmp_path / "again").read_bytes() == content
    assert [name for name in os.listdir(tmp_path) if name.endswith(".part")] == []


def test_what_was_interrupted_goes_on(
    client: Client, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(os.urandom(9 * MIB))
    original, pieces, most = objects._Stream.put, list[int](), 1

    def put(self: objects._Stream, path: str, headers: dict[str, str], piece: bytes) -> tuple[int, dict[str, Any]]:
        if len(pieces) == most:
            raise KeyboardInterrupt
        pieces.append(len(piece))
        return original(self, path, headers, piece)

    monkeypatch.setattr(objects._Stream, "put", put)
    with Progress() as progress:
        with pytest.raises(KeyboardInterrupt):
            objects.send(client, tmp_path / "file", "", "", progress)
        most = 2
        bucket, _ = objects.send(client, tmp_path / "file", "", "", progress)
    assert pieces == [8 * MIB, MIB], "the first piece was there already"
    assert bucket == f"ecs-import-{cloud.account_id}"
    assert cloud.uploads.files.list() == set()


def test_what_cannot_be_sent_is_told_in_one_line(client: Client, tmp_path: Path) -> None:
    with Progress() as progress:
        with pytest.raises(CliError, match="cannot read"):
            objects.send(client, tmp_path / "gone", "files", "x", progress)
        with pytest.raises(CliError, match="cannot read"):
            objects.send(client, tmp_path, "files", "x", progress)
        (tmp_path / "file").write_bytes(b"x")
        with pytest.raises(CliError, match="NoSuchBucket"):
            objects.send(client, tmp_path / "file", "gone", "x", progress)
        with pytest.raises(CliError, match="NoSuchKey"):
            objects.fetch(client, "files", "gone", tmp_path / "out", progress)
