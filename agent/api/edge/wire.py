"""Answers as bytes: JSON, or XML without a namespace."""

from __future__ import annotations

import json
import re
from typing import Any, Literal
from xml.sax.saxutils import escape

Format = Literal["JSON", "XML"]
CONTENT_TYPES: dict[Format, str] = {"JSON": "application/json;charset=utf-8", "XML": "text/xml;charset=utf-8"}

# What XML 1.0 cannot hold, not even escaped, and half characters, which no encoding can.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def success(action: str, request_id: str, result: dict[str, Any], form: Format) -> bytes:
    """The answer of `action`: its result with the RequestId, parts that are None left out."""
    return _render(f"{action}Response", {"RequestId": request_id, **result}, form)


def failure(request_id: str, host_id: str, code: str, message: str, form: Format) -> bytes:
    """The body of an error."""
    body = {"RequestId": request_id, "HostId": host_id, "Code": code, "Message": message}
    return _render("Error", body, form)


def _render(root: str, body: dict[str, Any], form: Format) -> bytes:
    if form == "JSON":
        text = json.dumps(_without_none(body), ensure_ascii=False, separators=(",", ":"))
        return _SURROGATE.sub("\ufffd", text).encode()
    parts = ["<?xml version='1.0' encoding='UTF-8'?>"]
    _element(root, body, parts)
    return "".join(parts).encode()


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value if item is not None]
    return value


def _element(name: str, value: Any, parts: list[str]) -> None:
    if value is None:
        return
    if isinstance(value, list | tuple):
        for item in value:
            _element(name, item, parts)
        return
    parts.append(f"<{name}>")
    if isinstance(value, dict):
        for key, item in value.items():
            _element(key, item, parts)
    else:
        parts.append(_text(value))
    parts.append(f"</{name}>")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return escape(_ILLEGAL.sub("\ufffd", value), {"\r": "&#13;"})
    if isinstance(value, int | float):
        return str(value)
    raise TypeError(f"an answer holds {type(value).__name__}, which has no form on the wire")
