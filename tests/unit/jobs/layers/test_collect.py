"""Garbage of disks that nothing runs on: what becomes of it, and what is read above it meanwhile."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from sqlalchemy import update

from agent.jobs.layers import merge
from agent.store.schema import Disk, Layer
from tests.support.disk_io import header, units
from tests.support.farm import Farm


def _history(layers: Farm, disk: str, count: int) -> list[str]:
    """Snapshots; before the n-th, from 0 on, unit n and unit 7 were filled with n + 1."""
    taken = []
    for number in range(count):
        layers.write(disk, number, number + 1)
        layers.write(disk, 7, number + 1)
        taken.append(layers.wait_taken(layers.take(disk)).id)
    return taken


def _wanted(number: int) -> dict[int, int]:
    return units({n: n + 1 for n in range(number + 1)} | {7: number + 1}, 8)


def test_a_chain_is_never_longer_than_what_needs_it(layers: Farm) -> None:
    disk = layers.add_disk()
    taken = _history(layers, disk, 5)
    for number in (2, 0, 4, 1):
        layers.delete_snapshot(taken[number])
        layers.wait_idle()
    assert len(layers.layers()) == 2
    layers.read_snapshot(taken[3], _wanted(3))
    layers.read_disk(disk, _wanted(4))
    assert layers.violations() == []


def test_of_a_disk_long_gone_the_snapshots_stay(layers: Farm) -> None:
    disk = layers.add_disk()
    taken = _history(layers, disk, 3)
    layers.delete_disk(disk)
    layers.delete_snapshot(taken[1])
    layers.wait_idle()
    assert len(layers.layers()) == 2
    clone = layers.add_disk(size_gib=2, snapshot_id=taken[2])
    layers.read_disk(clone, _wanted(2) | {2**31 // 65536 - 1: 0})
    layers.delete_snapshot(taken[2])
    layers.delete_snapshot(taken[0])
    layers.wait_idle()
    layers.read_disk(clone, _wanted(2))
    [left] = layers.layers()
    assert left.size_gib == 2
    layers.delete_disk(clone)
    layers.wait_idle()
    assert layers.storage.list_layers() == set()


def test_what_several_stand_on_waits_until_one_is_left(layers: Farm) -> None:
    disk = layers.add_disk()
    [taken] = _history(layers, disk, 1)
    clone = layers.add_disk(snapshot_id=taken)
    layers.write(clone, 3, 9)
    layers.delete_snapshot(taken)
    layers.wait_idle()
    assert len(layers.layers()) == 3
    layers.delete_disk(disk)
    layers.wait_idle()
    assert len(layers.layers()) == 1
    layers.read_disk(clone, units({0: 1, 3: 9, 7: 1}, 8))


def test_who_reads_is_not_disturbed(layers: Farm) -> None:
    disk = layers.add_disk()
    taken = _history(layers, disk, 2)
    with layers.store.read() as session:
        tree = session.get_one(Disk, disk).layer.tree
    with layers.runner.turns.reading(tree):
        before = layers.storage.list_layers()
        layers.delete_snapshot(taken[0])
        layers.take(disk)
        layers.wait_message("waiting for the disk's other work")
        assert before <= layers.storage.list_layers()
    layers.wait_idle()
    assert len(layers.layers()) == 3


def test_an_overlay_that_a_power_cut_left_on_half_a_merge_is_put_back(layers: Farm) -> None:
    """The store says `merging`, the overlay's header names what is being merged into, whose content is torn."""
    disk = layers.add_disk()
    taken = _history(layers, disk, 2)
    into, layer, top = (one.id for one in sorted(layers.layers(), key=lambda one: one.created_at))
    layers.runner.stop()
    layers.delete_snapshot(taken[0])
    with layers.store.write() as session:
        session.execute(update(Layer).where(Layer.id == into).values(state="merging"))
    path = layers.storage.layer_path(into)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 66 0 640k", str(path)], check=True, capture_output=True)
    # What lies over it has all that was written here, as the layer being merged has.
    layers.storage.move_layer(top, into)
    merge.after_power_cut(layers.context())
    assert header(layers.storage.layer_path(top))["full-backing-filename"] == str(layers.storage.layer_path(layer))


def test_without_room_nothing_is_begun(layers: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = layers.add_disk()
    taken = _history(layers, disk, 2)
    monkeypatch.setattr(merge, "RESERVE_BYTES", 1 << 60)
    layers.delete_snapshot(taken[0])
    layers.wait_idle()
    assert {one.state for one in layers.layers()} == {"ready"}
    assert len(layers.layers()) == 3
    monkeypatch.setattr(merge, "RESERVE_BYTES", 0)
    layers.collect()
    layers.wait_idle()
    assert len(layers.layers()) == 2
    layers.read_snapshot(taken[1], _wanted(1))


def test_a_take_that_cannot_be_done_leaves_nothing(layers: Farm, tmp_path: Path) -> None:
    disk = layers.add_disk()
    layers.write(disk, 0, 1)
    with layers.store.read() as session:
        current = session.get_one(Disk, disk).layer_id
    path = layers.storage.layer_path(current)
    path.rename(tmp_path / "away")
    failed = layers.wait_taken(layers.take(disk))
    layers.wait_idle()
    assert (failed.status, failed.layer_id, failed.progress) == ("failed", None, 0)
    assert current in failed.message
    (tmp_path / "away").rename(path)
    assert layers.storage.list_layers() == {current} == {one.id for one in layers.layers()}
    layers.read_disk(disk, units({0: 1}, 8))


def test_a_disk_that_is_gone_has_no_more_snapshots(layers: Farm) -> None:
    disk = layers.add_disk()
    layers.runner.stop()
    snapshot = layers.take(disk)
    layers.delete_disk(disk)
    layers.restart()
    assert (layers.wait_taken(snapshot).status, layers.snapshot(snapshot).message) == ("failed", f"disk {disk} is gone")
    layers.wait_idle()
    assert layers.layers() == []
