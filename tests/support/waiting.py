"""Waiting on conditions, never on sleeps: generous limits, and what was last seen in the error."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T], seconds: float = 120.0, every: float = 0.1) -> T:
    """What `look` answers once that is truthy; AssertionError with the last answer after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < end, f"{what} did not happen within {seconds:.0f} s; last seen: {seen!r}"
        time.sleep(every)
