"""Snapshots of disks that are written to, and their collection, with real files and real QEMU processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.claims import claim
from tests.support.farm import Farm, farm, units
from tests.support.libvirtd import PrivateLibvirt

pytestmark = [pytest.mark.vm, pytest.mark.timeout(120)]


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
    layers.read_snapshot(first.id, units({0: 1}, 8))
    layers.read_snapshot(second.id, units({0: 2, 5: 3}, 8))
    layers.read_disk(disk, units({0: 2, 5: 4}, 8))
    layers.read_disk(other, units({0: 7}, 8))
    assert layers.violations() == []
    layers.stop(instance)
    layers.read_disk(disk, units({0: 2, 5: 4}, 8))
