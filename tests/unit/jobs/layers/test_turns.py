"""One at a time works on a tree, and what takes long gives way."""

from __future__ import annotations

import threading

from agent.jobs.layers.turns import Turns
from tests.support.waiting import wait_for

LIMIT = 30.0


def test_the_background_gives_way_to_who_waits() -> None:
    turns, had = Turns(), threading.Event()

    def claim() -> None:
        with turns.claim(["a", "b"]):
            had.set()

    with turns.background("a") as give_way:
        assert give_way is not None
        assert not give_way()
        waiting = threading.Thread(target=claim)
        waiting.start()
        wait_for("the wish", give_way, LIMIT, every=0.001)
        assert not had.is_set()
    waiting.join(LIMIT)
    assert had.is_set()


def test_the_background_begins_only_where_nobody_is() -> None:
    turns = Turns()
    with turns.claim(["a"]), turns.background("a") as taken, turns.background("b") as free:
        assert taken is None
        assert free is not None
    with turns.background("a") as first, turns.background("a") as second:
        assert first is not None
        assert second is None


def test_readers_keep_the_background_away_and_nobody_else() -> None:
    turns = Turns()
    with turns.reading("a"), turns.reading("a"):
        with turns.background("a") as give_way:
            assert give_way is None
        with turns.claim(["a"]):
            pass
    with turns.background("a") as give_way:
        assert give_way is not None


def test_at_the_end_of_the_process_everything_gives_way() -> None:
    turns = Turns()
    with turns.background("a") as give_way:
        assert give_way is not None
        turns.close()
        assert give_way()
    with turns.background("a") as again:
        assert again is None
