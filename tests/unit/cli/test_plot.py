"""Charts made of characters."""

from __future__ import annotations

import pytest

from ecsctl import plot


def test_a_chart_is_as_high_as_its_values() -> None:
    assert plot.chart([0, 25, 50, 75, 100], height=2, top=100) == ["   ▄█", " ▄███"]
    assert plot.chart([None, 0, 0.001], height=1, top=100) == ["  ▁"]
    assert plot.chart([1000], height=2, top=100) == ["█", "█"]
    assert plot.chart([50, 100], height=1, top=100, ascii_only=True) == ["=@"]
    assert plot.chart([5], height=1, top=0) == [" "]


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 1), (0.4, 0.5), (1, 1), (1.1, 2), (2.1, 5), (7, 10), (50, 50), (10001, 20000)]
)
def test_axes_end_at_round_numbers(value: float, expected: float) -> None:
    assert plot.round_up(value) == pytest.approx(expected)


def test_peaks_do_not_vanish_when_there_is_little_room() -> None:
    assert plot.squeeze([1, 9, None, None, 2, None], 3) == [9, None, 2]
    assert plot.squeeze([1, 2], 3) == [1, 2]
    many = [float(n == 977) for n in range(1000)]
    assert sum(value or 0 for value in plot.squeeze(many, 80)) == 1


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "0 B/s"), (999, "999 B/s"), (1500, "1.5 kB/s"), (2.5e6, "2.5 MB/s"), (3e9, "3 GB/s")]
)
def test_numbers_for_people(value: float, expected: str) -> None:
    assert plot.human(value, "B/s") == expected
