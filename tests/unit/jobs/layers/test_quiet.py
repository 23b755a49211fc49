"""A guest agent freezes the file systems for a snapshot, or not: never a failed snapshot, nobody left frozen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import select

from agent.core.errors import DriverError
from agent.core.ids import body
from agent.core.protocols import Hypervisor
from agent.jobs.layers.live import THAW
from agent.store.schema import Disk, Job
from tests.support.farm import Farm
from tests.support.waiting import wait_for


class Guest:
    """One that runs and writes to `file`. Its agent fails to freeze while `stuck`, and to thaw the first two times."""

    def __init__(self) -> None:
        self.serial, self.file = "", Path()
        self.stuck, self.frozen = False, False
        self.switches: list[bool] = []
        self.thaws = 0

    def disk_files(self, name: str) -> dict[str, tuple[Path, ...]]:
        return {self.serial: (self.file,)}

    def guest_agent_connected(self, name: str) -> bool:
        return True

    def switch_layer(self, name: str, serial: str, new: Path, *, quiet: bool) -> None:
        self.switches.append(quiet)
        if quiet and self.stuck:
            self.frozen = True  # it does so after its time is over
            raise DriverError("cannot freeze: the guest agent does not answer", transient=True)
        self.file = new

    def thaw(self, name: str) -> None:
        self.thaws += 1
        if self.thaws < 3:
            raise DriverError("cannot thaw: the guest agent does not answer", transient=True)
        self.frozen = False

    def list(self) -> dict[str, object]:
        return {}

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def guest() -> Guest:
    return Guest()


@pytest.fixture
def layers(tmp_path: Path, guest: Guest) -> Iterator[Farm]:
    made = Farm(tmp_path, "", "t0un", cast(Hypervisor, guest))
    yield made
    made.close()


def _disk(layers: Farm, guest: Guest) -> str:
    disk = layers.add_disk(layers.add_instance())
    with layers.store.read() as session:
        guest.file = layers.storage.layer_path(session.get_one(Disk, disk).layer_id)
    guest.serial = body(disk)
    return disk


def test_an_agent_that_answers_makes_it_consistent(layers: Farm, guest: Guest) -> None:
    taken = layers.wait_taken(layers.take(_disk(layers, guest)))
    assert (taken.status, taken.consistency, guest.switches, guest.thaws) == ("accomplished", "filesystem", [True], 0)


def test_one_that_does_not_is_done_without_and_thawed_in_the_end(layers: Farm, guest: Guest) -> None:
    guest.stuck = True
    disk = _disk(layers, guest)
    first = layers.wait_taken(layers.take(disk))
    assert (first.status, first.consistency, guest.switches) == ("accomplished", "crash", [True, False])
    wait_for("the thaw", lambda: not guest.frozen, 30, every=0.02)
    layers.wait_idle()
    with layers.store.read() as session:
        assert list(session.scalars(select(Job.state).where(Job.kind == THAW))) == ["succeeded"]


def test_whoever_may_have_frozen_before_a_crash_is_thawed(layers: Farm, guest: Guest) -> None:
    """The agent dies when it has asked for the switch; who comes after it cannot know how far that went."""
    disk = _disk(layers, guest)
    switch = guest.switch_layer

    def die(name: str, serial: str, new: Path, *, quiet: bool) -> None:
        guest.frozen = True
        layers.fuse.arm(1)

    guest.switch_layer = die  # type: ignore[method-assign]
    snapshot = layers.take(disk)
    wait_for("the crash", layers.fuse.blown.is_set, 30, every=0.02)
    guest.switch_layer = switch  # type: ignore[method-assign]
    layers.restart()
    taken = layers.wait_taken(snapshot)
    assert (taken.status, taken.consistency, guest.switches) == ("accomplished", "crash", [False])
    wait_for("the thaw", lambda: not guest.frozen, 30, every=0.02)
    layers.wait_idle()
