"""The dotted names of the wire as a tree: `DataDisk.1.Size=40` is datadisk → 1 → size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.core.errors import InvalidParameter

MAX_DEPTH = 8


@dataclass
class Node:
    """`text`: the value of the name itself; `children`: what follows the dot, in lower case."""

    text: str | None = None
    children: dict[str, Node] = field(default_factory=dict)


def build(wire: Mapping[str, str]) -> Node:
    """All of `wire`; a name that differs from an earlier one only in case does not replace it."""
    root = Node()
    for name, value in wire.items():
        parts = name.lower().split(".")
        if len(parts) > MAX_DEPTH or not all(parts):
            continue  # no action has such a parameter
        node = root
        for part in parts:
            node = node.children.setdefault(part, Node())
        if node.text is None:
            node.text = check_text(name, value)
    return root


def opened(node: Node, path: str) -> Node:
    """`node`, or, where its structure was given as one JSON text (some clients do that), what the text says."""
    if node.children or not node.text:
        return node
    try:
        value = json.loads(node.text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list | dict):
        raise InvalidParameter(path, node.text, f"it has parts, given as {path}.1 or {path}.<Name>.")
    return _from_json(value, path, MAX_DEPTH)


def numbered(node: Node, path: str, limit: int) -> list[tuple[int, Node]]:
    """The elements of a list in order of their numbers, which may have gaps."""
    pairs: list[tuple[int, Node]] = []
    for key, child in node.children.items():
        if not (key.isascii() and key.isdigit()) or len(key) > 6 or int(key) < 1:
            raise InvalidParameter(f"{path}.{key}", child.text or "", f"a list is numbered from {path}.1 on.")
        pairs.append((int(key), child))
    if len(pairs) > limit:
        raise InvalidParameter(path, len(pairs), f"a list has at most {limit} elements.")
    return sorted(pairs, key=lambda pair: pair[0])


def check_text(path: str, text: str) -> str:
    """`text`, unless it holds what no name, file or document can: NUL or half a character."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidParameter(path, "…", "it holds a character that is not allowed.")
    return text


def _from_json(value: Any, path: str, depth: int) -> Node:
    if depth == 0:
        raise InvalidParameter(path, "…", f"it is nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, dict):
        return Node(children={str(key).lower(): _from_json(item, path, depth - 1) for key, item in value.items()})
    if isinstance(value, list):
        return Node(children={str(i): _from_json(item, path, depth - 1) for i, item in enumerate(value, 1)})
    if isinstance(value, str):
        return Node(text=check_text(path, value))
    return Node(text=None if value is None else json.dumps(value))
