"""The user's terminal in raw mode, put back whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from types import FrameType

# What a full-screen program of the far end may have left on: attributes, a hidden cursor, mouse and paste modes.
_SOFT_RESET = b"\x1b[!p\x1b[?1000l\x1b[?1002l\x1b[?1006l\x1b[?2004l"
_DEADLY = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


@contextlib.contextmanager
def raw(descriptor: int = 0, sink: int = 1) -> Iterator[None]:
    """Keys arrive one by one and unread by the terminal, Ctrl+C included, until the block ends.

    A signal that ends the process ends the block first, with exit status 128 + its number. After a stop and a
    continuation from outside the terminal is raw again.
    """
    before = termios.tcgetattr(descriptor)

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    def again(number: int, frame: FrameType | None) -> None:
        tty.setraw(descriptor)

    old = {number: signal.signal(number, end) for number in _DEADLY} | {signal.SIGCONT: signal.SIG_DFL}
    signal.signal(signal.SIGCONT, again)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        # The terminal itself may be gone by now (SIGHUP).
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
        if os.isatty(sink):
            with contextlib.suppress(OSError):
                os.write(sink, _SOFT_RESET)
        for number, handler in old.items():
            signal.signal(number, handler)


def size(descriptor: int = 0) -> tuple[int, int]:
    """(rows, columns) of a terminal."""
    found = os.get_terminal_size(descriptor)
    return found.lines, found.columns
