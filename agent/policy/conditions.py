"""Condition operators: what their values must look like, and when a request's value is one of them."""

from __future__ import annotations

import datetime as dt
import ipaddress
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from agent.policy.match import like
from agent.policy.model import Condition, PolicyError

SOURCE_IP, CURRENT_TIME, SECURE_TRANSPORT = "acs:sourceip", "acs:currenttime", "acs:securetransport"

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,31}:[A-Za-z0-9_./@+=-]{1,128}\Z")


@dataclass(frozen=True)
class _Operator:
    """`read` turns a text into what `matches(wanted, given)` compares; it raises ValueError for one that is none."""

    read: Callable[[str], Any]
    matches: Callable[[Any, Any], bool]
    negated: bool = False
    read_given: Callable[[str], Any] | None = None  # where the request's value is of another kind


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("a number is expected") from None
    if not number.is_finite():
        raise ValueError("a number is expected")
    return number


def _date(text: str) -> dt.datetime:
    """ISO 8601; without an offset it is UTC."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("a time in ISO 8601 is expected, such as 2026-11-23T17:00:00+08:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false is expected")
    return text.lower() == "true"


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"an address or a CIDR block is expected ({error})") from None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(text)
    # A client of a socket that serves both families looks like ::ffff:192.0.2.1.
    return getattr(address, "ipv4_mapped", None) or address


def _same_folded(wanted: str, given: str) -> bool:
    return wanted.casefold() == given.casefold()


def _compared(prefix: str, read: Callable[[str], Any]) -> dict[str, _Operator]:
    """`<prefix>Equals`, `…LessThan` and so on: the request's value is on the left."""
    # `matches` has the wanted value on the left: wanted > given is LessThan.
    return {
        f"{prefix}Equals": _Operator(read, operator.eq),
        f"{prefix}NotEquals": _Operator(read, operator.eq, negated=True),
        f"{prefix}LessThan": _Operator(read, operator.gt),
        f"{prefix}LessThanEquals": _Operator(read, operator.ge),
        f"{prefix}GreaterThan": _Operator(read, operator.lt),
        f"{prefix}GreaterThanEquals": _Operator(read, operator.le),
    }


OPERATORS: dict[str, _Operator] = {
    "StringEquals": _Operator(str, operator.eq),
    "StringNotEquals": _Operator(str, operator.eq, negated=True),
    "StringEqualsIgnoreCase": _Operator(str, _same_folded),
    "StringNotEqualsIgnoreCase": _Operator(str, _same_folded, negated=True),
    "StringLike": _Operator(str, like),
    "StringNotLike": _Operator(str, like, negated=True),
    **_compared("Numeric", _number),
    **_compared("Date", _date),
    "Bool": _Operator(_boolean, operator.eq),
    "IpAddress": _Operator(_network, lambda wanted, given: given in wanted, read_given=_address),
    "NotIpAddress": _Operator(_network, lambda wanted, given: given in wanted, negated=True, read_given=_address),
}


def condition(where: str, name: str, key: str, values: list[str]) -> Condition:
    """The condition `{name: {key: values}}`; raises PolicyError. Several values: one of them is enough."""
    found = OPERATORS.get(name)
    if found is None:
        raise PolicyError(where, f"there is no operator {name!r}; there are {', '.join(sorted(OPERATORS))}")
    if not _KEY.match(key):
        raise PolicyError(f"{where}.{name}", f"{key!r} is no key of conditions, such as acs:SourceIp")
    wanted = []
    for value in values:
        try:
            wanted.append(found.read(value))
        except ValueError as error:
            raise PolicyError(f"{where}.{name}.{key}", f"{value!r}: {error}") from None
    return Condition(name, key.lower(), found.negated, _test(found, wanted), tuple(values))


def _test(found: _Operator, wanted: list[Any]) -> Callable[[str], bool]:
    read = found.read_given or found.read

    def test(value: str) -> bool:
        try:
            given = read(value)
        except ValueError:  # what is no number equals no number
            return False
        return any(found.matches(one, given) for one in wanted)

    return test
