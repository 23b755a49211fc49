"""Servers for the tests of the edge."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api.live import Edge, build


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


@pytest.fixture
def make_edge(loop: asyncio.AbstractEventLoop) -> Iterator[Callable[..., Edge]]:
    """`make_edge(https="127.0.0.1:0", socket_group="…")`; every user may reach the directories, not the files."""
    made: list[Edge] = []
    with tempfile.TemporaryDirectory(prefix="edge-") as directory:
        Path(directory).chmod(0o711)

        def make(**options: str) -> Edge:
            made.append(build(Path(directory) / str(len(made)), loop, **options))
            return made[-1]

        yield make
        for edge in made:
            edge.close()


@pytest.fixture
def edge(make_edge: Callable[..., Edge]) -> Edge:
    return make_edge()
