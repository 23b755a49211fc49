"""Work on large files may take hours: only so much of it at once, so that what somebody waits for finds a worker."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from agent.jobs.model import NotYet

AT_ONCE = 3  # less than runner.WORKERS
LOOK_SECONDS = 1.0

_free = threading.BoundedSemaphore(AT_ONCE)


@contextlib.contextmanager
def slot() -> Iterator[None]:
    """Be one of those at work inside the block; raises NotYet when there are enough."""
    if not _free.acquire(blocking=False):
        raise NotYet(LOOK_SECONDS, "waiting for other imports and exports")
    try:
        yield
    finally:
        _free.release()
