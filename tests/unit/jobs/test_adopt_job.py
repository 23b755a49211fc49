"""Guests of others become images: with real files, the real converter and libvirt's test driver."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.core.foreign import Source
from agent.drivers.image.converter import SandboxedConverter
from agent.drivers.storage.local import LocalStorage
from agent.jobs import journal
from agent.jobs.kinds.adopt import ADOPT
from agent.jobs.model import Drivers
from agent.jobs.runner import JobRunner
from agent.services import adopt
from agent.store.schema import Image, Job
from tests.support.cloud import Cloud
from tests.support.disk_io import UNIT, qemu_io, reads


@pytest.fixture
def lab(make_cloud: Any, tmp_path: Path) -> Iterator[tuple[Cloud, JobRunner]]:
    """A runner with real storage and converter, and `imports/` as an import directory."""
    (tmp_path / "imports").mkdir()
    cloud = make_cloud(data_dir=tmp_path / "data", import_dirs=(str(tmp_path / "imports"),))
    absent: Any = None
    storage, converter = LocalStorage(tmp_path / "data"), SandboxedConverter(tmp_path / "data/staging")
    drivers: Any = Drivers(
        hypervisor=absent,
        storage=storage,
        network=absent,
        seeds=absent,
        builder=absent,
        converter=converter,
        inspector=absent,
        objects=absent,
    )
    runner = JobRunner(cloud.services.config, cloud.store, drivers, cloud.clock, unseal=bytes.decode)
    runner.start()
    yield cloud, runner
    runner.stop()


def make(path: Path, file_format: str, *options: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", file_format, *options, path, "8M"], check=True)
    return path


def adopted(cloud: Cloud, runner: JobRunner, *files: Path) -> tuple[Image, Job]:
    with cloud.caller() as caller:
        source = Source("files", tuple(str(file) for file in files))
        image, job = adopt.adopt(caller, adopt.Request(source))
    runner.wake()
    assert runner.wait(job.id, 60)
    with cloud.store.read() as session:
        found = session.get_one(Image, image.id)
        assert found.disks is not None
        return found, cloud.jobs(ADOPT)[-1]


def test_all_disks_of_a_guest_are_taken_flat_and_the_guest_stays(lab: tuple[Cloud, JobRunner], tmp_path: Path) -> None:
    cloud, runner = lab
    imports, images = tmp_path / "imports", tmp_path / "data/images"
    base = make(imports / "base.raw", "raw")
    with base.open("r+b") as stream:
        stream.seek(UNIT)
        stream.write(b"\x5a" * UNIT)
    system = make(imports / "top.qcow2", "qcow2", "-b", str(base), "-F", "raw")
    data = make(imports / "data.qcow2", "qcow2")
    before = {path: path.read_bytes() for path in imports.iterdir()}
    image, job = adopted(cloud, runner, system, data)
    assert (job.state, job.message, image.status, image.setup) == ("succeeded", "", "Available", "none")
    assert [(disk.device, disk.kind, disk.size_gib) for disk in image.disks] == [
        ("/dev/xvda", "system", 1),
        ("/dev/xvdb", "data", 1),
    ]
    assert {path.stem for path in images.iterdir()} == {disk.file for disk in image.disks}
    qemu_io(images / f"{image.disks[0].file}.qcow2", reads({0: 0, 1: 0x5A, 2: 0}), "-r")
    assert {path: path.read_bytes() for path in imports.iterdir()} == before
    assert list((tmp_path / "data/staging").iterdir()) == []


def test_what_cannot_be_read_leaves_nothing_but_the_reason(lab: tuple[Cloud, JobRunner], tmp_path: Path) -> None:
    cloud, runner = lab
    good, bad = make(tmp_path / "imports/good.raw", "raw"), tmp_path / "imports/bad.qcow2"
    bad.write_bytes(b"QFI\xfb" + bytes(508))
    image, job = adopted(cloud, runner, good, bad)
    assert (job.state, image.status, image.disks) == ("failed", "CreateFailed", [])
    assert image.message == job.message
    assert "\n" not in job.message
    assert list((tmp_path / "data/images").iterdir()) == list((tmp_path / "data/staging").iterdir()) == []


def test_a_cancelled_one_leaves_nothing(lab: tuple[Cloud, JobRunner], tmp_path: Path) -> None:
    cloud, runner = lab
    good = make(tmp_path / "imports/good.raw", "raw")
    with cloud.caller() as caller:
        image, job = adopt.adopt(caller, adopt.Request(Source("files", (str(good),))))
        assert journal.cancel(caller.session, job)
    runner.wake()
    assert runner.wait(job.id, 60)
    with cloud.store.read() as session:
        assert session.get(Image, image.id) is None
    assert cloud.jobs(ADOPT)[-1].state == "cancelled"
