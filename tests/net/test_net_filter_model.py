"""Random groups, memberships, rules and packets (SPEC F2-F7): what the kernel does with real packets is what a plain
evaluation of the SPEC says, and what `explain` says that it will do."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator
from random import Random

import pytest
from model import PUBLICS, Model, described, distinct, listed, modelled, under
from probing import Probe, Way, one_cpu
from vpc_lab import Lab

from agent.core.specs import Decision, FilterSpec, FlowSpec, RuleSpec, Why
from tests.support import filter_reference as reference
from tests.support.filter_reference import Judgement, Opening
from tests.support.random_filters import filters, openings

pytestmark = pytest.mark.net

_STEPS = 4  # changes of the rules under which the flows of one history live
_NEW_FLOWS = 60  # opened at each step
_FIRST_OWN_PORT = 20000  # above all ports that rules speak of
_SHORT, _LONG = 6, 100  # histories


@pytest.fixture
def model() -> Iterator[Model]:
    with modelled() as made:
        yield made


@pytest.mark.parametrize("histories", [_SHORT, pytest.param(_LONG, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_the_kernel_the_spec_and_explain_agree(model: Model, histories: int) -> None:
    """SEED repeats a run, and each history has a seed of its own, which a failure names."""
    first = int(os.environ.get("SEED", Random().randrange(1 << 32)))
    with one_cpu():
        total = sum(_history(model, seed) for seed in range(first, first + histories))
    assert total >= histories * _STEPS * _NEW_FLOWS


def _history(model: Model, seed: int) -> int:
    """How many packets were sent."""
    random, own = Random(seed), itertools.count(_FIRST_OWN_PORT)
    model.field.forget_flows()
    living: list[Probe] = []
    used: set[frozenset[str]] = set()
    sent = 0
    for number, spec in enumerate(itertools.islice(filters(random, model.actors), _STEPS)):
        model.lab.driver.apply_filter(spec)
        found = openings(random, spec, model.forwards, PUBLICS)
        opened = [Probe(one, next(own)) for one in itertools.islice(distinct(found, used), _NEW_FLOWS)]
        packets = [(probe, Way.ON) for probe in opened]
        for probe in living:
            probe.opening = under(spec, probe.opening)
            packets.append((probe, probe.next_way(random)))
        sent += len(packets)
        arrived = model.field.send(packets)
        for (probe, way), passed in zip(packets, arrived, strict=True):
            where = f"SEED={seed}, step {number}, {way.value}"
            _compare(model, spec, probe, passed, where, new=probe in opened)
        living += itertools.compress(opened, arrived)
    return sent


# ------------------------------------------------------------------------------------- comparing


def _compare(model: Model, spec: FilterSpec, probe: Probe, arrived: bool, where: str, *, new: bool) -> None:
    fault = _fault(model.lab, spec, probe, arrived)
    if not fault:
        return
    if new:
        spec, fault = _smallest(model, spec, probe, fault)
    pytest.fail(f"{where}{described(probe.opening)}: {fault}\n{listed(spec)}", pytrace=False)


def _fault(lab: Lab, spec: FilterSpec, probe: Probe, arrived: bool) -> str:
    """What does not agree; empty if all does."""
    opening = probe.opening
    judged = reference.sending(spec, opening), reference.receiving(spec, opening)
    wanted = reference.passes(spec, opening)
    answer = lab.driver.explain("vpc-a", _flow(opening))[0]
    if arrived != wanted:
        return f"the kernel {'passes' if arrived else 'drops'} it; the SPEC: {judged}; explain: {answer}"
    for name, found, mine in (("sender", answer.sender, judged[0]), ("receiver", answer.receiver, judged[1])):
        if not _same(spec, opening, found, mine):
            return f"explain says of the {name}: {found}; the SPEC: {mine}"
    return ""


def _same(spec: FilterSpec, opening: Opening, found: Decision | None, judged: Judgement | None) -> bool:
    if found is None or judged is None:
        return found is None and judged is None
    if (found.verdict, found.why) != (judged.verdict, judged.why):
        return False
    if judged.why is not Why.RULE or judged.rule is None:
        return True
    # Of several that say the same at one priority any may be named, but it must be there and must be to the point.
    rule = found.rule
    return (
        rule is not None
        and _canonical(rule) in map(_canonical, spec.rules[found.group])
        and (rule.priority, rule.nic_type) == (judged.rule.priority, judged.rule.nic_type)
        and reference.matches(spec, rule, opening)
    )


def _canonical(rule: RuleSpec) -> RuleSpec:
    return rule if rule.ports != (0, 65535) else dataclasses.replace(rule, ports=None)


def _flow(opening: Opening) -> FlowSpec:
    sender, receiver = opening.sender, opening.receiver
    return FlowSpec(
        protocol=opening.protocol,
        source=opening.source,
        destination=opening.destination,
        source_tap=sender.tap if sender else "",
        source_mac=sender.mac if sender else "",
        destination_tap=receiver.tap if receiver else "",
        port=opening.port,
        reached_port=opening.reached[1],
    )


# ------------------------------------------------------------------------------------- a readable failure


def _smallest(model: Model, spec: FilterSpec, probe: Probe, fault: str) -> tuple[FilterSpec, str]:
    """As few rules and memberships as still show a fault."""
    shrinking = True
    while shrinking:
        shrinking = False
        for smaller in _smaller(spec):
            model.lab.driver.apply_filter(smaller)
            model.field.forget_flows()
            again = Probe(under(smaller, probe.opening), probe.own)
            found = _fault(model.lab, smaller, again, model.field.send([(again, Way.ON)])[0])
            if found:
                spec, fault, shrinking = smaller, found, True
                break
    return spec, fault


def _smaller(spec: FilterSpec) -> Iterator[FilterSpec]:
    for group, rules in spec.rules.items():
        half = len(rules) // 2
        for some in (rules[half:], rules[:half]) if half else ():
            yield dataclasses.replace(spec, rules={**spec.rules, group: some})
        if len(rules) == 1:
            yield dataclasses.replace(spec, rules={**spec.rules, group: ()})
        elif len(rules) < 8:
            for one in range(len(rules)):
                yield dataclasses.replace(spec, rules={**spec.rules, group: rules[:one] + rules[one + 1 :]})
    for number, member in enumerate(spec.members):
        for group in member.groups if len(member.groups) > 1 else ():
            fewer = dataclasses.replace(member, groups=tuple(one for one in member.groups if one != group))
            yield dataclasses.replace(spec, members=(*spec.members[:number], fewer, *spec.members[number + 1 :]))
