"""One live line on a terminal, plain lines elsewhere; always on stderr, so that stdout stays data."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType

from ecsctl.output import cell

_BAR = 24  # characters


class Progress:
    """Shows what goes on with the seconds it takes. `update` may be called often: elsewhere than on a terminal a
    line appears only when the text changes."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._began = time.monotonic()
        self._last = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.clear()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def update(self, text: str) -> None:
        text = cell(text)
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            line = f"{text}  {self.seconds:.0f} s"[:width]
            sys.stderr.write(f"\r{line}\x1b[K")
            sys.stderr.flush()
        elif text != self._last:
            print(text, file=sys.stderr, flush=True)
        self._last = text

    def share(self, text: str, percent: int, more: str = "") -> None:
        """`update` with how much is done: a bar on a terminal, elsewhere a line for each tenth."""
        if self._live:
            done = _BAR * min(100, percent) // 100
            self.update(f"{text}  {'━' * done}{'─' * (_BAR - done)} {percent:3} %  {more}".rstrip())
        else:
            self.update(f"{text}: {percent - percent % 10} %")

    def clear(self) -> None:
        """Remove the live line, so that what follows starts on an empty one."""
        if self._live and self._last:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        self._last = ""
