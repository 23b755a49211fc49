"""Progress of a part of a job as that of the whole."""

from __future__ import annotations

from collections.abc import Callable


def part(report: Callable[[int, str], None], first: float, last: float, doing: str) -> Callable[[int], None]:
    """Takes percents of a part that is from `first` to `last` percent of the whole, and tells each of those once."""
    told = -1

    def tell(percent: int) -> None:
        nonlocal told
        of_all = int(first + percent * (last - first) / 100)
        if of_all != told:
            told = of_all
            report(of_all, doing)

    return tell
