"""Who may work on the files of a tree: one at a time, and what takes long gives way to what somebody waits for."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator


class Turns:
    """In this process; after a crash nobody works on anything. Names are of trees."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: set[str] = set()
        self._waiting: Counter[str] = Counter()
        self._readers: Counter[str] = Counter()
        self.closing = False

    @contextlib.contextmanager
    def claim(self, trees: Iterable[str]) -> Iterator[None]:
        """Have all of `trees` for something short, after whoever has them; work in the background gives way."""
        wanted = sorted(set(trees))
        with self._changed:
            self._waiting.update(wanted)
            try:
                self._changed.wait_for(lambda: not self._held.intersection(wanted))
                self._held.update(wanted)
            finally:
                self._waiting.subtract(wanted)
        try:
            yield
        finally:
            self._give_back(wanted)

    @contextlib.contextmanager
    def reading(self, tree: str) -> Iterator[None]:
        """Read immutable layers of `tree` for as long as it takes: nothing is merged or removed meanwhile, while what
        is short goes on. Look into the store after this: until now a layer's content may have gone to another one."""
        with self.claim([tree]), self._changed:
            self._readers[tree] += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers[tree] -= 1

    @contextlib.contextmanager
    def background(self, tree: str) -> Iterator[Callable[[], bool] | None]:
        """Have `tree` for something long, or None when somebody has it, waits for it or reads in it.

        What is yielded tells, whenever it is called, whether to give way: leave the block soon and try again later.
        """
        with self._changed:
            free = tree not in self._held and not self._waiting[tree] and not self._readers[tree] and not self.closing
            if free:
                self._held.add(tree)
        if not free:
            yield None
            return
        try:
            yield lambda: self._waiting[tree] > 0 or self.closing
        finally:
            self._give_back([tree])

    def close(self) -> None:
        """The process is about to end: everything in the background gives way."""
        self.closing = True

    def _give_back(self, trees: list[str]) -> None:
        with self._changed:
            self._held.difference_update(trees)
            self._changed.notify_all()
