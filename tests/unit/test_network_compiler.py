"""The filter's compiler remembers what it made; whatever it remembers, it makes what a new one would."""

from __future__ import annotations

import dataclasses
import random

import pytest

from agent.core.specs import Direction, FilterSpec, MemberSpec, RuleSpec, Verdict
from agent.drivers.network.filter import Compiler, translate

GROUPS = [f"sg-{n}" for n in range(6)]
CIDRS = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "192.168.0.7/32"]


class History:
    """A filter that changes at random; what a change leaves alone stays the same object, mostly."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.spec = FilterSpec("vpc-1")
        self._next = 0

    def step(self) -> FilterSpec:
        change = self.random.choice(
            [
                self._rule,
                self._rule,
                self._rules,
                self._join,
                self._join,
                self._leave,
                self._move,
                self._flags,
                self._copy,
            ]
        )
        self.spec = change()
        return self.spec

    def _a_rule(self) -> RuleSpec:
        pick = self.random.choice
        protocol = pick(["all", "tcp", "udp", "icmp", "gre"])
        first = self.random.randint(1, 65000)
        by_group = self.random.random() < 0.3
        return RuleSpec(
            pick(list(Direction)),
            pick(list(Verdict)),
            pick([1, 1, 2, 110]),
            protocol,
            (first, first + self.random.randint(0, 200)) if protocol in ("tcp", "udp") else None,
            None if by_group else pick(CIDRS),
            pick(GROUPS) if by_group else None,
            pick(["intranet", "intranet", "internet"]),
        )

    def _with_rules(self, group: str, rules: tuple[RuleSpec, ...]) -> FilterSpec:
        return dataclasses.replace(self.spec, rules={**self.spec.rules, group: rules})

    def _rule(self) -> FilterSpec:
        group = self.random.choice(GROUPS)
        rules = self.spec.rules.get(group, ())
        if rules and self.random.random() < 0.4:
            gone = self.random.choice(rules)
            return self._with_rules(group, tuple(rule for rule in rules if rule is not gone))
        return self._with_rules(group, (*rules, self._a_rule()))

    def _rules(self) -> FilterSpec:
        number = self.random.choice([0, 3, 70])
        return self._with_rules(self.random.choice(GROUPS), tuple(self._a_rule() for _ in range(number)))

    def _join(self) -> FilterSpec:
        self._next = n = self._next + 1
        groups = tuple(self.random.sample(GROUPS, self.random.randint(1, 3)))
        nic_type = self.random.choice(["intranet", "intranet", "internet"])
        ips = tuple(f"10.{k}.{n // 250}.{n % 250}" for k in range(self.random.randint(1, 2)))
        forwards = self.random.choice([(), (), ("172.16.0.0/12",)])
        new = MemberSpec(f"t{n}", f"00:16:3e:00:{n // 256:02x}:{n % 256:02x}", ips, groups, nic_type, forwards)
        return dataclasses.replace(self.spec, members=(*self.spec.members, new))

    def _leave(self) -> FilterSpec:
        gone = self.random.randrange(len(self.spec.members) + 1)
        return dataclasses.replace(self.spec, members=self.spec.members[:gone] + self.spec.members[gone + 1 :])

    def _move(self) -> FilterSpec:
        members = list(self.spec.members)
        if members:
            number = self.random.randrange(len(members))
            groups = tuple(self.random.sample(GROUPS, self.random.randint(1, 3)))
            members[number] = dataclasses.replace(members[number], groups=groups)
        return dataclasses.replace(self.spec, members=tuple(members))

    def _flags(self) -> FilterSpec:
        taps = frozenset(member.tap for member in self.spec.members if self.random.random() < 0.2)
        apart = frozenset(group for group in GROUPS if self.random.random() < 0.2)
        return dataclasses.replace(self.spec, smtp_allowed=taps, isolated=apart)

    def _copy(self) -> FilterSpec:
        """The same, of other objects."""
        rules = {group: tuple(map(dataclasses.replace, found)) for group, found in self.spec.rules.items()}
        members = tuple(map(dataclasses.replace, self.spec.members))
        return dataclasses.replace(self.spec, rules=rules, members=members)


@pytest.mark.parametrize("seed", range(4))
def test_it_compiles_what_a_new_one_would(seed: int) -> None:
    history, compiler, before, generation = History(seed), Compiler(), None, 0
    for _ in range(40):
        spec, last = history.step(), generation
        compiled = compiler.compile(spec)
        generation = compiler.generation
        assert compiled == translate(spec, generation=generation)
        assert (generation == last) == (before == decisive(spec))
        before = decisive(spec)


def decisive(spec: FilterSpec) -> object:
    """All but what is checked of every packet anyway."""
    sets, chains = (inet := translate(spec)[0]).sets, inet.chains
    return {name: value for name, value in sets.items() if name not in ("senders", "forwarders")}, chains


def test_what_cannot_be_leaves_no_trace() -> None:
    history, compiler = History(9), Compiler()
    for _ in range(30):
        history.step()
    good = compiler.compile(history.spec)
    group = history.spec.members[0].groups[0]
    bad = RuleSpec(Direction.INGRESS, Verdict.ACCEPT, 1, "tcp", (1, 99999), "0.0.0.0/0")
    with pytest.raises(ValueError, match="are not a range"):
        compiler.compile(dataclasses.replace(history.spec, rules={**history.spec.rules, group: (bad,)}))
    assert compiler.compile(history.spec) == good


def test_what_did_not_change_is_the_same_object() -> None:
    history, compiler = History(5), Compiler()
    for _ in range(60):
        history.step()
    spec = history.spec
    before = compiler.compile(spec)[0]
    group = spec.members[0].groups[0]
    rule = RuleSpec(Direction.INGRESS, Verdict.ACCEPT, 77, "tcp", (1, 2), "0.0.0.0/0")
    after = compiler.compile(
        dataclasses.replace(spec, rules={**spec.rules, group: (*spec.rules.get(group, ()), rule)})
    )[0]
    changed = {name for name, chain in after.chains.items() if chain is not before.chains.get(name)}
    combos = {name for name in changed if name.startswith("c_")}
    assert {name for name in changed - combos if name.startswith("s_")} == {
        name for name in after.chains if name.startswith(f"s_{group}_")
    }
    assert all(after.sets[name] is before.sets[name] for name in ("egress", "ingress", "senders"))


def test_flows_are_examined_again_after_a_renewal() -> None:
    compiler = Compiler()
    compiler.compile(FilterSpec("vpc-1"))
    first = compiler.generation
    compiler.compile(FilterSpec("vpc-1"))
    assert compiler.generation == first
    compiler.renew()
    compiler.compile(FilterSpec("vpc-1"))
    assert compiler.generation != first
