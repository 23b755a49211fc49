"""Agents that are killed where a test says so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support.agent import AgentProcess


@contextlib.contextmanager
def crash_file(process: AgentProcess) -> Iterator[Path]:
    """What is written there (`kind:step:when`) kills the agent, which was started with the file's name. An agent runs
    before the test and has no such order after it."""
    file = process.root / "crash-at"
    if process.process is None:
        process.start()
    yield file
    file.unlink(missing_ok=True)
    if process.process is not None and process.process.poll() is not None:
        process.process = None
