"""A thread that serves many sockets."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
from collections.abc import Callable
from typing import Any, Protocol

log = logging.getLogger(__name__)


class Readable(Protocol):
    def fileno(self) -> int: ...


class SocketThread:
    """Calls `serve` with the key and the socket that has something to read. It starts with the first socket; its
    methods may be called from any thread, and by `serve`. `rest` says before each wait how many seconds that may take,
    None for any time."""

    def __init__(
        self, name: str, serve: Callable[[str, Any], None], rest: Callable[[], float | None] = lambda: None
    ) -> None:
        self._name, self._serve_one, self._rest = name, serve, rest
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._thread: threading.Thread | None = None
        self._closing = False

    def add(self, key: str, sock: Readable) -> None:
        with self._lock:
            self._selector.register(sock, selectors.EVENT_READ, key)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                self._thread.start()
        self._wake()

    def remove(self, sock: Readable) -> None:
        """Nothing if it is not there. Whoever closes a socket removes it first."""
        with self._lock, contextlib.suppress(KeyError):
            self._selector.unregister(sock)

    def close(self) -> None:
        """`serve` is not called any more. The sockets are left as they are."""
        with self._lock:
            self._closing = True
        self._wake()
        if self._thread is not None:
            self._thread.join()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _wake(self) -> None:
        os.write(self._wake_write, b"\0")

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select(self._rest()):
                if key.data is None:
                    os.read(self._wake_read, 4096)
                    continue
                try:
                    self._serve_one(key.data, key.fileobj)
                except Exception:  # the thread serves all the others, too
                    log.exception("%s: %s cannot be served", self._name, key.data)
            with self._lock:
                if self._closing:
                    return
