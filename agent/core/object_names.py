"""Names of objects in buckets: those of files beneath a directory, with `/` between their parts. Pure."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 1023  # bytes, as object stores have it
LONGEST_PART: Final = 255  # bytes, of a name in a directory
DEEPEST: Final = 32  # directories
UNFINISHED: Final = ".tmp-"  # begins the names of files that are no objects yet


def parts(key: str) -> list[str]:
    """The parts of an object's name; raises ValueError with the reason when it cannot be one."""
    if not key or len(key.encode("utf-8", "surrogateescape")) > LONGEST:
        raise ValueError(f"it must be 1-{LONGEST} bytes")
    if any(ord(character) < 32 or ord(character) == 127 for character in key):
        raise ValueError("it must have no control characters")
    found = key.split("/")
    if any(part in ("", ".", "..") for part in found):
        raise ValueError('its parts between "/" must not be empty, "." or ".."')
    if any(
        part.startswith(UNFINISHED) or len(part.encode("utf-8", "surrogateescape")) > LONGEST_PART for part in found
    ):
        raise ValueError(f"its parts must not begin with {UNFINISHED} or be longer than {LONGEST_PART} bytes")
    if len(found) > DEEPEST:
        raise ValueError(f'it must have at most {DEEPEST} parts between "/"')
    return found
