"""Type, system disk and monitoring by both generations of the public SDK, unmodified, over the wire."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from alibabacloud_ecs20140526 import models
from alibabacloud_ecs20140526.client import Client
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkecs.request.v20140526.DescribeDiskMonitorDataRequest import DescribeDiskMonitorDataRequest
from aliyunsdkecs.request.v20140526.ModifyInstanceSpecRequest import ModifyInstanceSpecRequest
from aliyunsdkecs.request.v20140526.ReplaceSystemDiskRequest import ReplaceSystemDiskRequest
from darabonba.exceptions import DaraException

from agent.store.schema import DiskSample, Instance
from tests.support.cloud import START, Cloud
from tests.support.stored_disks import change, system_disk

PASSWORD = "Passw0rd!x"


@pytest.fixture
def stopped(cloud: Cloud) -> str:
    """A stopped instance of a public image, whose disk read 600 times in one minute."""
    cloud.add_image()
    instance_id = cloud.add_instance(cloud.default_vswitch()[1], [])
    change(cloud, Instance, instance_id, status="Stopped", power="off")
    counted = {"reads": 600, "writes": 0, "bytes_read": 6000, "bytes_written": 0, "read_us": 4200, "write_us": 0}
    start = START.replace(second=0) - dt.timedelta(minutes=2)
    with cloud.store.write() as session:
        disk_id = system_disk(cloud, instance_id)
        session.add(DiskSample(disk_id=disk_id, period=60, start=start, seconds=60, **counted))
    return instance_id


def test_the_current_sdk(tea: Client, cloud: Cloud, stopped: str) -> None:
    old = system_disk(cloud, stopped)
    limits = {"start_time": "2026-11-23T07:00:00Z", "end_time": "2026-11-23T08:00:00Z"}
    shown = tea.describe_disk_monitor_data(models.DescribeDiskMonitorDataRequest(disk_id=old, period=60, **limits)).body
    [point] = shown.monitor_data.disk_monitor_data
    assert (shown.total_count, point.time_stamp) == (1, "2026-11-23T07:33:00Z")
    assert (point.iopsread, point.bpsread, point.latency_read) == (10, 100, 7)
    tea.modify_instance_spec(models.ModifyInstanceSpecRequest(instance_id=stopped, instance_type="ecs.s1.small"))
    wanted = models.ReplaceSystemDiskRequest(instance_id=stopped, image_id="tiny_x64", client_token="once")
    with pytest.raises(DaraException) as caught:
        tea.replace_system_disk(wanted)
    assert caught.value.code == "MissingParameter"
    wanted.password, wanted.system_disk = PASSWORD, models.ReplaceSystemDiskRequestSystemDisk(size=30)
    new_id = tea.replace_system_disk(wanted).body.disk_id
    assert tea.replace_system_disk(wanted).body.disk_id == new_id
    listing = models.DescribeDisksRequest(region_id="local", disk_ids=json.dumps([new_id]))
    [disk] = tea.describe_disks(listing).body.disks.disk
    assert (disk.status, disk.size, disk.type) == ("Creating", 30, "system")


def test_the_first_sdk(core: Any, cloud: Cloud, stopped: str) -> None:
    monitored = DescribeDiskMonitorDataRequest()
    monitored.set_DiskId(system_disk(cloud, stopped))
    monitored.set_StartTime("2026-11-23T07:00:00Z")
    monitored.set_EndTime("2026-11-23T08:00:00Z")
    monitored.set_Period(600)
    [point] = json.loads(core(monitored))["MonitorData"]["DiskMonitorData"]
    assert (point["TimeStamp"], point["IOPSTotal"]) == ("2026-11-23T07:30:00Z", 10)
    changed = ModifyInstanceSpecRequest()
    changed.set_InstanceId(stopped)
    changed.set_TemporaryStartTime("2026-12-01T00:00Z")
    with pytest.raises(ServerException) as caught:
        core(changed)
    assert caught.value.get_error_code() == "UnsupportedParameter"
    replaced = ReplaceSystemDiskRequest()
    replaced.set_InstanceId(stopped)
    replaced.set_ImageId("tiny_x64")
    replaced.set_Password(PASSWORD)
    assert json.loads(core(replaced))["DiskId"].startswith("d-")
