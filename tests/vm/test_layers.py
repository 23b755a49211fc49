"""Snapshots of disks that are written to, and the collection of what is left of them, with real QEMU processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.jobs.layers import merge
from tests.support.claims import claim
from tests.support.disk_io import units
from tests.support.farm import Farm, farm
from tests.support.libvirtd import PrivateLibvirt

pytestmark = [pytest.mark.vm, pytest.mark.timeout(120)]

UNITS = 8


@pytest.fixture(scope="module")
def layers(libvirtd: PrivateLibvirt) -> Iterator[Farm]:
    with claim() as claimed:
        claimed.uses_libvirt(libvirtd.uri)
        with farm(claimed.directory, libvirtd.uri, claimed.prefix) as made:
            yield made


@pytest.mark.parametrize("running", [False, True])
def test_a_snapshot_is_what_the_disk_was(layers: Farm, running: bool) -> None:
    instance = layers.add_instance()
    disk, other = layers.add_disk(instance), layers.add_disk(instance)
    if running:
        layers.start(instance)
    layers.write(disk, 0, 1)
    layers.write(other, 0, 7)
    first = layers.wait_taken(layers.take(disk))
    assert (first.status, first.progress, first.consistency, first.message) == ("accomplished", 100, "crash", "")
    layers.write(disk, 0, 2)
    layers.write(disk, 5, 3)
    second = layers.wait_taken(layers.take(disk))
    layers.write(disk, 5, 4)
    layers.read_snapshot(first.id, units({0: 1}, UNITS))
    layers.read_snapshot(second.id, units({0: 2, 5: 3}, UNITS))
    layers.read_disk(disk, units({0: 2, 5: 4}, UNITS))
    layers.read_disk(other, units({0: 7}, UNITS))
    assert layers.violations() == []
    layers.stop(instance)
    layers.read_disk(disk, units({0: 2, 5: 4}, UNITS))


ORDERS = [(0, 1, 2), (2, 1, 0), (1, 0, 2)]
# Which files are merged is planned in the same way whether the guest runs; each way of merging is in the first one.
STOPPED = [pytest.param(False, order, marks=pytest.mark.long if number else []) for number, order in enumerate(ORDERS)]


@pytest.mark.parametrize(("running", "order"), [*((True, order) for order in ORDERS), *STOPPED])
def test_snapshots_are_deleted_in_any_order(layers: Farm, running: bool, order: tuple[int, ...]) -> None:
    instance = layers.add_instance()
    disk = layers.add_disk(instance)
    if running:
        layers.start(instance)
    wanted = {}
    for number in range(3):
        layers.write(disk, number, number + 1)
        layers.write(disk, 7, number + 1)
        wanted[layers.wait_taken(layers.take(disk)).id] = units(
            {n: n + 1 for n in range(number + 1)} | {7: number + 1}, 8
        )
    layers.write(disk, 7, 9)
    before = len(layers.layers())
    for number, place in enumerate(order, 1):
        layers.delete_snapshot(list(wanted)[place])
        layers.wait_idle()
        for kept in (list(wanted)[one] for one in order[number:]):
            layers.read_snapshot(kept, wanted[kept])
        layers.read_disk(disk, units({0: 1, 1: 2, 2: 3, 7: 9}, UNITS))
        assert layers.violations() == []
    layers.stop(instance)
    layers.wait_idle()
    assert before - len(layers.layers()) == 3
    layers.read_disk(disk, units({0: 1, 1: 2, 2: 3, 7: 9}, UNITS))
    assert layers.violations() == []


def test_much_garbage_under_a_running_disk_is_merged(layers: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "WORTHWHILE_BYTES", 1 << 20)
    instance = layers.add_instance()
    disk = layers.add_disk(instance)
    layers.start(instance)
    layers.write(disk, 0, 1)
    taken = layers.wait_taken(layers.take(disk)).id
    for unit in range(1, 32):
        layers.write(disk, unit, 2)
    layers.delete_snapshot(taken)
    layers.wait_idle()
    assert len([layer for layer in layers.layers() if layer.id.startswith(disk)]) == 2
    layers.read_disk(disk, units({0: 1} | dict.fromkeys(range(1, 32), 2), 40))
    assert layers.violations() == []
