"""Files that callers opened themselves and handed over as descriptors, so that the agent opens no path they name."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class OpenFile:
    """`descriptor` is ours. `name`: what the caller calls it, for messages only."""

    descriptor: int
    name: str


class OpenFiles:
    """By handle. Whoever put a file in drops it when its caller is gone; nothing of them survives a restart."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._files: dict[str, OpenFile] = {}

    def put(self, descriptor: int, name: str) -> str:
        """Keep a descriptor, from now on ours; its handle, which nobody can guess."""
        handle = f"file-{secrets.token_hex(16)}"
        with self._guard:
            self._files[handle] = OpenFile(descriptor, name)
        return handle

    def drop(self, handle: str) -> None:
        with self._guard:
            found = self._files.pop(handle, None)
        if found is not None:
            os.close(found.descriptor)

    @contextlib.contextmanager
    def opened(self, handle: str) -> Iterator[OpenFile | None]:
        """A duplicate that stays open inside the block, even when the caller goes; None when there is none."""
        with self._guard:
            found = self._files.get(handle)
            copy = OpenFile(os.dup(found.descriptor), found.name) if found else None
        try:
            yield copy
        finally:
            if copy is not None:
                os.close(copy.descriptor)
