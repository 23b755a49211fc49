"""Importing: sizes, files that are gone, progress. The whole of it runs in tests/vm and tests/chaos."""

from __future__ import annotations

import contextlib
import os
from types import SimpleNamespace
from typing import Any

import pytest

from agent.core.errors import BadImage, DriverError
from agent.jobs import reports, slots
from agent.jobs.kinds import image_import
from agent.jobs.model import NotYet
from agent.jobs.open_files import OpenFiles
from agent.jobs.runner import WORKERS

GIB = 1 << 30


def _disk(**values: Any) -> dict[str, Any]:
    return {"device": "/dev/xvda", "size_gib": 20, "exact": False, "largest_gib": 500} | values


def test_the_image_is_never_smaller_than_its_content() -> None:
    for virtual, disk, size in (
        (1, _disk(), 20),
        (20 * GIB + 1, _disk(), 21),
        (500 * GIB, _disk(), 500),
        (30 * GIB, _disk(size_gib=40, exact=True), 40),
    ):
        image_import._measure(disk, virtual)
        assert disk["size_gib"] == size
    with pytest.raises(BadImage, match="500 GiB are possible"):
        image_import._measure(_disk(), 500 * GIB + 1)
    with pytest.raises(BadImage, match="a DiskImageSize of 20 GiB is too small"):
        image_import._measure(_disk(exact=True), 20 * GIB + 1)


def test_a_file_that_was_closed_is_told_by_its_name() -> None:
    context: Any = SimpleNamespace(open_files=OpenFiles(), data={"disks": [{"handle": "file-x", "name": "my.vhd"}]})
    with (
        pytest.raises(DriverError, match=r"cannot import my\.vhd: whoever had opened it"),
        image_import._told(context.data["disks"][0]),
        image_import._opened(context, 0),
    ):
        pytest.fail("it was opened")
    descriptor = os.open("/dev/null", os.O_RDONLY)
    context.data["disks"][0]["handle"] = handle = context.open_files.put(descriptor, "my.vhd")
    with image_import._opened(context, 0) as opened:
        assert os.fstat(opened).st_rdev == os.fstat(descriptor).st_rdev
    context.open_files.drop(handle)


def test_progress_of_parts_is_that_of_the_whole_and_told_once() -> None:
    told: list[tuple[int, str]] = []
    context: Any = SimpleNamespace(data={"disks": [{}, {}]}, report=lambda percent, text: told.append((percent, text)))
    tell = image_import._part(context, 1, 40, 100, "converting raw")
    for percent in (0, 1, 50, 100, 100):
        tell(percent)
    assert told == [(70, "converting raw disk 2/2"), (85, "converting raw disk 2/2"), (100, "converting raw disk 2/2")]
    told.clear()
    reports.part(context.report, 0, 60, "writing")(100)
    assert told == [(60, "writing")]


def test_work_on_large_files_leaves_workers_to_others() -> None:
    assert slots.AT_ONCE < WORKERS
    with contextlib.ExitStack() as stack:
        for _ in range(slots.AT_ONCE):
            stack.enter_context(slots.slot())
        with pytest.raises(NotYet, match="waiting for other imports"), slots.slot():
            pytest.fail("it was too much")
    with slots.slot():
        pass
