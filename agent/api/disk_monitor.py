"""Monitoring of disks (SPEC D11)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator

from agent.api.caller import caller
from agent.api.edge.call import Call
from agent.api.edge.params import ErrorCode, RegionParams, WireTime
from agent.api.edge.registry import ECS, action
from agent.core.clock import iso_seconds
from agent.services import disk_monitor as service


def _known(period: int) -> int:
    if period not in service.PERIODS:
        raise ValueError(f"it must be one of {', '.join(map(str, service.PERIODS))}.")
    return period


class DescribeDiskMonitorDataParams(RegionParams):
    disk_id: str
    start_time: Annotated[WireTime, ErrorCode("InvalidStartTime.Malformed")]
    end_time: Annotated[WireTime, ErrorCode("InvalidEndTime.Malformed")]
    period: Annotated[int, AfterValidator(_known), ErrorCode("InvalidPeriod.ValueNotSupported")] = 60


@action(
    "DescribeDiskMonitorData",
    version=ECS,
    params=DescribeDiskMonitorDataParams,
    resource="disk/{disk_id}",
    access="read",
)
def describe_disk_monitor_data(call: Call, p: DescribeDiskMonitorDataParams) -> dict[str, Any]:
    points = service.monitor(caller(call), p.disk_id, p.start_time, p.end_time, p.period)
    return {"MonitorData": {"DiskMonitorData": [_point(p.disk_id, one) for one in points]}, "TotalCount": len(points)}


def _point(disk_id: str, point: service.Point) -> dict[str, Any]:
    """Whole numbers, as the public API has them."""
    return {
        "DiskId": disk_id,
        "TimeStamp": iso_seconds(point.start),
        "IOPSRead": round(point.reads),
        "IOPSWrite": round(point.writes),
        "IOPSTotal": round(point.reads + point.writes),
        "BPSRead": round(point.bytes_read),
        "BPSWrite": round(point.bytes_written),
        "BPSTotal": round(point.bytes_read + point.bytes_written),
        "LatencyRead": round(point.read_us),
        "LatencyWrite": round(point.write_us),
    }
