"""Times of repeated calls, and how they are shown."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence


def seconds_of(action: Callable[[], object]) -> float:
    """How long one call takes, in seconds of the wall clock."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all are not above."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def median(values: Sequence[float]) -> float:
    return percentile(values, 50)


def in_ms(values: Sequence[float]) -> str:
    """`p50 12 ms, p95 20 ms, n 100` of times in seconds."""
    middle, high = median(values) * 1000, percentile(values, 95) * 1000
    return f"p50 {middle:.0f} ms, p95 {high:.0f} ms, n {len(values)}"
