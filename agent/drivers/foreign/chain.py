"""What a qcow2 file is an overlay on, by its header alone: nothing else is opened."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from agent.core.errors import BadImage

MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQI")  # magic, version, where the name of the base is, its length
_LENGTH_AT, _SHORT = 100, 72  # where a header of version 3 says its length; that of version 2
_EXTENSION = struct.Struct(">II")
_BASE_FORMAT = 0xE2792ACA
_LONGEST_NAME = 1023
_READ = 64 * 1024  # more than any header with its extensions


def base(descriptor: int, path: Path) -> tuple[Path, str] | None:
    """The file below and its format; None: there is none. `path` is for messages and what the name is relative to.

    Raises BadImage when the header names something that is no file, or does not say its format.
    """
    start = os.pread(descriptor, _READ, 0)
    if len(start) < _HEADER.size or not start.startswith(MAGIC):
        return None
    _, version, offset, length = _HEADER.unpack_from(start)
    if offset == 0:
        return None
    name = start[offset : offset + length] if length <= _LONGEST_NAME else b""
    if not name or len(name) < length or b"\0" in name:
        raise BadImage(f"{path}: the name of the file that it is an overlay on is damaged")
    text = os.fsdecode(name)
    if ":" in text.split("/", 1)[0]:
        raise BadImage(f"{path} is an overlay on {text!r}, which is no file")
    return Path(os.path.normpath(path.parent / text)), _base_format(start, version, path)


def _base_format(start: bytes, version: int, path: Path) -> str:
    at = struct.unpack_from(">I", start, _LENGTH_AT)[0] if version >= 3 else _SHORT
    while at + _EXTENSION.size <= len(start):
        kind, length = _EXTENSION.unpack_from(start, at)
        at += _EXTENSION.size
        if kind == _BASE_FORMAT:
            return start[at : at + length].decode("ascii", "replace")
        if kind == 0:
            break
        at += -(-length // 8) * 8
    raise BadImage(
        f"{path} does not say the format of the file that it is an overlay on: `qemu-img rebase -u -F FORMAT` can"
    )
