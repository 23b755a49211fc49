"""Rules and memberships change all the time while packets of all kinds pass, and every packet meets either the rules
before a change or those after it (SPEC F6)."""

from __future__ import annotations

import itertools
import os
import threading
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import pytest
from model import PUBLICS, Model, described, distinct, listed, modelled, under
from probing import Probe, Way, one_cpu
from vpc_lab import PATIENCE

from agent.core.specs import FilterSpec
from tests.support import filter_reference as reference
from tests.support.random_filters import filters, openings

pytestmark = pytest.mark.net

_PAUSES = (0.0, 0.0, 0.001, 0.01)  # seconds between two changes
_NEW, _LIVING, _LIVES = 6, 12, 60  # flows opened and continued at once; how many there are
_OWN_PORTS = range(20000, 65000)  # rules speak of none of them
_CHANGES = 100
_SHORT, _LONG = 1, 60  # rounds


class Sent(NamedTuple):
    """A packet that was on its way at some time between `begun` and `ended`, and whether it arrived."""

    probe: Probe
    way: Way
    begun: float
    ended: float
    arrived: bool


class Changes:
    """One filter after the other, applied in a thread of its own. Leaving the context ends it."""

    def __init__(self, model: Model, random: Random, count: int) -> None:
        self._specs = itertools.islice(filters(random, model.actors), count)
        self._driver, self._random = model.lab.driver, random
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.specs: list[FilterSpec] = []
        self.begun: list[float] = []  # when each of them may have come into force at the earliest,
        self.ended: list[float] = []  # and at the latest
        self._next()

    def __enter__(self) -> Changes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)

    def going_on(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set() and self._next():
            self._stop.wait(self._random.choice(_PAUSES))

    def _next(self) -> bool:
        spec = next(self._specs, None)
        if spec is not None:
            self.specs.append(spec)
            self.begun.append(time.perf_counter())
            self._driver.apply_filter(spec)
            self.ended.append(time.perf_counter())
        return spec is not None

    def between(self, begun: float, ended: float) -> list[FilterSpec]:
        """All that may have been in force at some time between the two."""
        return self.specs[max(0, bisect_right(self.ended, begun) - 1) : bisect_left(self.begun, ended)]


@pytest.fixture
def model() -> Iterator[Model]:
    with modelled() as made:
        yield made


@pytest.mark.parametrize("rounds", [_SHORT, pytest.param(_LONG, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
def test_every_packet_meets_the_rules_before_or_after(model: Model, rounds: int) -> None:
    """What neither allow never passes, and what both allow is never lost: new flows, and those that live through the
    changes, packets of both sides or only of one. SEED repeats a run's rules; each round has a seed of its own."""
    first = int(os.environ.get("SEED", Random().randrange(1 << 32)))
    for seed in range(first, first + rounds):
        with Changes(model, Random(seed), _CHANGES) as changes:
            traffic = Traffic(model, Random(seed))
            with one_cpu():
                while changes.going_on():
                    traffic.send(changes.specs[-1])
        assert len(changes.ended) == _CHANGES
        kinds = Counter(_check(changes, sent, seed) for sent in traffic.sent)
        assert min(kinds["passes"], kinds["drops"]) > 0.1 * kinds.total(), kinds


class Traffic:
    def __init__(self, model: Model, random: Random) -> None:
        self._model, self._random = model, random
        model.field.forget_flows()
        self._own = iter(_OWN_PORTS)
        self._used: set[frozenset[str]] = set()
        self._living: list[Probe] = []
        self.sent: list[Sent] = []

    def send(self, spec: FilterSpec) -> None:
        """Some packets of flows that live, and some new ones such as `spec` knows."""
        found = openings(self._random, spec, self._model.forwards, PUBLICS)
        own = itertools.islice(self._own, _NEW)  # where the host is slow they are all used before the end
        opened = [Probe(one, number) for number, one in zip(own, distinct(found, self._used), strict=False)]
        living = self._random.sample(self._living, min(_LIVING, len(self._living)))
        packets = [(probe, Way.ON) for probe in opened] + [(probe, self._way(probe)) for probe in living]
        begun = time.perf_counter()
        arrived = self._model.field.send(packets)
        ended = time.perf_counter()
        self.sent += (Sent(*packet, begun, ended, one) for packet, one in zip(packets, arrived, strict=True))
        self._living = [*self._living, *itertools.compress(opened, arrived)][-_LIVES:]

    def _way(self, probe: Probe) -> Way:
        """Of every third flow only the answering side goes on."""
        only_back = probe.own % 3 == 0 and probe.made >= 3
        return Way.BACK if only_back else probe.next_way(self._random)


def _check(changes: Changes, sent: Sent, seed: int) -> str:
    specs = changes.between(sent.begun, sent.ended)
    verdicts = {reference.passes(spec, under(spec, sent.probe.opening)) for spec in specs}
    if sent.arrived in verdicts:
        return "may be both" if len(verdicts) > 1 else "passes" if sent.arrived else "drops"
    what = f"SEED={seed}, {sent.way.value}{described(sent.probe.opening)}: {'passed' if sent.arrived else 'was lost'}"
    shown = "\n".join(f"{number}:\n{listed(spec)}" for number, spec in enumerate(specs))
    pytest.fail(f"{what} under all of these:\n{shown}", pytrace=False)
