"""Random sequences of everything that is done with layers, compared with a model after each step (SPEC S3, D7).

Store, jobs, files, libvirt and QEMU are real. `LAYERS_EXAMPLES` and `LAYERS_STEPS` take other numbers; `LAYERS_SEED`
repeats a run: a failure prints the seed and the steps.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from agent.jobs.layers import merge
from tests.support.claims import claim
from tests.support.disk_io import UNIT, units
from tests.support.farm import Farm, farm
from tests.support.libvirtd import PrivateLibvirt

pytestmark = [pytest.mark.vm, pytest.mark.timeout(7200)]

SHORT, LONG = (3, 25), (60, 60)  # sequences, and their steps
SEED = int(os.environ.get("LAYERS_SEED") or random.SystemRandom().randrange(2**32))

UNITS = 12  # at the beginning of each disk; another one is at its end
GIB_UNITS = 2**30 // UNIT
MOST_DISKS, MOST_SNAPSHOTS = 6, 12

# What is done, and how often: one rule chooses. Left to itself, hypothesis keeps to few rules and small choices.
OFTEN = ("write", "write", "take", "delete_snapshot", "delete_snapshot")
NOW_AND_THEN = ("zero", "roll_back", "create_from", "start", "start", "crash", "collect")
SELDOM = ("stop", "delete_disk", "plug", "grow", "restart_libvirtd")
WEIGHTED = 3 * OFTEN + 2 * NOW_AND_THEN + SELDOM

Content = dict[int, int]


@dataclass
class ModelDisk:
    content: Content
    size_gib: int
    instance: str | None

    def wanted(self) -> Content:
        return (
            units(self.content, UNITS) | {gib * GIB_UNITS - 1: 0 for gib in range(1, self.size_gib + 1)} | self.content
        )


@dataclass
class ModelSnapshot:
    disk: str
    content: Content
    size_gib: int


@dataclass
class Model:
    disks: dict[str, ModelDisk] = field(default_factory=dict)
    snapshots: dict[str, ModelSnapshot] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)


class LayersMachine(RuleBasedStateMachine):
    farm: Farm
    libvirtd: PrivateLibvirt
    instances: list[str]
    model: Model
    random: random.Random

    @initialize(random=st.randoms(use_true_random=True))
    def begin(self, random: random.Random) -> None:
        self.model, self.random = Model(), random
        running = random.random() < 0.5
        for instance in self.instances:
            self._new_disk(instance)
            if running:
                self.farm.start(instance)
                self.model.running.add(instance)

    def teardown(self) -> None:
        """When nothing needs a layer any more, none is left."""
        if not hasattr(self, "model"):
            return
        self.farm.fuse.renew()
        self.farm.restart()
        for instance in self.model.running:
            self.farm.stop(instance)
        for snapshot in self.model.snapshots:
            self.farm.delete_snapshot(snapshot)
        for disk in self.model.disks:
            self.farm.delete_disk(disk)
        self.farm.wait_idle()
        assert [(layer.id, layer.state) for layer in self.farm.layers()] == []

    # ------------------------------------------------------------------------ drawing

    def _disk(self, *, off: bool = False) -> str | None:
        found = [one for one, disk in self.model.disks.items() if not off or disk.instance not in self.model.running]
        return self._chosen(found) if found else None

    def _snapshot(self) -> str | None:
        found = list(self.model.snapshots)
        return self._chosen(found) if found else None

    def _chosen(self, found: list[str]) -> str:
        chosen = self.random.choice(found)
        note(chosen)
        return chosen

    def _new_disk(self, instance: str | None) -> None:
        self.model.disks[self.farm.add_disk(instance)] = ModelDisk({}, 1, instance)

    def _survive(self) -> None:
        """A new agent, if the one before has died."""
        if self.farm.fuse.blown.is_set():
            self.farm.restart()

    # ------------------------------------------------------------------------ what is done

    @rule()
    def step(self) -> None:
        what = self.random.choice(WEIGHTED)
        note(f"{what} (running: {sorted(self.model.running)})")
        getattr(self, f"_{what}")()

    def _write(self) -> None:
        if name := self._disk():
            disk, pattern = self.model.disks[name], self.random.randint(1, 255)
            for unit in self.random.sample(range(UNITS + 1), self.random.randint(1, 5)):
                place = unit if unit < UNITS else disk.size_gib * GIB_UNITS - 1
                self.farm.write(name, place, pattern)
                disk.content[place] = pattern

    def _zero(self) -> None:
        if name := self._disk():
            unit = self.random.randrange(UNITS)
            self.farm.zero(name, unit)
            self.model.disks[name].content.pop(unit, None)

    def _take(self) -> None:
        name = self._disk()
        if name and len(self.model.snapshots) < MOST_SNAPSHOTS:
            snapshot = self.farm.take(name)
            self.farm.wait_taken(snapshot)
            self._survive()
            taken = self.farm.wait_taken(snapshot)
            assert (taken.status, taken.message) == ("accomplished", "")
            disk = self.model.disks[name]
            self.model.snapshots[snapshot] = ModelSnapshot(name, dict(disk.content), disk.size_gib)

    def _delete_snapshot(self) -> None:
        if name := self._snapshot():
            self.farm.delete_snapshot(name)
            del self.model.snapshots[name]

    def _delete_disk(self) -> None:
        name = self._disk(off=True)
        if name and self.model.disks[name].instance is None:
            self.farm.delete_disk(name)
            del self.model.disks[name]

    def _roll_back(self) -> None:
        snapshot = self.model.snapshots.get(name := self._snapshot() or "")
        disk = self.model.disks.get(snapshot.disk) if snapshot else None
        if snapshot and disk and disk.instance not in self.model.running:
            self.farm.roll_back(snapshot.disk, name)
            disk.content = dict(snapshot.content)

    def _create_from(self) -> None:
        name = self._snapshot()
        if name and len(self.model.disks) < MOST_DISKS:
            snapshot = self.model.snapshots[name]
            off = [one for one in self.instances if one not in self.model.running]
            instance = self.random.choice([None, *off])
            disk = self.farm.add_disk(instance, snapshot.size_gib, name)
            self.model.disks[disk] = ModelDisk(dict(snapshot.content), snapshot.size_gib, instance)

    def _plug(self) -> None:
        """Into another instance, or out of its own."""
        name, new = self._disk(off=True), self.random.choice([None, *self.instances])
        if name and new not in self.model.running:
            self.model.disks[name].instance = new
            self.farm.plug(name, new)

    def _grow(self) -> None:
        name = self._disk(off=True)
        if name and self.model.disks[name].size_gib < 4:
            self.model.disks[name].size_gib += 1
            self.farm.grow(name, self.model.disks[name].size_gib)

    def _start(self) -> None:
        name = self.random.choice(self.instances)
        if name not in self.model.running and any(d.instance == name for d in self.model.disks.values()):
            self.farm.start(name)
            self.model.running.add(name)

    def _stop(self) -> None:
        """Also by a SIGKILL of its QEMU."""
        if self.model.running:
            name = self._chosen(sorted(self.model.running))
            if self.random.random() < 0.5:
                self.farm.kill_qemu(name, self.libvirtd)
            self.farm.stop(name)
            self.model.running.remove(name)

    def _crash(self) -> None:
        """The agent dies at one of the next calls of its drivers."""
        self.farm.fuse.arm(self.random.randint(1, 40))

    def _collect(self) -> None:
        """The reconciler looks, and everything that can be done is."""
        self.farm.collect()
        self.farm.wait_idle()
        self._survive()
        self.farm.wait_idle()

    def _restart_libvirtd(self) -> None:
        if self.model.running:
            self.libvirtd.restart_libvirtd()

    # ------------------------------------------------------------------------ what holds after each

    @invariant()
    def nothing_is_lost(self) -> None:
        self._survive()
        for name, disk in self.model.disks.items():
            self.farm.read_disk(name, disk.wanted())
        for name, snapshot in self.model.snapshots.items():
            self.farm.read_snapshot(name, ModelDisk(snapshot.content, snapshot.size_gib, None).wanted())

    @invariant()
    def files_are_whole_and_few(self) -> None:
        """As soon as nothing is at work any more."""
        if not self.farm.is_idle():
            return
        assert self.farm.violations() == []
        needed = len(self.model.disks) + len(self.model.snapshots)
        assert len(self.farm.layers()) <= 2 * needed + len(self.model.running)


@pytest.fixture
def machine(libvirtd: PrivateLibvirt, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(merge, "WORTHWHILE_BYTES", 1 << 20)  # an empty layer has a third of it
    with claim() as claimed:
        claimed.uses_libvirt(libvirtd.uri)
        with farm(claimed.directory, libvirtd.uri, claimed.prefix) as made:
            instances = [made.add_instance(), made.add_instance()]
            yield type("Machine", (LayersMachine,), {"farm": made, "libvirtd": libvirtd, "instances": instances})


@pytest.mark.parametrize("length", [SHORT, pytest.param(LONG, marks=pytest.mark.long)], ids=["short", "long"])
def test_every_disk_and_snapshot_keeps_its_content(machine: Any, length: tuple[int, int]) -> None:
    print(f"LAYERS_SEED={SEED}")
    examples, steps = (
        int(os.environ.get(name, number))
        for name, number in zip(("LAYERS_EXAMPLES", "LAYERS_STEPS"), length, strict=True)
    )

    @seed(SEED)
    def run() -> None:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                phases=[Phase.generate],  # making a failure smaller would take hours
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )

    run()
