"""Tokens that are good for one use within a while."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

MOST_WAITING = 10_000

T = TypeVar("T")


@dataclass(frozen=True)
class _Entry(Generic[T]):
    content: T
    expires: float


class OneTimeTokens(Generic[T]):
    """Tokens that wait to be used, each for `lifetime` seconds. Thread-safe; `now` in seconds, for tests."""

    def __init__(self, lifetime: float, now: Callable[[], float] = time.monotonic) -> None:
        self._lifetime, self._now = lifetime, now
        self._lock = threading.Lock()
        self._waiting: dict[str, _Entry[T]] = {}

    def issue(self, content: T) -> str:
        """A fresh token that stands for `content`."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._forget()
            if len(self._waiting) >= MOST_WAITING:
                del self._waiting[next(iter(self._waiting))]
            self._waiting[token] = _Entry(content, self._now() + self._lifetime)
        return token

    def take(self, token: str) -> T | None:
        """What `token` stands for, once; None when unknown, used or too old."""
        with self._lock:
            self._forget()
            entry = self._waiting.pop(token, None)
        return entry.content if entry else None

    def _forget(self) -> None:
        now = self._now()
        # Tokens stand in the order of their expiry.
        while self._waiting and self._waiting[oldest := next(iter(self._waiting))].expires <= now:
            del self._waiting[oldest]
