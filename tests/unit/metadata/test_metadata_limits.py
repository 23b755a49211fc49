"""One guest's requests cost the agent little and the other guests nothing."""

from __future__ import annotations

import pytest

from agent.api.metadata import limits
from agent.api.metadata.limits import Limits, Sources

LIMITS = Limits()
ONE, OTHER = ("vpc-a", "192.168.0.1"), ("vpc-b", "192.168.0.1")


def test_a_guest_has_a_few_connections_at_a_time() -> None:
    sources = Sources(LIMITS)
    assert [sources.opened(ONE, 0.0) for _ in range(LIMITS.open_each)] == [0.0] * LIMITS.open_each
    assert sources.opened(ONE, 0.0) is None
    assert sources.opened(OTHER, 0.0) == 0.0
    sources.closed(ONE)
    assert sources.opened(ONE, 0.0) == 0.0
    assert sources.opened(ONE, 0.0) is None


def test_all_guests_together_have_a_limit() -> None:
    sources = Sources(LIMITS)
    for number in range(LIMITS.open):
        assert sources.opened(("vpc-a", f"{number // 4}"), 0.0) == 0.0
    assert sources.opened(ONE, 0.0) is None


def test_after_a_burst_a_guest_is_answered_at_an_even_rate() -> None:
    sources = Sources(LIMITS)
    waits = []
    for _ in range(LIMITS.burst + 10):
        waits.append(sources.opened(ONE, 0.0))
        sources.closed(ONE)
    assert waits[: LIMITS.burst] == [0.0] * LIMITS.burst
    assert waits[-1] == pytest.approx(9 / LIMITS.per_second)
    assert sources.opened(OTHER, 0.0) == 0.0
    # Having waited long enough, it may again.
    assert sources.opened(ONE, LIMITS.burst / LIMITS.per_second + 1) == 0.0


def test_those_that_no_longer_ask_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MANY_SOURCES", 3)
    sources = Sources(LIMITS)
    for number in range(100):
        key = ("vpc-a", str(number))
        sources.opened(key, number)
        sources.closed(key)
    assert len(sources._sources) <= 3
