"""Hours, weekdays and retention as people write them, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from ecsctl.errors import UsageFault

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def hours_of(text: str) -> str:
    """`1,13` or `8-18` as the API takes it."""
    return _numbers("--hours", text, _hour, 24)


def weekdays_of(text: str) -> str:
    """`mon,thu`, `1-5` or `daily` as the API takes it: 1 is Monday."""
    return _numbers("--weekdays", "1-7" if text.lower() == "daily" else text, _weekday, 7)


def days_of(text: str) -> int:
    """`30d`, `30` or `forever` as the API takes it; raises UsageFault."""
    if text.lower() == "forever":
        return -1
    match = re.fullmatch(r"([1-9][0-9]{0,4})d?", text)
    if match is None or int(match[1]) > 65536:
        raise UsageFault(f"--keep {text!r} must be 1d to 65536d, or forever")
    return int(match[1])


def _numbers(option: str, text: str, read: Callable[[str], int | None], count: int) -> str:
    """A JSON array of strings of the numbers and ranges in `text`; a range may go over the end (`sat-mon`)."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = read(first), read(last) if dash else read(first)
        if ends[0] is None or ends[1] is None:
            raise UsageFault(f"{option} {text!r}: {part.strip()!r} is none; see --help")
        lowest = 1 if read is _weekday else 0
        found += [(ends[0] + step - lowest) % count + lowest for step in range((ends[1] - ends[0]) % count + 1)]
    return json.dumps([str(number) for number in sorted(set(found))])


def _hour(text: str) -> int | None:
    number = int(text) if re.fullmatch(r"[0-9]{1,2}", text) else 24
    return number if number < 24 else None


def _weekday(text: str) -> int | None:
    if re.fullmatch(r"[1-7]", text):
        return int(text)
    matching = [n for n, day in enumerate(DAYS, 1) if len(text) >= 2 and day.startswith(text.lower())]
    return matching[0] if len(matching) == 1 else None


def shown_weekdays(text: str) -> str:
    """`["1","2"]` for people."""
    numbers = [int(one) for one in json.loads(text)]
    return "daily" if len(numbers) == 7 else ",".join(DAYS[number - 1][:3] for number in numbers)


def shown_hours(text: str) -> str:
    return ",".join(f"{int(one)}:00" for one in json.loads(text))


def shown_retention(days: int) -> str:
    return "forever" if days == -1 else f"{days}d"
