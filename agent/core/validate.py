"""Checks of single values, pure (SPEC G2, G3). Each raises an ApiError that names parameter and value."""

from __future__ import annotations

import ipaddress
import re

from agent.core.errors import InvalidParameter

_LETTER = r"A-Za-z\u4e00-\u9fff\u3400-\u4dbf\u3040-\u309f\u30a0-\u30ff"
_NAME = re.compile(rf"[{_LETTER}][{_LETTER}0-9._\-]{{1,127}}\Z")
_WEB = ("http://", "https://")
_HOST_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\Z")
PASSWORD_SPECIALS = frozenset("()`~!@#$%^&*-_+=|{}[]:;'<>,.?/\\")


def name(parameter: str, value: str, *, code: str) -> str:
    """A resource name (SPEC G2); `code` is the public error code, e.g. `InvalidInstanceName.Malformed`."""
    if value.lower().startswith(_WEB) or not _NAME.match(value):
        raise InvalidParameter(
            parameter,
            value,
            "2-128 characters, first a letter, then letters, digits, '.', '_' or '-', "
            "not starting with http:// or https://.",
            code=code,
        )
    return value


def description(parameter: str, value: str, *, code: str = "InvalidDescription.Malformed") -> str:
    """A description (SPEC G2); empty means none."""
    if value and (not 2 <= len(value) <= 256 or value.lower().startswith(_WEB)):
        raise InvalidParameter(parameter, value, "2-256 characters, not starting with http:// or https://.", code=code)
    return value


def password(parameter: str, value: str) -> str:
    """A login password (SPEC G3). The error does not repeat the value."""
    classes = (
        any(c.isascii() and c.isupper() for c in value),
        any(c.isascii() and c.islower() for c in value),
        any(c.isascii() and c.isdigit() for c in value),
        any(c in PASSWORD_SPECIALS for c in value),
    )
    alien = any(not (c.isascii() and c.isalnum()) and c not in PASSWORD_SPECIALS for c in value)
    if not 8 <= len(value) <= 30 or sum(classes) < 3 or alien:
        raise InvalidParameter(
            parameter,
            "***",
            "8-30 characters with at least three of upper case, lower case, digits and "
            "()`~!@#$%^&*-_+=|{}[]:;'<>,.?/\\",
            code="InvalidPassword.Malformed",
        )
    return value


def host_name(parameter: str, value: str) -> str:
    """A Linux host name: 2-64 characters, labels of letters, digits and inner hyphens joined by single dots."""
    if not 2 <= len(value) <= 64 or not all(_HOST_LABEL.match(label) for label in value.split(".")):
        raise InvalidParameter(
            parameter,
            value,
            "2-64 characters: letters, digits, '-' inside a label, single '.' between labels.",
            code="InvalidHostName.Malformed",
        )
    return value


def windows_host_name(parameter: str, value: str) -> str:
    """A Windows host name: 2-15 characters, letters, digits and inner hyphens, not digits alone."""
    if not 2 <= len(value) <= 15 or not _HOST_LABEL.match(value) or value.isdigit():
        raise InvalidParameter(
            parameter,
            value,
            "2-15 characters for Windows: letters, digits and inner '-', not digits alone.",
            code="InvalidHostName.Malformed",
        )
    return value


def network(parameter: str, value: str, *, code: str) -> ipaddress.IPv4Network:
    """An IPv4 CIDR block without host bits."""
    try:
        return ipaddress.IPv4Network(value)
    except ValueError as error:
        raise InvalidParameter(parameter, value, f"not an IPv4 CIDR block ({error}).", code=code) from None


def address(parameter: str, value: str, *, code: str) -> ipaddress.IPv4Address:
    """An IPv4 address."""
    try:
        return ipaddress.IPv4Address(value)
    except ValueError:
        raise InvalidParameter(parameter, value, "not an IPv4 address.", code=code) from None
