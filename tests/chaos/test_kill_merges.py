"""Who merges layers is killed in the middle: agent, qemu-img, QEMU, libvirtd. Whatever follows, nothing is lost.

What a guest would write comes through QEMU's own `qemu-io`: no guest is fast enough to keep a merge busy.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.claims import claim
from tests.support.disk_io import units
from tests.support.farm import Farm, farm
from tests.support.libvirtd import PrivateLibvirt
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

MUCH_MIB = 384
MIB_UNITS = 16


@pytest.fixture(scope="module")
def layers(libvirtd: PrivateLibvirt) -> Iterator[Farm]:
    with claim() as claimed:
        claimed.uses_libvirt(libvirtd.uri)
        with farm(claimed.directory, libvirtd.uri, claimed.prefix) as made:
            yield made


class Garbage:
    """A disk of an instance with two snapshots: much was written between them, and the first is about to be deleted."""

    def __init__(self, layers: Farm, *, running: bool) -> None:
        self.layers = layers
        self.instance = layers.add_instance()
        self.disk = layers.add_disk(self.instance)
        if running:
            layers.start(self.instance)
        layers.fill(self.disk, 8, 1)
        self.first = layers.wait_taken(layers.take(self.disk)).id
        layers.fill(self.disk, MUCH_MIB, 2, first=4)
        self.second = layers.wait_taken(layers.take(self.disk)).id
        layers.write(self.disk, 1, 3)

    def delete_first(self) -> None:
        self.layers.delete_snapshot(self.first)

    def check(self) -> None:
        """All that was written is there, and nothing is left to be done."""
        kept = {0: 1, 4 * MIB_UNITS - 1: 1, 4 * MIB_UNITS: 2, (MUCH_MIB + 4) * MIB_UNITS - 1: 2}
        kept |= {(MUCH_MIB + 4) * MIB_UNITS: 0}
        self.layers.read_snapshot(self.second, kept | {1: 1})
        self.layers.read_disk(self.disk, kept | {1: 3})

    def check_merged(self) -> None:
        self.layers.collect()
        self.layers.wait_idle()
        self.check()
        assert self.layers.violations() == []
        assert [one.id for one in self.layers.layers() if one.state == "merging"] == []
        self.layers.stop(self.instance)
        self.layers.delete_snapshot(self.second)
        self.layers.delete_disk(self.disk)
        self.layers.wait_idle()
        assert self.layers.storage.list_layers() == set()


def test_the_agent_dies_while_a_guest_merges(layers: Farm) -> None:
    garbage = Garbage(layers, running=True)
    garbage.delete_first()
    layers.wait_merging(garbage.disk)
    layers.fuse.arm(1)
    wait_for("its death", layers.fuse.blown.is_set, every=0.01)
    layers.restart()
    garbage.check()
    garbage.check_merged()


@pytest.mark.parametrize("again", [True, False])
def test_qemu_dies_while_it_merges(layers: Farm, libvirtd: PrivateLibvirt, again: bool) -> None:
    """The guest starts `again`, or the rest is done without it."""
    garbage = Garbage(layers, running=True)
    garbage.delete_first()
    layers.wait_merging(garbage.disk)
    layers.kill_qemu(garbage.instance, libvirtd)
    if again:
        layers.start(garbage.instance)
    garbage.check()
    garbage.check_merged()


def test_libvirtd_dies_while_a_guest_merges(layers: Farm, libvirtd: PrivateLibvirt) -> None:
    garbage = Garbage(layers, running=True)
    garbage.delete_first()
    layers.wait_merging(garbage.disk)
    libvirtd.restart_libvirtd()
    garbage.check()
    garbage.check_merged()


def _qemu_img() -> list[int]:
    """Our children that merge."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"qemu-img\0commit") or b"/qemu-img\0commit\0" in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # it ended meanwhile
            continue
    return [pid for pid in found if f"\nPPid:\t{os.getpid()}\n" in Path(f"/proc/{pid}/status").read_text()]


def _killed(layers: Farm, garbage: Garbage) -> None:
    os.kill(_qemu_img()[0], signal.SIGKILL)


def _started(layers: Farm, garbage: Garbage) -> None:
    layers.start(garbage.instance)
    assert _qemu_img() == []  # it gave way


def _crashed(layers: Farm, garbage: Garbage) -> None:
    layers.fuse.arm(1)
    wait_for("the merge's end", layers.fuse.blown.is_set, every=0.01)
    layers.restart()


@pytest.mark.parametrize("event", [_killed, _started, _crashed])
def test_qemu_img_is_cut_off(layers: Farm, event: Callable[[Farm, Garbage], None]) -> None:
    garbage = Garbage(layers, running=False)
    garbage.delete_first()
    wait_for("qemu-img", _qemu_img, 30, every=0.005)
    event(layers, garbage)
    garbage.check()
    garbage.check_merged()


def test_two_guests_on_one_layer(layers: Farm) -> None:
    """Both go on with what they share, which waits until one of them alone has it open."""
    garbage = Garbage(layers, running=True)
    clone = layers.add_instance()
    disk = layers.add_disk(clone, snapshot_id=garbage.second)
    layers.start(clone)
    owners = {path: path.stat().st_uid for path in layers.config.data_dir.glob("disks/*")}
    garbage.delete_first()
    layers.wait_idle()
    assert len(layers.layers()) == 4  # the garbage is still there: both guests would have to move
    layers.write(disk, 2, 5)
    layers.write(garbage.disk, 2, 6)
    layers.stop(clone)
    layers.wait_idle()
    assert len(layers.layers()) == 3
    assert {path: path.stat().st_uid for path in owners if path.exists()}.items() <= owners.items()
    garbage.check()
    layers.read_disk(garbage.disk, {2: 6})
    layers.start(clone)
    layers.read_disk(disk, units({0: 1, 1: 1, 2: 5}, 3))
    layers.stop(clone)
    layers.delete_disk(disk)
    garbage.check_merged()
