"""A serial console at the user's terminal: the escape key and its menu, between stdin and the tunnel."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from ecsctl.errors import UsageFault

if TYPE_CHECKING:
    from ecsctl.websocket import Tunnel

NO_ESCAPE = "none"
_LEAVE, _SIZE = b"qQ.", b"sS"

# What may be shown again of old output: text, line ends, tabs, colours. A question to the terminal (where is the
# cursor, what are you) would be answered now, into whatever reads the line.
_REPLAYABLE = re.compile(rb"\x1b\[[0-9;]*m|[^\x00-\x08\x0b-\x1f\x7f]|\r")
_SEQUENCE = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[PX^_].*?\x1b\\|\x1b[ -/]*[0-~]", re.DOTALL
)


def parse_escape(text: str) -> bytes:
    """The key of `^]`, `^A` or a single character; empty for `none`."""
    if text == NO_ESCAPE:
        return b""
    if len(text) == 2 and text[0] == "^" and "@" <= text[1].upper() <= "_":
        return bytes([ord(text[1].upper()) & 0x1F])
    if len(text) == 1 and text.isascii():
        return text.encode()
    raise UsageFault(f"--escape {text!r}: a control key such as ^] or ^A, a single character, or `{NO_ESCAPE}`")


def key_name(key: bytes) -> str:
    """`Ctrl+]` for 0x1d."""
    return f"Ctrl+{chr(key[0] | 0x40)}" if key[0] < 0x20 else key.decode()


def last_lines(output: bytes, count: int) -> bytes:
    """The last lines of earlier output, harmless for a terminal in raw mode; the last one without its end."""
    text = _SEQUENCE.sub(lambda m: m[0] if m[0].endswith(b"m") and m[0].startswith(b"\x1b[") else b"", output)
    text = b"".join(_REPLAYABLE.findall(text.replace(b"\r\n", b"\n")))
    lines = text.split(b"\n")
    unfinished = lines.pop()
    shown = [*lines[len(lines) - count + bool(unfinished) :], unfinished] if count else []
    return b"\r\n".join(shown) + (b"\x1b[0m" if b"\x1b" in text else b"")


class Keyboard:
    """A codec for relay(): what is typed goes into the tunnel, but for the escape key and the key after it.

    `show` prints a line of ours; `size` tells (rows, columns) of the window. `left`: the user went by the menu.
    """

    def __init__(
        self, tunnel: Tunnel, escape: bytes, show: Callable[[str], None], size: Callable[[], tuple[int, int]]
    ) -> None:
        self._tunnel, self._escape, self._show, self._size = tunnel, escape, show, size
        self._in_menu = False
        self.left = False
        self.early = tunnel.early

    @property
    def finished(self) -> bool:
        return self.left or self._tunnel.finished

    def encode(self, payload: bytes) -> bytes:
        typed = bytearray()
        for number in payload:
            key = bytes([number])
            if self._in_menu:
                typed += self._choose(key)
            elif key == self._escape:
                self._in_menu = True
                self._show(self._menu())
            else:
                typed += key
            if self.left:
                break
        return self._tunnel.encode(bytes(typed)) if typed else b""

    def decode(self, received: bytes) -> tuple[list[bytes], bytes]:
        return self._tunnel.decode(received)

    def _menu(self) -> str:
        name = key_name(self._escape)
        return f"q: leave | s: type the window's size as stty command | {name}: send {name} | other keys: go on"

    def _choose(self, key: bytes) -> bytes:
        """What to type into the line for a key of the menu."""
        self._in_menu = False
        if key == self._escape:
            return key
        if key in _LEAVE:
            self.left = True
        elif key in _SIZE:
            rows, columns = self._size()
            return f"stty rows {rows} cols {columns}\r".encode()
        return b""
