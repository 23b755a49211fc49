"""What a guest may get of a disk (SPEC D10)."""

from __future__ import annotations

import pytest

from agent.config import Config, ConfigError
from agent.core.disk_categories import limits
from agent.services import disk


@pytest.mark.parametrize(
    ("category", "size_gib", "iops"),
    [
        ("cloud", 5, 300),
        ("cloud", 2000, 300),
        ("cloud_efficiency", 20, 1960),
        ("cloud_efficiency", 400, 5000),
        ("cloud_efficiency", 2048, 5000),
        ("cloud_ssd", 20, 2400),
        ("cloud_ssd", 773, 24990),
        ("cloud_ssd", 2048, 25000),
    ],
)
def test_the_defaults_are_the_guides(category: str, size_gib: int, iops: int) -> None:
    found = limits(category, size_gib, {})
    assert found is not None
    assert found.iops == iops


@pytest.mark.parametrize(("category", "mib"), [("cloud", 37), ("cloud_efficiency", 136), ("cloud_ssd", 292)])
def test_throughput_is_in_proportion(category: str, mib: int) -> None:
    small, large = limits(category, 20, {}), limits(category, 2000, {})
    assert small is not None
    assert large is not None
    assert large.bytes_per_second >> 20 == mib
    assert small.bytes_per_second / small.iops == large.bytes_per_second / large.iops


@pytest.mark.parametrize("category", ["ephemeral", "ephemeral_ssd"])
def test_ephemeral_disks_have_none(category: str) -> None:
    assert limits(category, 100, {}) is None


def test_the_host_may_say_otherwise() -> None:
    assert limits("cloud", 20, {"cloud": {"iops": 0}}) is None
    assert limits("cloud", 20, {"cloud": {"iops": 100, "iops_max": 0, "iops_per_gib": 1}}) == (120, 120 * 128 * 1024)
    assert limits("ephemeral", 20, {"ephemeral": {"iops": 50, "bytes_per_io": 4096}}) == (50, 50 * 4096)


@pytest.mark.parametrize(
    "wrong",
    [
        {"floppy": {"iops": 1}},
        {"cloud": 300},
        {"cloud": {"iop": 1}},
        {"cloud": {"iops": -1}},
        {"cloud": {"iops": True}},
    ],
)
def test_what_means_nothing_is_refused_at_the_start(wrong: dict[str, dict[str, int]]) -> None:
    with pytest.raises(ConfigError, match=r"\Adisk_limits\."):
        disk.check_limits(Config(disk_limits=wrong))
