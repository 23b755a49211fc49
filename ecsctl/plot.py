"""Charts made of characters: pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII_BLOCKS = " .:-=+*#@"
_STEPS = len(BLOCKS) - 1


def chart(values: Sequence[float | None], *, height: int, top: float, ascii_only: bool = False) -> list[str]:
    """`height` lines, one character per value; None is a gap, and anything above zero shows. `top`: the value that is
    as high as the chart."""
    signs = ASCII_BLOCKS if ascii_only else BLOCKS
    levels = [None if value is None else _level(value, height, top) for value in values]
    lines = []
    for line in reversed(range(height)):
        cells = [0 if level is None else min(_STEPS, max(0, level - line * _STEPS)) for level in levels]
        lines.append("".join(signs[cell] for cell in cells))
    return lines


def _level(value: float, height: int, top: float) -> int:
    """How many eighths of a line high."""
    if value <= 0 or top <= 0:
        return 0
    return max(1, round(min(value / top, 1.0) * height * _STEPS))


def round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, …: the top of an axis."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * 0.999999)


def squeeze(values: Sequence[float | None], width: int) -> list[float | None]:
    """At most `width` values, each the highest of its share: a peak must not vanish."""
    if len(values) <= width:
        return list(values)
    shares = [values[n * len(values) // width : (n + 1) * len(values) // width] for n in range(width)]
    return [max((value for value in share if value is not None), default=None) for share in shares]


def human(value: float, unit: str) -> str:
    """`1.5 M`: with k, M, G as powers of 1000."""
    for prefix, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".rstrip()
