"""A program at a real terminal: a pty whose other end the test holds."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from typing import Any


class PtySession:
    """`command` with stdin, stdout and stderr at a terminal of 24 x 80. Use as a context manager."""

    def __init__(self, command: Sequence[str], env: dict[str, str]) -> None:
        self._ours, self._theirs = pty.openpty()
        self.resize(24, 80)
        self.before = self.attributes()
        self.seen = b""
        self._mark = 0
        self.process = subprocess.Popen(
            command,
            env=env | {"TERM": "xterm"},
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def __enter__(self) -> PtySession:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def attributes(self) -> list[Any]:
        """The terminal's settings, as termios tells them."""
        return termios.tcgetattr(self._theirs)

    @property
    def is_raw(self) -> bool:
        return not self.attributes()[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def expect(self, text: str, seconds: float = 30) -> str:
        """Read until `text` comes, beyond what was expected before; what came up to it."""
        wanted, end = text.encode(), time.monotonic() + seconds
        while (found := self.seen.find(wanted, self._mark)) < 0:
            left = end - time.monotonic()
            assert left > 0, f"no {text!r} within {seconds} s; since the last: {self.seen[self._mark :]!r}"
            if select.select([self._ours], [], [], left)[0]:
                self.seen += os.read(self._ours, 65536)
        before, self._mark = self.seen[self._mark : found], found + len(wanted)
        return before.decode(errors="replace")

    def end(self, seconds: float = 30) -> int:
        """Wait for the program's end, reading what it still says; its exit status."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end: {self.seen[-300:]!r}"
            if select.select([self._ours], [], [], 0.05)[0]:
                self.seen += os.read(self._ours, 65536)
        while select.select([self._ours], [], [], 0)[0]:
            self.seen += os.read(self._ours, 65536)
        return self.process.returncode
