"""What disks did, over the API (SPEC D11)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from agent.core.clock import iso_seconds
from agent.core.errors import ApiError
from agent.jobs.rollup import roll_up
from agent.store.schema import DiskSample
from tests.support.cloud import Cloud

BEGIN = dt.datetime(2026, 11, 23, 0, 0, tzinfo=dt.UTC)


@pytest.fixture
def disk_id(cloud: Cloud) -> str:
    _, vswitch_id = cloud.default_vswitch()
    cloud.add_instance(vswitch_id, [])
    [disk] = cloud.call("DescribeDisks")["Disks"]["Disk"]
    return disk["DiskId"]


def add(cloud: Cloud, disk_id: str, minute: int, **counted: int) -> None:
    zeros = dict.fromkeys(("reads", "writes", "bytes_read", "bytes_written", "read_us", "write_us"), 0)
    start = BEGIN + dt.timedelta(minutes=minute)
    values = {"seconds": 60, **zeros, **counted}
    with cloud.store.write() as session:
        session.add(DiskSample(disk_id=disk_id, period=60, start=start, **values))


def shown(cloud: Cloud, disk_id: str, begin: float, end: float, **params: object) -> list[dict[str, Any]]:
    """From `begin` to `end`, in minutes since BEGIN."""
    limits = [iso_seconds(BEGIN + dt.timedelta(minutes=minutes)) for minutes in (begin, end)]
    wanted = {"DiskId": disk_id, "StartTime": limits[0], "EndTime": limits[1], **params}
    answer = cloud.call("DescribeDiskMonitorData", wanted)
    points = answer["MonitorData"]["DiskMonitorData"]
    assert answer["TotalCount"] == len(points)
    return points


def test_rates_and_times(cloud: Cloud, disk_id: str) -> None:
    add(cloud, disk_id, 5, reads=600, writes=1200, bytes_read=60_000, bytes_written=120_000, read_us=6000, write_us=36)
    add(cloud, disk_id, 6)
    add(cloud, "d-other", 5, reads=1)
    assert shown(cloud, disk_id, 0, 60) == [
        {
            "DiskId": disk_id,
            "TimeStamp": "2026-11-23T00:05:00Z",
            "IOPSRead": 10,
            "IOPSWrite": 20,
            "IOPSTotal": 30,
            "BPSRead": 1000,
            "BPSWrite": 2000,
            "BPSTotal": 3000,
            "LatencyRead": 10,
            "LatencyWrite": 0,
        },
        {
            "DiskId": disk_id,
            "TimeStamp": "2026-11-23T00:06:00Z",
            **dict.fromkeys(("IOPSRead", "IOPSWrite", "IOPSTotal", "BPSRead", "BPSWrite", "BPSTotal"), 0),
            "LatencyRead": 0,
            "LatencyWrite": 0,
        },
    ]


def test_limits_are_counted_from_the_next_full_minute(cloud: Cloud, disk_id: str) -> None:
    for minute in range(10):
        add(cloud, disk_id, minute)

    def minutes(begin: float, end: float) -> list[str]:
        return [point["TimeStamp"][14:16] for point in shown(cloud, disk_id, begin, end)]

    assert minutes(3, 6) == ["03", "04", "05"]
    assert minutes(2.5, 5.5) == ["03", "04", "05"]
    assert minutes(9, 100) == ["09"]


def test_longer_periods_are_averages_also_of_what_is_not_summed_up_yet(cloud: Cloud, disk_id: str) -> None:
    for minute in range(95):
        add(cloud, disk_id, minute, reads=60 * (1 + minute // 10), read_us=60 * (1 + minute // 10) * 7)

    def iops(period: int) -> list[int]:
        return [point["IOPSRead"] for point in shown(cloud, disk_id, 0, 120, Period=period)]

    before = {period: iops(period) for period in (600, 3600)}
    assert before == {600: list(range(1, 11)), 3600: [4, 8]}
    with cloud.store.write() as session:
        roll_up(session, BEGIN + dt.timedelta(minutes=95))
    assert {period: iops(period) for period in (600, 3600)} == before
    assert shown(cloud, disk_id, 0, 120, Period=600)[0]["LatencyRead"] == 7
    assert len(shown(cloud, disk_id, 0, 95)) == 95


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"DiskId": "d-nope"}, "InvalidDiskId.NotFound"),
        ({"StartTime": "yesterday"}, "InvalidStartTime.Malformed"),
        ({"EndTime": "2026-11-23"}, "InvalidEndTime.Malformed"),
        ({"EndTime": "2026-11-23T00:00:00Z"}, "InvalidEndTime.ValueNotSupported"),
        ({"EndTime": "2026-11-22T00:00:00Z"}, "InvalidEndTime.ValueNotSupported"),
        ({"Period": 61}, "InvalidPeriod.ValueNotSupported"),
        ({"Period": "often"}, "InvalidPeriod.ValueNotSupported"),
        ({"EndTime": "2026-11-23T06:41:00Z"}, "InvalidParameter.TooManyDataQueried"),
        ({"EndTime": "2026-12-10T00:00:00Z", "Period": 3600}, "InvalidParameter.TooManyDataQueried"),
        ({"StartTime": ""}, "MissingParameter"),
    ],
)
def test_what_is_wrong_is_refused(cloud: Cloud, disk_id: str, params: dict[str, object], expected: str) -> None:
    wanted = {"DiskId": disk_id, "StartTime": iso_seconds(BEGIN), "EndTime": "2026-11-23T06:40:00Z"}
    assert cloud.call("DescribeDiskMonitorData", dict(wanted))["TotalCount"] == 0
    with pytest.raises(ApiError) as refused:
        cloud.call("DescribeDiskMonitorData", {**wanted, **params})
    assert refused.value.code == expected


def test_another_accounts_disk_is_not_there(cloud: Cloud, disk_id: str) -> None:
    wanted = {"DiskId": disk_id, "StartTime": iso_seconds(BEGIN), "EndTime": "2026-11-23T06:40:00Z"}
    with pytest.raises(ApiError) as refused:
        cloud.call("DescribeDiskMonitorData", wanted, account_id=cloud.add_account())
    assert refused.value.code == "InvalidDiskId.NotFound"
