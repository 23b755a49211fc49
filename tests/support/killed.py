"""Agents that are killed where a test says so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.jobs.model import Step
from tests.support.agent import AgentProcess


def cases(steps: Sequence[Step], *values: Any) -> list[pytest.ParameterSet]:
    """`values`, step and moment of each kill: `after` a step was done and before that was written down, so that it is
    repeated; `before` it. All of these but the first are kills between two steps, and left to the long suite: what is
    written down is the same when the step before is repeated."""
    first = steps[0].name
    return [
        pytest.param(
            *values, step.name, when, marks=[pytest.mark.long] if when == "before" and step.name != first else []
        )
        for step in steps
        for when in ("before", "after")
    ]


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
