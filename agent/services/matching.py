"""Conditions that several nouns filter by."""

from __future__ import annotations

from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute


def like(column: InstrumentedAttribute[str], pattern: str) -> ColumnElement[bool]:
    """`pattern` with `*` for any characters; without one, the value itself. Upper and lower case differ."""
    if "*" not in pattern:
        return column == pattern
    # GLOB's own special characters are taken literally, the star apart.
    escaped = "".join(f"[{character}]" if character in "?[" else character for character in pattern)
    return column.op("GLOB", is_comparison=True)(escaped)
