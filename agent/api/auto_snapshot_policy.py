"""Automatic snapshot policy actions (SPEC S5). Many of their parameters begin in lower case in the public API."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agent.api.caller import caller
from agent.api.common import ecs_tags, given_tags, refuse, tag_filters
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import NumberedPages, Paged
from agent.api.edge.params import ErrorCode, JsonList, Params, RegionParams, Tag
from agent.api.edge.registry import ECS, action
from agent.core.clock import iso_seconds
from agent.services import auto_snapshot_policy as service
from agent.services import tag
from agent.store.schema import AutoSnapshotPolicy, Disk

NEXT_TIMES = 3  # that are shown of a policy
_IGNORED = ("AssociationType", "CopyEncryptionConfiguration", "ResourceGroupId", "StorageLocationArn")
_POLICY = "snapshotpolicy/{auto_snapshot_policy_id}"

PolicyId = Annotated[str, Field(alias="autoSnapshotPolicyId")]
DiskIds = Annotated[JsonList, Field(alias="diskIds"), ErrorCode("ParameterInvalid")]
Numbers = Annotated[JsonList, ErrorCode("ParameterInvalid")]


class PolicyFields(RegionParams):
    """What a policy says. `TimeZone` is ours: an IANA name, empty for the region's."""

    name: Annotated[str | None, Field(alias="autoSnapshotPolicyName")] = None
    time_points: Annotated[Numbers | None, Field(alias="timePoints")] = None
    repeat_weekdays: Annotated[Numbers | None, Field(alias="repeatWeekdays")] = None
    retention_days: Annotated[int | None, Field(alias="retentionDays"), ErrorCode("ParameterInvalid")] = None
    time_zone: str | None = None
    enable_cross_region_copy: bool = False
    target_copy_regions: str = ""
    copied_snapshots_retention_days: str = ""
    target_tags: list[Params] = []

    def wanted(self, action_name: str) -> service.Wanted:
        refuse(
            action_name,
            EnableCrossRegionCopy=self.enable_cross_region_copy,
            TargetCopyRegions=self.target_copy_regions,
            CopiedSnapshotsRetentionDays=self.copied_snapshots_retention_days,
            TargetTags=len(self.target_tags),
        )
        return service.Wanted(
            name=self.name,
            hours=self.time_points,
            weekdays=self.repeat_weekdays,
            retention_days=self.retention_days,
            time_zone=self.time_zone,
        )


class CreatePolicyParams(PolicyFields):
    tag: list[Tag] = []


class ModifyPolicyParams(PolicyFields):
    auto_snapshot_policy_id: PolicyId


class DeletePolicyParams(RegionParams):
    auto_snapshot_policy_id: PolicyId


class ApplyPolicyParams(RegionParams):
    auto_snapshot_policy_id: PolicyId
    disk_ids: DiskIds


class CancelPolicyParams(RegionParams):
    auto_snapshot_policy_id: PolicyId = ""
    disk_ids: DiskIds


class DescribePoliciesParams(RegionParams, NumberedPages):
    auto_snapshot_policy_id: str = ""
    auto_snapshot_policy_name: str = ""
    tag: list[Tag] = []


class DescribeAssociationsParams(RegionParams, Paged):
    auto_snapshot_policy_id: str = ""
    disk_id: str = ""


@action(
    "CreateAutoSnapshotPolicy",
    version=ECS,
    params=CreatePolicyParams,
    resource="snapshotpolicy/*",
    access="write",
    idempotent=True,
    ignored=_IGNORED,
)
def create_auto_snapshot_policy(call: Call, p: CreatePolicyParams) -> dict[str, Any]:
    policy = service.create_policy(caller(call), p.wanted(call.action), given_tags(p.tag))
    return {"AutoSnapshotPolicyId": policy.id}


@action(
    "ModifyAutoSnapshotPolicyEx",
    version=ECS,
    params=ModifyPolicyParams,
    resource=_POLICY,
    access="write",
    ignored=_IGNORED,
)
def modify_auto_snapshot_policy_ex(call: Call, p: ModifyPolicyParams) -> dict[str, Any]:
    service.modify_policy(caller(call), p.auto_snapshot_policy_id, p.wanted(call.action))
    return {}


@action("DeleteAutoSnapshotPolicy", version=ECS, params=DeletePolicyParams, resource=_POLICY, access="write")
def delete_auto_snapshot_policy(call: Call, p: DeletePolicyParams) -> dict[str, Any]:
    service.delete_policy(caller(call), p.auto_snapshot_policy_id)
    return {}


@action(
    "ApplyAutoSnapshotPolicy",
    version=ECS,
    params=ApplyPolicyParams,
    resource=(_POLICY, "disk/{disk_ids}"),
    access="write",
)
def apply_auto_snapshot_policy(call: Call, p: ApplyPolicyParams) -> dict[str, Any]:
    service.apply_policy(caller(call), p.auto_snapshot_policy_id, p.disk_ids)
    return {}


@action(
    "CancelAutoSnapshotPolicy",
    version=ECS,
    params=CancelPolicyParams,
    resource="disk/{disk_ids}",
    access="write",
)
def cancel_auto_snapshot_policy(call: Call, p: CancelPolicyParams) -> dict[str, Any]:
    service.cancel_policy(caller(call), p.disk_ids, p.auto_snapshot_policy_id)
    return {}


@action(
    "DescribeAutoSnapshotPolicyEx",
    version=ECS,
    params=DescribePoliciesParams,
    resource=_POLICY,
    access="read",
    ignored=("ResourceGroupId",),
)
def describe_auto_snapshot_policy_ex(call: Call, p: DescribePoliciesParams) -> dict[str, Any]:
    found = service.find_policies(
        caller(call), policy_id=p.auto_snapshot_policy_id, name=p.auto_snapshot_policy_name, tags=tag_filters(p.tag)
    )
    page = paging.page(call.session, found, p)
    ids = [policy.id for policy in page.items]
    tags, disks = tag.tags_of(call.session, "snapshotpolicy", ids), service.disk_counts(caller(call), ids)
    shown = [_shown(call, policy, disks.get(policy.id, 0), tags[policy.id]) for policy in page.items]
    return {"AutoSnapshotPolicies": {"AutoSnapshotPolicy": shown}, **page.fields()}


def _shown(call: Call, policy: AutoSnapshotPolicy, disks: int, tags: list[tuple[str, str]]) -> dict[str, Any]:
    """TimeZone, OwnTimeZone and NextTimes are ours."""
    next_times = [iso_seconds(moment) for moment in service.next_times(caller(call), policy, NEXT_TIMES)]
    return {
        "AutoSnapshotPolicyId": policy.id,
        "AutoSnapshotPolicyName": policy.name,
        "RegionId": call.region_id,
        "TimePoints": _json(policy.hours),
        "RepeatWeekdays": _json(policy.weekdays),
        "RetentionDays": policy.retention_days,
        "TimeZone": policy.time_zone or call.services.config.time_zone,
        "OwnTimeZone": policy.time_zone is not None,
        "NextTimes": {"NextTime": next_times},
        "Status": "Normal",
        "Type": "Custom",
        "AssociationType": "",
        "DiskNums": disks,
        "VolumeNums": 0,
        "EnableCrossRegionCopy": False,
        "TargetCopyRegions": "",
        "ResourceGroupId": "",
        "CreationTime": iso_seconds(policy.created_at),
        "Tags": ecs_tags(tags),
    }


def _json(numbers: list[int]) -> str:
    """Lists of numbers are JSON arrays of strings on the wire, in both directions."""
    return "[" + ",".join(f'"{number}"' for number in numbers) + "]"


@action(
    "DescribeAutoSnapshotPolicyAssociations",
    version=ECS,
    params=DescribeAssociationsParams,
    resource=_POLICY,
    access="read",
)
def describe_auto_snapshot_policy_associations(call: Call, p: DescribeAssociationsParams) -> dict[str, Any]:
    """DiskName, LastTime and LastSkipped are ours: for which hour the policy was heeded last, and why then no snapshot
    was taken, if none was."""
    found = service.find_governed(caller(call), policy_id=p.auto_snapshot_policy_id, disk_id=p.disk_id)
    page = paging.page(call.session, found, p)

    def shown(disk: Disk) -> dict[str, Any]:
        return {
            "AutoSnapshotPolicyId": disk.auto_snapshot_policy_id,
            "DiskId": disk.id,
            "DiskName": disk.name,
            "LastTime": iso_seconds(disk.auto_snapshot_hour) if disk.auto_snapshot_hour else "",
            "LastSkipped": disk.auto_snapshot_skipped or "",
        }

    associations = [shown(disk) for disk in page.items]
    return {"AutoSnapshotPolicyAssociations": {"AutoSnapshotPolicyAssociation": associations}, **page.fields()}
