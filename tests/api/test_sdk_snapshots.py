"""Snapshots and their policies called by both generations of the public SDK, unmodified, over the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alibabacloud_ecs20140526 import models
from alibabacloud_ecs20140526.client import Client
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkecs.request.v20140526.ApplyAutoSnapshotPolicyRequest import ApplyAutoSnapshotPolicyRequest
from aliyunsdkecs.request.v20140526.CancelAutoSnapshotPolicyRequest import CancelAutoSnapshotPolicyRequest
from aliyunsdkecs.request.v20140526.CreateAutoSnapshotPolicyRequest import CreateAutoSnapshotPolicyRequest
from aliyunsdkecs.request.v20140526.CreateSnapshotRequest import CreateSnapshotRequest
from aliyunsdkecs.request.v20140526.DeleteAutoSnapshotPolicyRequest import DeleteAutoSnapshotPolicyRequest
from aliyunsdkecs.request.v20140526.DeleteSnapshotRequest import DeleteSnapshotRequest
from aliyunsdkecs.request.v20140526.DescribeAutoSnapshotPolicyExRequest import DescribeAutoSnapshotPolicyExRequest
from aliyunsdkecs.request.v20140526.DescribeSnapshotLinksRequest import DescribeSnapshotLinksRequest
from aliyunsdkecs.request.v20140526.DescribeSnapshotsRequest import DescribeSnapshotsRequest
from aliyunsdkecs.request.v20140526.DescribeSnapshotsUsageRequest import DescribeSnapshotsUsageRequest
from aliyunsdkecs.request.v20140526.ModifyAutoSnapshotPolicyExRequest import ModifyAutoSnapshotPolicyExRequest
from aliyunsdkecs.request.v20140526.ModifySnapshotAttributeRequest import ModifySnapshotAttributeRequest
from darabonba.exceptions import DaraException

from tests.support.cloud import Cloud
from tests.support.timetable import add_disk, finish_taking, running_instance


def test_the_current_sdk_takes_finds_and_deletes_snapshots(tea: Client, cloud: Cloud) -> None:
    instance_id, disk_id = running_instance(cloud)
    tag = models.CreateSnapshotRequestTag(key="k", value="v")
    wanted = models.CreateSnapshotRequest(disk_id=disk_id, snapshot_name="before", description="a text", tag=[tag])
    snapshot_id = tea.create_snapshot(wanted).body.snapshot_id
    with pytest.raises(DaraException) as caught:
        tea.create_snapshot(models.CreateSnapshotRequest(disk_id=disk_id))
    assert caught.value.code == "IncorrectDiskStatus.CreatingSnapshot"
    finish_taking(cloud)
    listing = models.DescribeSnapshotsRequest(region_id="local", instance_id=instance_id, max_results=5)
    [shown] = tea.describe_snapshots(listing).body.snapshots.snapshot
    assert (shown.snapshot_id, shown.status, shown.progress, shown.remain_time) == (
        snapshot_id,
        "accomplished",
        "100%",
        0,
    )
    assert (shown.source_disk_id, shown.source_disk_size, shown.source_disk_type) == (disk_id, "20", "system")
    assert (shown.usage, shown.snapshot_type, shown.available, shown.instant_access) == ("none", "user", True, False)
    assert [(one.tag_key, one.tag_value) for one in shown.tags.tag] == [("k", "v")]
    tea.modify_snapshot_attribute(models.ModifySnapshotAttributeRequest(snapshot_id=snapshot_id, snapshot_name="after"))
    links = tea.describe_snapshot_links(models.DescribeSnapshotLinksRequest(region_id="local")).body
    [link] = links.snapshot_links.snapshot_link
    assert (link.source_disk_id, link.total_count, link.instance_id) == (disk_id, 1, instance_id)
    usage = tea.describe_snapshots_usage(models.DescribeSnapshotsUsageRequest(region_id="local")).body
    assert (usage.snapshot_count, usage.snapshot_size) == (1, 0)
    tea.delete_snapshot(models.DeleteSnapshotRequest(snapshot_id=snapshot_id, force=True))
    assert tea.describe_snapshots(models.DescribeSnapshotsRequest(region_id="local")).body.total_count == 0


def test_the_current_sdk_deals_with_policies(tea: Client, cloud: Cloud) -> None:
    disk_id = add_disk(cloud)
    created = models.CreateAutoSnapshotPolicyRequest(
        region_id="local",
        auto_snapshot_policy_name="nightly",
        time_points='["1","13"]',
        repeat_weekdays='["1","5"]',
        retention_days=30,
    )
    policy_id = tea.create_auto_snapshot_policy(created).body.auto_snapshot_policy_id
    disks = json.dumps([disk_id])
    tea.apply_auto_snapshot_policy(
        models.ApplyAutoSnapshotPolicyRequest(region_id="local", auto_snapshot_policy_id=policy_id, disk_ids=disks)
    )
    tea.modify_auto_snapshot_policy_ex(
        models.ModifyAutoSnapshotPolicyExRequest(
            region_id="local", auto_snapshot_policy_id=policy_id, retention_days=-1
        )
    )
    listing = models.DescribeAutoSnapshotPolicyExRequest(region_id="local", auto_snapshot_policy_id=policy_id)
    [shown] = tea.describe_auto_snapshot_policy_ex(listing).body.auto_snapshot_policies.auto_snapshot_policy
    assert (shown.auto_snapshot_policy_name, shown.time_points, shown.repeat_weekdays) == (
        "nightly",
        '["1","13"]',
        '["1","5"]',
    )
    assert (shown.retention_days, shown.disk_nums, shown.status) == (-1, 1, "Normal")
    governed = tea.describe_auto_snapshot_policy_associations(
        models.DescribeAutoSnapshotPolicyAssociationsRequest(region_id="local", disk_id=disk_id)
    ).body.auto_snapshot_policy_associations.auto_snapshot_policy_association
    assert [(one.disk_id, one.auto_snapshot_policy_id) for one in governed] == [(disk_id, policy_id)]
    tea.cancel_auto_snapshot_policy(models.CancelAutoSnapshotPolicyRequest(region_id="local", disk_ids=disks))
    tea.delete_auto_snapshot_policy(
        models.DeleteAutoSnapshotPolicyRequest(region_id="local", auto_snapshot_policy_id=policy_id)
    )
    with pytest.raises(DaraException) as caught:
        tea.modify_auto_snapshot_policy_ex(
            models.ModifyAutoSnapshotPolicyExRequest(
                region_id="local", auto_snapshot_policy_id=policy_id, retention_days=1
            )
        )
    assert caught.value.code == "InvalidAutoSnapshotPolicyId.NotFound"


def test_the_first_sdk_takes_finds_and_deletes_snapshots(core: Any, cloud: Cloud) -> None:
    _, disk_id = running_instance(cloud)
    wanted = CreateSnapshotRequest()
    wanted.set_DiskId(disk_id)
    wanted.set_SnapshotName("before")
    snapshot_id = json.loads(core(wanted))["SnapshotId"]
    finish_taking(cloud)
    listing = DescribeSnapshotsRequest()
    listing.set_SnapshotIds(json.dumps([snapshot_id]))
    listing.set_SourceDiskType("System")
    [shown] = json.loads(core(listing))["Snapshots"]["Snapshot"]
    assert (shown["SnapshotName"], shown["Status"]) == ("before", "accomplished")
    change = ModifySnapshotAttributeRequest()
    change.set_SnapshotId(snapshot_id)
    change.set_Description("a text")
    core(change)
    assert json.loads(core(DescribeSnapshotLinksRequest()))["TotalCount"] == 1
    assert json.loads(core(DescribeSnapshotsUsageRequest()))["SnapshotCount"] == 1
    doomed = DeleteSnapshotRequest()
    doomed.set_SnapshotId(snapshot_id)
    core(doomed)
    with pytest.raises(ServerException) as caught:
        core(doomed)
    assert caught.value.get_error_code() == "InvalidSnapshotId.NotFound"


def test_the_first_sdk_deals_with_policies(core: Any, cloud: Cloud) -> None:
    disks = json.dumps([add_disk(cloud)])
    created = CreateAutoSnapshotPolicyRequest()
    created.set_timePoints('["0"]')
    created.set_repeatWeekdays('["7"]')
    created.set_retentionDays(-1)
    created.set_autoSnapshotPolicyName("weekly")
    policy_id = json.loads(core(created))["AutoSnapshotPolicyId"]
    for request in (ApplyAutoSnapshotPolicyRequest(), CancelAutoSnapshotPolicyRequest()):
        request.set_autoSnapshotPolicyId(policy_id)
        request.set_diskIds(disks)
        core(request)
    change = ModifyAutoSnapshotPolicyExRequest()
    change.set_autoSnapshotPolicyId(policy_id)
    change.set_timePoints('["23"]')
    core(change)
    listing = DescribeAutoSnapshotPolicyExRequest()
    listing.set_AutoSnapshotPolicyId(policy_id)
    [shown] = json.loads(core(listing))["AutoSnapshotPolicies"]["AutoSnapshotPolicy"]
    assert (shown["AutoSnapshotPolicyName"], shown["TimePoints"], shown["DiskNums"]) == ("weekly", '["23"]', 0)
    doomed = DeleteAutoSnapshotPolicyRequest()
    doomed.set_autoSnapshotPolicyId(policy_id)
    core(doomed)
    assert json.loads(core(listing))["TotalCount"] == 0
