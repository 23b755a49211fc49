"""One line of a report."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.Enum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"  # it could not be found out


@dataclass(frozen=True)
class Item:
    """`found`: what is. `advice`: what to do about it; empty when nothing needs to be done."""

    name: str  # as the API has it
    title: str
    level: Level
    found: str
    advice: str = ""


def ok(name: str, title: str, found: str) -> Item:
    return Item(name, title, Level.OK, found)


def warning(name: str, title: str, found: str, advice: str) -> Item:
    return Item(name, title, Level.WARNING, found, advice)


def failed(name: str, title: str, found: str, advice: str) -> Item:
    return Item(name, title, Level.FAILED, found, advice)


def unknown(name: str, title: str, found: str, advice: str = "") -> Item:
    return Item(name, title, Level.UNKNOWN, found, advice)


def listed(words: list[str]) -> str:
    return ", ".join(words)
