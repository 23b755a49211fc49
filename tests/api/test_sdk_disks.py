"""Disk actions called by both generations of the public SDK, unmodified, over the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alibabacloud_ecs20140526 import models
from alibabacloud_ecs20140526.client import Client
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkecs.request.v20140526.AttachDiskRequest import AttachDiskRequest
from aliyunsdkecs.request.v20140526.CreateDiskRequest import CreateDiskRequest
from aliyunsdkecs.request.v20140526.DeleteDiskRequest import DeleteDiskRequest
from aliyunsdkecs.request.v20140526.DescribeDisksRequest import DescribeDisksRequest
from aliyunsdkecs.request.v20140526.DetachDiskRequest import DetachDiskRequest
from aliyunsdkecs.request.v20140526.ModifyDiskAttributeRequest import ModifyDiskAttributeRequest
from aliyunsdkecs.request.v20140526.ReInitDiskRequest import ReInitDiskRequest
from aliyunsdkecs.request.v20140526.ResetDiskRequest import ResetDiskRequest
from aliyunsdkecs.request.v20140526.ResizeDiskRequest import ResizeDiskRequest
from darabonba.exceptions import DaraException

from agent.store.schema import Instance
from tests.support.cloud import Cloud
from tests.support.stored_disks import add_disk, add_snapshot, change, row, system_disk

PASSWORD = "Passw0rd!x"


@pytest.fixture
def stopped(cloud: Cloud) -> str:
    """A stopped instance of a public image."""
    cloud.add_image()
    instance_id = cloud.add_instance(cloud.default_vswitch()[1], [])
    change(cloud, Instance, instance_id, status="Stopped", power="off")
    return instance_id


def test_the_current_sdk_leads_a_disk_through_its_life(tea: Client, cloud: Cloud, stopped: str) -> None:
    wanted = models.CreateDiskRequest(region_id="local", zone_id="local-a", disk_name="data", size=20)
    wanted.disk_category, wanted.tag = "cloud_ssd", [models.CreateDiskRequestTag(key="k", value="v")]
    disk_id = tea.create_disk(wanted).body.disk_id
    with pytest.raises(DaraException) as caught:
        tea.attach_disk(models.AttachDiskRequest(disk_id=disk_id, instance_id=stopped))
    assert caught.value.code == "IncorrectDiskStatus"
    add = models.AttachDiskRequest(instance_id=stopped, device="/dev/xvdc", delete_with_instance=True)
    add.disk_id = add_disk(cloud)
    tea.attach_disk(add)
    listing = models.DescribeDisksRequest(region_id="local", instance_id=stopped, disk_type="data", max_results=5)
    [shown] = tea.describe_disks(listing).body.disks.disk
    assert (shown.disk_id, shown.device, shown.delete_with_instance, shown.iops) == (
        add.disk_id,
        "/dev/xvdc",
        True,
        1960,
    )
    assert shown.attachments.attachment[0].instance_id == stopped
    tea.detach_disk(models.DetachDiskRequest(disk_id=add.disk_id, instance_id=stopped))
    both = models.ModifyDiskAttributeRequest(region_id="local", disk_ids=[disk_id, add.disk_id], disk_name="both")
    both.delete_auto_snapshot = False
    tea.modify_disk_attribute(both)
    assert {row(cloud, one).name for one in (disk_id, add.disk_id)} == {"both"}
    tea.resize_disk(models.ResizeDiskRequest(disk_id=add.disk_id, new_size=30, type="offline"))
    assert len(cloud.jobs("disk.resize")) == 1


def test_the_current_sdk_gives_disks_other_content(tea: Client, cloud: Cloud, stopped: str) -> None:
    system = system_disk(cloud, stopped)
    tea.re_init_disk(models.ReInitDiskRequest(disk_id=system, password=PASSWORD, auto_start_instance=True))
    disks = [add_disk(cloud) for _ in range(3)]
    snapshots = [add_snapshot(cloud, disk_id) for disk_id in disks]
    tea.reset_disk(models.ResetDiskRequest(disk_id=disks[0], snapshot_id=snapshots[0]))
    pairs = [
        models.ResetDisksRequestDisk(disk_id=disk_id, snapshot_id=snapshot_id)
        for disk_id, snapshot_id in zip(disks[1:], snapshots[1:], strict=True)
    ]
    answer = tea.reset_disks(models.ResetDisksRequest(region_id="local", disk=pairs)).body
    assert len(answer.operation_progress_set.operation_progress) == 2
    assert {row(cloud, disk_id).status for disk_id in (*disks, system)} == {"ReIniting"}
    with pytest.raises(DaraException) as caught:
        tea.delete_disk(models.DeleteDiskRequest(disk_id=disks[0]))
    assert caught.value.code == "IncorrectDiskStatus"


def test_the_first_sdk_leads_a_disk_through_its_life(core: Any, cloud: Cloud, stopped: str) -> None:
    made = CreateDiskRequest()
    made.set_ZoneId("local-a")
    made.set_Size(20)
    made.set_DiskCategory("cloud_efficiency")
    assert row(cloud, json.loads(core(made))["DiskId"]).status == "Creating"
    disk_id = add_disk(cloud)
    for request in (AttachDiskRequest(), DetachDiskRequest()):
        request.set_DiskId(disk_id)
        request.set_InstanceId(stopped)
        core(request)
    changed = ModifyDiskAttributeRequest()
    changed.set_DiskId(disk_id)
    changed.set_DiskName("old")
    core(changed)
    listing = DescribeDisksRequest()
    listing.set_DiskIds(json.dumps([disk_id]))
    [shown] = json.loads(core(listing))["Disks"]["Disk"]
    assert (shown["DiskName"], shown["Status"], shown["DetachedTime"] != "") == ("old", "Available", True)


def test_the_first_sdk_changes_what_disks_hold(core: Any, cloud: Cloud, stopped: str) -> None:
    alone, rolled = add_disk(cloud), add_disk(cloud)
    grown = ResizeDiskRequest()
    grown.set_DiskId(alone)
    grown.set_NewSize(30)
    core(grown)
    back = ResetDiskRequest()
    back.set_DiskId(rolled)
    back.set_SnapshotId(add_snapshot(cloud, rolled))
    core(back)
    again = ReInitDiskRequest()
    again.set_DiskId(system_disk(cloud, stopped))
    again.set_Password(PASSWORD)
    core(again)
    assert [len(cloud.jobs(kind)) for kind in ("disk.resize", "disk.roll_back", "disk.reinit")] == [1, 1, 1]
    doomed = DeleteDiskRequest()
    doomed.set_DiskId(alone)
    with pytest.raises(ServerException) as caught:
        core(doomed)
    assert caught.value.get_error_code() == "IncorrectDiskStatus"
    doomed.set_DiskId(add_disk(cloud))
    core(doomed)
