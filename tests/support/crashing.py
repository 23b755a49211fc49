"""Drivers that die with their process, at a moment that a test chooses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Crash(BaseException):
    """As a SIGKILL to who works: nothing that handles errors sees it."""


class Fuse:
    """Burns through after so many calls of drivers; from then on every call dies, until a new one is put in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: int | None = None
        self.blown = threading.Event()

    def arm(self, calls: int) -> None:
        """Die after `calls` more passes: each call of a driver passes twice, before and after it works."""
        with self._lock:
            self._left = calls

    def renew(self) -> None:
        with self._lock:
            self._left = None
            self.blown.clear()

    def pass_through(self) -> None:
        with self._lock:
            if self._left is not None:
                self._left -= 1
                if self._left <= 0:
                    self.blown.set()
        if self.blown.is_set():
            raise Crash


class Crashing:
    """Looks like `driver`, with a fuse around each call."""

    def __init__(self, driver: Any, fuse: Fuse) -> None:
        self._driver, self._fuse = driver, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._driver, name)
        return self._guarded(found) if callable(found) else found

    def _guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **named: Any) -> Any:
            self._fuse.pass_through()
            answer = call(*arguments, **named)
            self._fuse.pass_through()
            return answer

        return guarded
