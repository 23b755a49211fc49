"""Automatic snapshot policies (SPEC S5): when snapshots are taken of which disks, and how long they stay.

The clock's part is in jobs/timetable.py.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, select, update

from agent.config import Config, ConfigError
from agent.core import disk_categories, schedule, validate
from agent.core.errors import Conflict, InvalidParameter, MissingParameter, NotFound
from agent.core.ids import new_id
from agent.jobs import snapshots
from agent.jobs.timetable import schedule_of
from agent.services import quota, tag
from agent.services.context import Caller
from agent.services.matching import like
from agent.store.schema import AutoSnapshotPolicy, Disk

DEFAULT_RETENTION_DAYS = 30
MAX_RETENTION_DAYS = 65536
MAX_DISKS = 100  # of one call
_NAME_CODE = "InvalidAutoSnapshotPolicyName.Malformed"
_CODE = "ParameterInvalid"  # the public one for whatever is wrong with a policy


@dataclass(frozen=True)
class Wanted:
    """What a policy shall be; None: the default when it is made, as it is when it is changed."""

    name: str | None = None
    hours: Sequence[str] | None = None  # "0" - "23"
    weekdays: Sequence[str] | None = None  # "1" (Monday) - "7"
    retention_days: int | None = None  # -1: for ever
    time_zone: str | None = None  # an IANA name; empty: the region's


def check_time_zone(config: Config) -> None:
    """Raises ConfigError when the region's time zone is none; at the agent's start."""
    try:
        schedule.time_zone(config.time_zone)
    except ValueError as error:
        raise ConfigError(f"time_zone: {error}") from None


def create_policy(caller: Caller, wanted: Wanted, tags: Sequence[tag.TagPair] = ()) -> AutoSnapshotPolicy:
    """A policy that no disk has yet. It begins with the first hour after now."""
    if not wanted.hours:
        raise MissingParameter("timePoints")
    if not wanted.weekdays:
        raise MissingParameter("repeatWeekdays")
    used = select(func.count()).select_from(AutoSnapshotPolicy)
    used = used.where(AutoSnapshotPolicy.account_id == caller.account_id)
    quota.check(caller, "auto_snapshot_policies", caller.session.scalar(used) or 0)
    policy = AutoSnapshotPolicy(
        id=new_id("policy"),
        account_id=caller.account_id,
        retention_days=DEFAULT_RETENTION_DAYS,
        created_at=caller.services.clock.now(),
    )
    _write(policy, wanted)
    caller.session.add(policy)
    caller.session.flush()
    tag.set_tags(caller, "snapshotpolicy", policy.id, tags)
    return policy


def modify_policy(caller: Caller, policy_id: str, wanted: Wanted) -> None:
    """Change a policy from the next hour on. Snapshots that are there keep the retention they were taken with."""
    policy = get_policy(caller, policy_id)
    before = (policy.hours, policy.weekdays, policy.time_zone)
    _write(policy, wanted)
    if (policy.hours, policy.weekdays, policy.time_zone) != before:
        policy.last_hour = caller.services.clock.now()  # what would have been due under the new hours is over


def _write(policy: AutoSnapshotPolicy, wanted: Wanted) -> None:
    if wanted.name is not None:
        policy.name = wanted.name and validate.name("autoSnapshotPolicyName", wanted.name, code=_NAME_CODE)
    if wanted.hours is not None:
        policy.hours = _numbers("timePoints", wanted.hours, 0, 23)
    if wanted.weekdays is not None:
        policy.weekdays = _numbers("repeatWeekdays", wanted.weekdays, 1, 7)
    if wanted.retention_days is not None:
        policy.retention_days = _retention(wanted.retention_days)
    if wanted.time_zone is not None:
        policy.time_zone = _time_zone(wanted.time_zone)


def _numbers(parameter: str, given: Sequence[str], least: int, most: int) -> list[int]:
    """Sorted, each once; raises InvalidParameter for none, or one that is out of range."""
    allowed = {str(number): number for number in range(least, most + 1)}
    for text in given:
        if text not in allowed:
            why = f'it must be a JSON array of "{least}" to "{most}".'
            raise InvalidParameter(parameter, text, why, code=_CODE)
    if not given:
        raise InvalidParameter(parameter, "[]", "it must name at least one.", code=_CODE)
    return sorted({allowed[text] for text in given})


def _retention(days: int) -> int:
    if days != snapshots.FOREVER and not 1 <= days <= MAX_RETENTION_DAYS:
        why = f"it must be 1-{MAX_RETENTION_DAYS} days, or -1 for ever."
        raise InvalidParameter("retentionDays", days, why, code=_CODE)
    return days


def _time_zone(name: str) -> str | None:
    try:
        return schedule.time_zone(name).key if name else None
    except ValueError as error:
        raise InvalidParameter("TimeZone", name, f"{error}.", code=_CODE) from None


def get_policy(caller: Caller, policy_id: str) -> AutoSnapshotPolicy:
    """A policy of the caller's. Raises NotFound."""
    policy = caller.session.get(AutoSnapshotPolicy, policy_id)
    if policy is None or policy.account_id != caller.account_id:
        raise NotFound("InvalidAutoSnapshotPolicyId.NotFound", "AutoSnapshotPolicyId", policy_id)
    return policy


def delete_policy(caller: Caller, policy_id: str) -> None:
    """Its disks have none then; its snapshots stay until their days are over."""
    policy = get_policy(caller, policy_id)
    _release(caller, (Disk.auto_snapshot_policy_id == policy.id,))
    tag.forget(caller.session, "snapshotpolicy", [policy.id])
    caller.session.delete(policy)


def apply_policy(caller: Caller, policy_id: str, disk_ids: Sequence[str]) -> None:
    """Give disks this policy, in place of the one they have; all of them or none."""
    policy = get_policy(caller, policy_id)
    for disk in _disks(caller, disk_ids):
        if not disk_categories.is_cloud(disk.category):
            raise Conflict(
                f'The disk "{disk.id}" is of category {disk.category}, of which there are no automatic snapshots.',
                code="DiskCategory.OperationNotSupported",
            )
        if disk.auto_snapshot_policy_id != policy.id:
            disk.auto_snapshot_policy_id = policy.id
            disk.auto_snapshot_hour = disk.auto_snapshot_skipped = None


def cancel_policy(caller: Caller, disk_ids: Sequence[str], policy_id: str = "") -> None:
    """Take their policy from disks, only this one if it is named; those that have none are left alone."""
    if policy_id:
        get_policy(caller, policy_id)
    mine = [Disk.id.in_([disk.id for disk in _disks(caller, disk_ids)])]
    _release(caller, (*mine, *([Disk.auto_snapshot_policy_id == policy_id] if policy_id else [])))


def _release(caller: Caller, which: Sequence[object]) -> None:
    none = {"auto_snapshot_policy_id": None, "auto_snapshot_hour": None, "auto_snapshot_skipped": None}
    caller.session.execute(update(Disk).where(*which).values(**none))  # type: ignore[arg-type]


def _disks(caller: Caller, disk_ids: Sequence[str]) -> list[Disk]:
    if not disk_ids:
        raise MissingParameter("diskIds")
    if len(disk_ids) > MAX_DISKS:
        raise InvalidParameter("diskIds", len(disk_ids), f"at most {MAX_DISKS} are allowed.", code=_CODE)
    found = select(Disk).where(Disk.account_id == caller.account_id, Disk.id.in_(disk_ids))
    by_id = {disk.id: disk for disk in caller.session.scalars(found)}
    for disk_id in disk_ids:
        if disk_id not in by_id:
            raise NotFound("InvalidDiskId.NotFound", "DiskId", disk_id)
    return list(by_id.values())


def find_policies(
    caller: Caller, *, policy_id: str = "", name: str = "", tags: Sequence[tag.TagFilter] = ()
) -> Select[AutoSnapshotPolicy]:
    """The caller's policies, newest first; a name may hold `*`."""
    found = select(AutoSnapshotPolicy).where(AutoSnapshotPolicy.account_id == caller.account_id)
    if policy_id:
        found = found.where(AutoSnapshotPolicy.id == policy_id)
    if name:
        found = found.where(like(AutoSnapshotPolicy.name, name))
    found = tag.filter_by_tags(found, "snapshotpolicy", AutoSnapshotPolicy.id, tags)
    return found.order_by(AutoSnapshotPolicy.created_at.desc(), AutoSnapshotPolicy.id)


def find_governed(caller: Caller, *, policy_id: str = "", disk_id: str = "") -> Select[Disk]:
    """The disks that have a policy, or this one; in order of their ids."""
    found = select(Disk).where(Disk.account_id == caller.account_id, Disk.auto_snapshot_policy_id.is_not(None))
    if policy_id:
        found = found.where(Disk.auto_snapshot_policy_id == get_policy(caller, policy_id).id)
    if disk_id:
        found = found.where(Disk.id == disk_id)
    return found.order_by(Disk.id)


def disk_counts(caller: Caller, policy_ids: Sequence[str]) -> dict[str, int]:
    """How many disks have each of the policies; those that none has are left out."""
    column = Disk.auto_snapshot_policy_id
    counted = select(column, func.count()).where(column.in_(policy_ids)).group_by(column)
    return {policy_id: count for policy_id, count in caller.session.execute(counted) if policy_id}


def next_times(caller: Caller, policy: AutoSnapshotPolicy, count: int) -> list[dt.datetime]:
    """When its next hours begin; none when the host has lost its time zone."""
    now = caller.services.clock.now()
    try:
        when = schedule_of(policy, caller.services.config)
    except ValueError:
        return []
    return list(itertools.islice(schedule.beginnings(when, max(now, policy.last_hour or now)), count))
