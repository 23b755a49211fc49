"""The job of a check: strangers' files are converted first, images are read where they are, nothing is left behind; and
how instances of images are set up that understand no seed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.core.clock import SystemClock
from agent.core.errors import BadImage, DriverError
from agent.core.specs import ImageInfo, SeedSpec
from agent.jobs import journal
from agent.jobs.kinds.instance import _seed
from agent.jobs.model import Drivers
from agent.jobs.runner import JobRunner
from agent.store.schema import Disk, Image, ImageDisk, Instance, Job, Snapshot
from tests.support.cloud import Cloud
from tests.support.image_facts import LINUX
from tests.support.stored_disks import add_snapshot, change

LIMIT = 30.0


class Stand:
    """Converter, inspector, storage and seeds in one: what they were asked for, and what they answer."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.looked: list[Sequence[Path]] = []
        self.there: list[bool] = []  # whether what was looked into was there
        self.edited: list[tuple[Sequence[Path], SeedSpec]] = []
        self.seeds: list[str] = []
        self.dropped: list[str] = []

    def probe(self, source: int, declared: str = "") -> ImageInfo:
        if self.fault:
            raise self.fault
        return ImageInfo(declared or "raw", "", 1 << 30, os.fstat(source).st_size)

    def convert(self, source: int, info: ImageInfo, target: Path, target_format: str, **options: Any) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(os.pread(source, 100, 0))

    def inspect(self, chain: Sequence[Path], report: Any, cancelled: Callable[[], bool]) -> dict[str, Any]:
        if cancelled():
            raise InterruptedError
        self.looked.append(chain)
        self.there.append(chain[0].exists())
        return LINUX

    def edit(self, chain: Sequence[Path], seed: SeedSpec) -> None:
        self.edited.append((chain, seed))

    def layer_path(self, layer_id: str) -> Path:
        return Path("/disks", layer_id)

    def image_path(self, image_id: str) -> Path:
        return Path("/images", image_id)

    def write_seed(self, spec: SeedSpec) -> None:
        self.seeds.append(spec.host_name)

    def delete_seed(self, instance_id: str) -> None:
        self.dropped.append(instance_id)


@pytest.fixture
def stand() -> Stand:
    return Stand()


@pytest.fixture
def runner(cloud: Cloud, stand: Stand, tmp_path: Path) -> Iterator[JobRunner]:
    everything: Any = stand
    drivers = Drivers(everything, everything, everything, everything, everything, everything, everything, cloud.objects)
    config = replace(cloud.services.config, data_dir=tmp_path / "data")
    made = JobRunner(config, cloud.store, drivers, SystemClock(), unseal=bytes.decode)
    made.start()
    yield made
    made.stop()


def _checked(cloud: Cloud, runner: JobRunner, resource_id: str, source: dict[str, str], *, cancel: bool = False) -> Job:
    with cloud.store.write() as session:
        data = {"source": source, "declared": ""}
        job = journal.enqueue(session, "image.check", resource_id, SystemClock().now(), data=data)
        job_id = job.id
        assert not cancel or journal.cancel(session, job)
    runner.wake()
    assert runner.wait(job_id, LIMIT)
    with cloud.store.read() as session:
        return session.query(Job).where(Job.id == job_id).one()


def _handle(runner: JobRunner) -> str:
    with tempfile.TemporaryFile() as file:
        file.write(b"content")
        file.flush()
        return runner.open_files.put(os.dup(file.fileno()), "disk.raw")


def test_a_file_is_converted_looked_into_and_gone(
    cloud: Cloud, runner: JobRunner, stand: Stand, tmp_path: Path
) -> None:
    handle = _handle(runner)
    job = _checked(cloud, runner, handle, {"handle": handle, "name": "disk.raw"})
    assert (job.state, job.data["report"]["level"], job.data["report"]["platform"]) == ("succeeded", "ok", "Debian")
    assert [item["name"] for item in job.data["report"]["items"]][:2] == ["Format", "VirtualSize"]
    assert stand.there == [True]
    assert os.listdir(tmp_path / "data/staging") == []


def test_a_bad_file_has_a_report_that_says_why(cloud: Cloud, runner: JobRunner, stand: Stand) -> None:
    stand.fault = BadImage("it refers to another file")
    handle = _handle(runner)
    job = _checked(cloud, runner, handle, {"handle": handle, "name": "disk.raw"})
    assert job.state == "succeeded"
    [item] = job.data["report"]["items"]
    assert (item["name"], item["level"], item["found"]) == ("Format", "failed", "it refers to another file")
    assert stand.looked == []


def test_what_is_not_this_files_fault_fails_the_job(cloud: Cloud, runner: JobRunner, stand: Stand) -> None:
    stand.fault = DriverError("the host's disk is full")
    handle = _handle(runner)
    job = _checked(cloud, runner, handle, {"handle": handle, "name": "disk.raw"})
    assert (job.state, job.message) == ("failed", "the host's disk is full")
    gone = _checked(cloud, runner, "file-gone", {"handle": "file-gone", "name": "disk.raw"})
    assert (gone.state, "check it again" in gone.message) == ("failed", True)
    cloud.objects.make_bucket("files")
    lost = _checked(cloud, runner, "oss://files/lost", {"bucket": "files", "object": "lost"})
    assert (lost.state, lost.message) == ("failed", "oss://files/lost is not there any more")


def test_a_cancelled_check_leaves_nothing(cloud: Cloud, runner: JobRunner, tmp_path: Path) -> None:
    handle = _handle(runner)
    assert _checked(cloud, runner, handle, {"handle": handle, "name": "x"}, cancel=True).state == "cancelled"
    assert not (tmp_path / "data/staging").exists()


def test_an_image_is_read_where_it_is(cloud: Cloud, runner: JobRunner, stand: Stand) -> None:
    cloud.add_image()
    with cloud.store.write() as session:
        [system] = session.get_one(Image, "tiny_x64").disks
        file = system.file
    assert _checked(cloud, runner, "tiny_x64", {}).state == "succeeded"
    _, vswitch_id = cloud.default_vswitch()
    instance_id = cloud.add_instance(vswitch_id, [])
    with cloud.store.read() as session:
        [disk] = session.get_one(Instance, instance_id).disks
    snapshot_id = add_snapshot(cloud, disk.id)
    with cloud.store.write() as session:
        [row] = session.get_one(Image, "tiny_x64").disks
        row.file, row.snapshot_id = None, snapshot_id
        layer_id = session.get_one(Snapshot, snapshot_id).layer_id
    assert _checked(cloud, runner, "tiny_x64", {}).state == "succeeded"
    assert stand.looked[0] == [Path("/images", file or "")]
    assert stand.looked[1][0] == Path("/disks", layer_id or "")
    with cloud.store.write() as session:
        session.query(ImageDisk).delete()
    assert _checked(cloud, runner, "tiny_x64", {}).message == "the image tiny_x64 is gone"


# ---------------------------------------------------------------------------------- instances of such images


def _set_up(cloud: Cloud, runner: JobRunner, instance_id: str) -> None:
    """What the step does that comes before every console start."""
    job = Job(id="t", kind="instance.start", resource_id=instance_id, data={}, step=0)
    with cloud.store.write() as session:
        job_id = journal.enqueue(session, "instance.start", instance_id, SystemClock().now(), lock="nobody").id
        job = session.query(Job).where(Job.id == job_id).one()
        job.state = "failed"
    context = runner._context(job)
    finish = _seed(context)
    with cloud.store.write() as session:
        finish(session)


def test_files_of_a_system_are_changed_once_for_each_change(cloud: Cloud, runner: JobRunner, stand: Stand) -> None:
    _, vswitch_id = cloud.default_vswitch()
    instance_id = cloud.add_instance(vswitch_id, [])
    change(cloud, Instance, instance_id, setup="edit", host_name="one")
    for _ in range(2):
        _set_up(cloud, runner, instance_id)
    assert [seed.host_name for _, seed in stand.edited] == ["one"]
    with cloud.store.read() as session:
        layer_id = session.query(Disk.layer_id).where(Disk.instance_id == instance_id, Disk.kind == "system").scalar()
    assert stand.edited[0][0][0] == Path("/disks", str(layer_id))
    change(cloud, Instance, instance_id, host_name="two")
    _set_up(cloud, runner, instance_id)
    assert [seed.host_name for _, seed in stand.edited] == ["one", "two"]
    change(cloud, Instance, instance_id, edited="")  # as a disk that begins anew
    _set_up(cloud, runner, instance_id)
    assert len(stand.edited) == 3
    assert stand.seeds == []
    assert set(stand.dropped) == {instance_id}


def test_others_are_left_as_they_are_or_get_a_seed(cloud: Cloud, runner: JobRunner, stand: Stand) -> None:
    _, vswitch_id = cloud.default_vswitch()
    instance_id = cloud.add_instance(vswitch_id, [])
    change(cloud, Instance, instance_id, setup="none", host_name="one")
    _set_up(cloud, runner, instance_id)
    assert (stand.edited, stand.seeds, stand.dropped) == ([], [], [instance_id])
    change(cloud, Instance, instance_id, setup="seed")
    _set_up(cloud, runner, instance_id)
    assert (stand.edited, stand.seeds) == ([], ["one"])
