"""Jobs of disks against a hypervisor that does as it is told: what a guest may do in between, and what is left then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.core.clock import SystemClock
from agent.core.errors import DriverError
from agent.core.ids import body
from agent.core.specs import DiskSpec
from agent.jobs import journal, reconcile_disks
from agent.jobs.model import Drivers
from agent.jobs.runner import JobRunner
from agent.store.schema import Disk, Instance, Job, Layer
from tests.support.cloud import START, Cloud
from tests.support.stored_disks import add_disk, add_snapshot, change, row

LIMIT = 30.0


class Guest:
    """One running guest, or none. `lets_go`: whether it does when asked; `faults` are raised by the next calls."""

    def __init__(self) -> None:
        self.disks: dict[str, DiskSpec | None] = {}
        self.off = False
        self.lets_go = True
        self.places: list[str] | None = None
        self.faults: list[Exception] = []
        self.asked: list[str] = []
        self.sizes: dict[str, int] = {}
        self.limited: list[DiskSpec] = []

    def attached_disks(self, name: str) -> set[str] | None:
        return None if self.off else set(self.disks)

    def attach_disk(self, name: str, disk: DiskSpec) -> None:
        self._fail()
        self.disks[disk.serial] = disk

    def request_detach(self, name: str, serial: str) -> None:
        self._fail()
        self.asked.append(serial)
        if self.lets_go:
            self.disks.pop(serial, None)

    def mounted(self, name: str, serial: str) -> list[str] | None:
        return self.places

    def resize_disk(self, name: str, serial: str, size_bytes: int) -> None:
        self._fail()
        self.sizes[serial] = size_bytes

    def limit_disk(self, name: str, disk: DiskSpec) -> None:
        self.limited.append(disk)

    def _fail(self) -> None:
        if self.faults:
            raise self.faults.pop(0)


class Files:
    """Layers by name, with their size and the file that they are on."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[int, Path | None]] = {}
        self.grown: dict[str, int] = {}
        self.faults: list[Exception] = []

    def create_layer(self, layer_id: str, size_gib: int, base: Path | None) -> Path:
        if self.faults:
            raise self.faults.pop(0)
        self.made[layer_id] = (size_gib, base)
        return self.layer_path(layer_id)

    def resize_layer(self, layer_id: str, size_gib: int) -> None:
        self.grown[layer_id] = size_gib

    def layer_path(self, layer_id: str) -> Path:
        return Path("/disks") / layer_id

    def image_path(self, image_id: str) -> Path:
        return Path("/images") / image_id

    def delete_layer(self, layer_id: str) -> None:
        self.made.pop(layer_id, None)

    def list_layers(self) -> set[str]:
        return set(self.made)


class Lab:
    """A cloud with one running instance, whose guest and files these are."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.guest, self.files = cloud, Guest(), Files()
        _, vswitch_id = cloud.default_vswitch()
        self.instance_id = cloud.add_instance(vswitch_id, [])
        absent: Any = None
        drivers: Any = Drivers(
            hypervisor=self.guest,  # type: ignore[arg-type]
            storage=self.files,  # type: ignore[arg-type]
            network=absent,
            seeds=absent,
            builder=absent,
            converter=absent,
            objects=absent,
        )
        self.runner = JobRunner(cloud.services.config, cloud.store, drivers, SystemClock(), unseal=bytes.decode)

    def disk(self, status: str = "In_use", **columns: Any) -> str:
        """One of the instance; its guest has it when it is In_use or Detaching."""
        disk_id = add_disk(self.cloud, status=status, instance_id=self.instance_id, device="/dev/xvdb", **columns)
        if status in ("In_use", "Detaching"):
            self.guest.disks[body(disk_id)] = None
        return disk_id

    def run(self, kind: str, disk_id: str, **data: Any) -> Job:
        """The job of `kind`, ended."""
        with self.cloud.store.write() as session:
            lock = session.get_one(Disk, disk_id).instance_id or disk_id
            job_id = journal.enqueue(session, kind, disk_id, SystemClock().now(), lock=lock, data=data).id
        self.runner.wake()
        assert self.runner.wait(job_id, LIMIT)
        with self.cloud.store.read() as session:
            return session.query(Job).where(Job.id == job_id).one()


@pytest.fixture
def lab(make_cloud: Any) -> Iterator[Lab]:
    made = Lab(make_cloud(detach_seconds=3))  # enough for a busy host to ask the guest at least once
    made.runner.start()
    yield made
    made.runner.stop()


def test_a_disk_is_plugged_in_with_its_limits(lab: Lab) -> None:
    disk_id = lab.disk("Attaching")
    assert lab.run("disk.attach", disk_id).state == "succeeded"
    spec = lab.guest.disks[body(disk_id)]
    assert spec is not None
    assert (spec.device, spec.bus, spec.total_iops) == ("vdb", "virtio", 1960)
    assert row(lab.cloud, disk_id).status == "In_use"


def test_what_cannot_be_plugged_in_is_available_again(lab: Lab) -> None:
    disk_id = lab.disk("Attaching")
    lab.guest.faults = [DriverError("cannot attach disk: no PCI slot is free")]
    job = lab.run("disk.attach", disk_id)
    assert (job.state, job.message) == ("failed", "cannot attach disk: no PCI slot is free")
    found = row(lab.cloud, disk_id)
    assert (found.status, found.instance_id, found.device) == ("Available", None, None)


def test_a_guest_that_goes_off_meanwhile_has_the_disk_at_its_next_start(lab: Lab) -> None:
    disk_id = lab.disk("Attaching")

    def attach(name: str, disk: DiskSpec) -> None:
        lab.guest.off = True
        raise DriverError("domain is not active any more")

    lab.guest.attach_disk = attach  # type: ignore[method-assign]
    assert lab.run("disk.attach", disk_id).state == "succeeded"
    assert row(lab.cloud, disk_id).status == "In_use"


def test_a_mounted_disk_stays(lab: Lab) -> None:
    disk_id = lab.disk("Detaching")
    lab.guest.places = ["/srv", "/var/lib/data"]
    job = lab.run("disk.detach", disk_id)
    assert job.state == "failed"
    assert "the guest has it mounted at /srv, /var/lib/data; unmount it there first" in job.message
    assert (row(lab.cloud, disk_id).status, lab.guest.asked) == ("In_use", [])


def test_a_disk_that_the_guest_does_not_let_go_of_stays(lab: Lab) -> None:
    disk_id = lab.disk("Detaching")
    lab.guest.lets_go = False
    job = lab.run("disk.detach", disk_id)
    assert "stays attached: the guest did not let go of it within 3 s" in job.message
    found = row(lab.cloud, disk_id)
    assert (found.status, found.instance_id) == ("In_use", lab.instance_id)
    assert lab.guest.asked == [body(disk_id)]


def test_a_disk_of_an_instance_that_is_stopping_stays(lab: Lab) -> None:
    disk_id = lab.disk("Detaching")
    change(lab.cloud, Instance, lab.instance_id, status="Stopping")
    assert "is Stopping; detach it when it is stopped" in lab.run("disk.detach", disk_id).message
    assert lab.guest.asked == []


@pytest.mark.parametrize("off", [False, True])
def test_a_disk_that_the_guest_lets_go_of_is_available(lab: Lab, off: bool) -> None:
    disk_id = lab.disk("Detaching")
    lab.guest.off, lab.guest.places = off, []
    assert lab.run("disk.detach", disk_id).state == "succeeded"
    found = row(lab.cloud, disk_id)
    assert (found.status, found.instance_id, found.detached_at is not None) == ("Available", None, True)
    assert lab.guest.asked == ([] if off else [body(disk_id)])


def test_growing_tells_a_running_guest_and_lifts_its_limits(lab: Lab) -> None:
    disk_id = lab.disk()
    assert lab.run("disk.resize", disk_id, size_gib=40).state == "succeeded"
    assert lab.guest.sizes == {body(disk_id): 40 << 30}
    assert [spec.total_iops for spec in lab.guest.limited] == [1800 + 8 * 40]
    assert (row(lab.cloud, disk_id).size_gib, lab.files.grown) == (40, {})


def test_growing_without_a_guest_is_done_in_the_file(lab: Lab) -> None:
    lab.guest.off = True
    for disk_id in (lab.disk(), add_disk(lab.cloud)):
        assert lab.run("disk.resize", disk_id, size_gib=40).state == "succeeded"
        found = row(lab.cloud, disk_id)
        assert (found.size_gib, lab.files.grown[found.layer_id]) == (40, 40)
        with lab.cloud.store.read() as session:
            assert session.get_one(Layer, found.layer_id).size_gib == 40


def test_a_disk_that_cannot_be_made_leaves_nothing(lab: Lab) -> None:
    disk_id = add_disk(lab.cloud, status="Creating")
    lab.files.faults = [DriverError("cannot create disk: No space left on device")]
    job = lab.run("disk.create", disk_id)
    assert (job.state, "No space left" in job.message) == ("failed", True)
    assert lab.cloud.call("DescribeDisks", {"DiskType": "data"})["TotalCount"] == 0


def test_a_rollback_goes_on_over_the_snapshot(lab: Lab) -> None:
    disk_id = add_disk(lab.cloud)
    snapshot_id = add_snapshot(lab.cloud, disk_id)
    before = row(lab.cloud, disk_id).layer_id
    change(lab.cloud, Disk, disk_id, status="ReIniting", size_gib=30)
    assert lab.run("disk.roll_back", disk_id, snapshot_id=snapshot_id).state == "succeeded"
    found = row(lab.cloud, disk_id)
    with lab.cloud.store.read() as session:
        below = session.get_one(Layer, found.layer_id).parent_id
    assert (found.status, found.layer_id != before) == ("Available", True)
    assert lab.files.made[found.layer_id] == (30, Path("/disks") / str(below))


@pytest.mark.parametrize("fault", ["snapshot", "file"])
def test_what_cannot_be_rolled_back_stays_as_it_is(lab: Lab, fault: str) -> None:
    disk_id = lab.disk()
    snapshot_id = add_snapshot(lab.cloud, disk_id)
    change(lab.cloud, Disk, disk_id, status="ReIniting")
    before = row(lab.cloud, disk_id).layer_id
    lab.files.faults = [DriverError("No space left on device")] if fault == "file" else []
    wanted = snapshot_id if fault == "file" else "s-gone"
    assert lab.run("disk.roll_back", disk_id, snapshot_id=wanted).state == "failed"
    assert (row(lab.cloud, disk_id).status, row(lab.cloud, disk_id).layer_id) == ("In_use", before)


def test_an_initialised_disk_starts_its_instance(lab: Lab) -> None:
    lab.guest.off = True
    change(lab.cloud, Instance, lab.instance_id, status="Stopped", power="off")
    disk_id = lab.disk("ReIniting")
    assert lab.run("disk.reinit", disk_id, snapshot_id=None, start=True).state == "succeeded"
    assert lab.files.made[row(lab.cloud, disk_id).layer_id] == (20, None)
    [start] = lab.cloud.jobs("instance.start")
    assert start.lock == lab.instance_id


# ------------------------------------------------------------------------------ compared by the reconciler


def repairs(lab: Lab, serials: set[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Lines about strange disks, and the jobs (kind, disk) that were journalled for a guest with these disks."""
    with lab.cloud.store.write() as session:
        before = session.query(Job).count()
        instance = session.get_one(Instance, lab.instance_id)
        lines = reconcile_disks.compare(session, instance, serials, START)
        jobs = session.query(Job).order_by(Job.sequence).offset(before)
        return lines, [(job.kind, job.resource_id) for job in jobs]


def test_a_guest_gets_and_gives_what_it_should(cloud: Cloud) -> None:
    lab = Lab(cloud)  # nothing runs
    mine, moving, foreign = lab.disk(), lab.disk("Detaching"), add_disk(cloud)
    with cloud.store.read() as session:
        system = next(d.id for d in session.get_one(Instance, lab.instance_id).disks if d.kind == "system")
    right = {body(system), body(mine), body(moving)}
    assert repairs(lab, right) == ([], [])
    assert repairs(lab, {body(system)}) == ([], [("disk.attach_again", mine)])
    assert repairs(lab, right | {body(foreign)}) == ([], [("disk.expel", foreign)])
    [line], jobs = repairs(lab, right | {"somebodys"})
    assert ("somebodys that belongs to nothing" in line, jobs) == (True, [])


def test_what_did_not_help_is_not_tried_again_at_once(cloud: Cloud) -> None:
    lab = Lab(cloud)
    mine, foreign = lab.disk(), add_disk(cloud)
    with cloud.store.read() as session:
        system = next(d.id for d in session.get_one(Instance, lab.instance_id).disks if d.kind == "system")
    assert len(repairs(lab, {body(system), body(foreign)})[1]) == 2
    with cloud.store.write() as session:
        for job in session.query(Job).where(Job.resource_id.in_([mine, foreign])):
            job.state = "failed"
    assert repairs(lab, {body(system), body(foreign)}) == ([], [])


def test_a_guest_is_asked_only_for_what_is_not_its_own(lab: Lab) -> None:
    foreign, mine = add_disk(lab.cloud), lab.disk()
    for disk_id in (foreign, mine):
        assert lab.run("disk.expel", disk_id, instance_id=lab.instance_id).state == "succeeded"
    assert lab.guest.asked == [body(foreign)]
    del lab.guest.disks[body(mine)]
    for disk_id in (foreign, mine):
        assert lab.run("disk.attach_again", disk_id, instance_id=lab.instance_id).state == "succeeded"
    assert set(lab.guest.disks) == {body(mine)}
