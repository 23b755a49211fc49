"""How often something may be repeated: two who undo each other's changes do not keep the host busy."""

from __future__ import annotations

import time

_BURST, _PER_SECOND = 10.0, 0.5  # times


class Pace:
    def __init__(self) -> None:
        self._left = _BURST
        self._refilled = time.monotonic()

    def rest(self) -> float:
        """Seconds to wait until the next time, after one; 0 for none."""
        now = time.monotonic()
        self._left = min(_BURST, self._left + (now - self._refilled) * _PER_SECOND) - 1
        self._refilled = now
        return 0 if self._left >= 1 else (1 - self._left) / _PER_SECOND
