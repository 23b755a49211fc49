"""One guest's requests cost the agent little and the other guests nothing."""

from __future__ import annotations

import pytest

from agent.api.metadata import limits
from agent.api.metadata.limits import BURST, MAX_OPEN, MAX_OPEN_EACH, PER_SECOND, Sources

ONE, OTHER = ("vpc-a", "192.168.0.1"), ("vpc-b", "192.168.0.1")


def test_a_guest_has_a_few_connections_at_a_time() -> None:
    sources = Sources()
    assert [sources.opened(ONE, 0.0) for _ in range(MAX_OPEN_EACH)] == [0.0] * MAX_OPEN_EACH
    assert sources.opened(ONE, 0.0) is None
    assert sources.opened(OTHER, 0.0) == 0.0
    sources.closed(ONE)
    assert sources.opened(ONE, 0.0) == 0.0
    assert sources.opened(ONE, 0.0) is None


def test_all_guests_together_have_a_limit() -> None:
    sources = Sources()
    for number in range(MAX_OPEN):
        assert sources.opened(("vpc-a", f"{number // 4}"), 0.0) == 0.0
    assert sources.opened(ONE, 0.0) is None


def test_after_a_burst_a_guest_is_answered_at_an_even_rate() -> None:
    sources = Sources()
    waits = []
    for _ in range(BURST + 10):
        waits.append(sources.opened(ONE, 0.0))
        sources.closed(ONE)
    assert waits[:BURST] == [0.0] * BURST
    assert waits[-1] == pytest.approx(9 / PER_SECOND)
    assert sources.opened(OTHER, 0.0) == 0.0
    # Having waited long enough, it may again.
    assert sources.opened(ONE, BURST / PER_SECOND + 1) == 0.0


def test_those_that_no_longer_ask_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MANY_SOURCES", 3)
    sources = Sources()
    for number in range(100):
        key = ("vpc-a", str(number))
        sources.opened(key, number)
        sources.closed(key)
    assert len(sources._sources) <= 3
