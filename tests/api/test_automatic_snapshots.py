"""Automatic snapshots over simulated weeks and months (SPEC S4-S6): real store and timetable, a clock set by hand."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest

from agent.core import schedule
from agent.store.schema import AutoSnapshotPolicy, Disk, Instance, Snapshot
from tests.support.cloud import Cloud
from tests.support.timetable import add_disk, change, finish_taking, running_instance, set_clock, timetable_of

MINUTE, HOUR, DAY = dt.timedelta(minutes=1), dt.timedelta(hours=1), dt.timedelta(days=1)
EVERY_DAY = [1, 2, 3, 4, 5, 6, 7]
MakeCloud = Callable[..., Cloud]


class Host:
    """A cloud in which time passes: the timetable looks at the clock every 30 minutes; jobs end at once. To be quick it
    looks for what is over only when something is taken, and when it is told to look."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.timetable = timetable_of(cloud)

    @property
    def now(self) -> dt.datetime:
        return self.cloud.clock.now()

    def policy(self, hours: list[int], weekdays: list[int], days: int = -1, zone: str = "", *disks: str) -> str:
        given = {
            "timePoints": json.dumps([str(hour) for hour in hours]),
            "repeatWeekdays": json.dumps([str(day) for day in weekdays]),
            "retentionDays": days,
            "TimeZone": zone,
        }
        policy_id = str(self.cloud.call("CreateAutoSnapshotPolicy", given)["AutoSnapshotPolicyId"])
        if disks:
            applied = {"autoSnapshotPolicyId": policy_id, "diskIds": json.dumps(disks)}
            self.cloud.call("ApplyAutoSnapshotPolicy", applied)
        return policy_id

    def look(self) -> None:
        self._take()
        self.timetable.expire()

    def _take(self) -> None:
        woken = self.cloud.runner.wakes
        self.timetable.take()
        if self.cloud.runner.wakes != woken:
            finish_taking(self.cloud)
            self.timetable.expire()

    def live(self, until: dt.datetime, step: dt.timedelta = 30 * MINUTE) -> None:
        while self.now < until:
            set_clock(self.cloud, self.now + step)
            self._take()

    def leap(self, moment: dt.datetime) -> None:
        """Nobody looks at the clock meanwhile: the host is off."""
        set_clock(self.cloud, moment)

    def taken(self, disk_id: str = "", zone: str = "UTC") -> list[str]:
        """When the automatic snapshots that are there were begun, on a clock of the zone; the oldest first."""
        with self.cloud.store.read() as session:
            found = session.query(Snapshot).filter(Snapshot.kind == "auto").order_by(Snapshot.created_at)
            rows = [one.created_at for one in found if not disk_id or one.disk_id == disk_id]
        return [f"{moment.astimezone(schedule.time_zone(zone)):%m-%d %H:%M}" for moment in rows]

    def association(self, disk_id: str) -> dict[str, Any]:
        answer = self.cloud.call("DescribeAutoSnapshotPolicyAssociations", {"DiskId": disk_id})
        [row] = answer["AutoSnapshotPolicyAssociations"]["AutoSnapshotPolicyAssociation"]
        return dict(row)


@pytest.fixture
def host(cloud: Cloud) -> Host:
    return Host(cloud)


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


# ------------------------------------------------------------------------------ when


def test_a_week_of_a_policy(host: Host) -> None:
    disk_id = add_disk(host.cloud)
    policy_id = host.policy([1, 13], [1, 4], 7, "", disk_id)
    set_clock(host.cloud, utc("2026-11-23T15:00"))  # Monday, 23:00 in Shanghai
    host.live(utc("2026-11-30T15:00"))
    assert host.taken(zone="Asia/Shanghai") == ["11-26 01:00", "11-26 13:00", "11-30 01:00", "11-30 13:00"]
    shown = host.cloud.call("DescribeSnapshots")["Snapshots"]["Snapshot"]
    assert [row["SnapshotName"] for row in shown[:2]] == [f"auto2.0_20261130_{policy_id}"] * 2
    newest = shown[0]
    assert (newest["SnapshotType"], newest["RetentionDays"], newest["AutoSnapshotPolicyId"]) == ("auto", 7, policy_id)
    assert (newest["ExpirationTime"], newest["Status"]) == ("2026-12-07T05:00:00Z", "accomplished")
    assert host.association(disk_id) == {
        "AutoSnapshotPolicyId": policy_id,
        "DiskId": disk_id,
        "DiskName": "",
        "LastTime": "2026-11-30T05:00:00Z",
        "LastSkipped": "",
    }


@pytest.mark.parametrize(
    ("zone", "month", "leapt_over", "hours"),
    [
        ("Europe/Berlin", "2026-03", ["03-29 02:00"], [0, 2, 23]),
        ("Europe/Berlin", "2026-10", [], [0, 2, 23]),
        ("America/New_York", "2026-03", ["03-08 02:00"], [1, 2, 12]),
        ("America/New_York", "2026-11", [], [1, 2, 12]),
        ("Australia/Lord_Howe", "2026-10", ["10-04 02:00"], [1, 2, 3]),
        ("Australia/Lord_Howe", "2026-04", [], [1, 2, 3]),
        ("Asia/Tokyo", "2026-03", [], [0, 12, 23]),
    ],
)
def test_months_in_which_clocks_change(
    make_cloud: MakeCloud, zone: str, month: str, leapt_over: list[str], hours: list[int]
) -> None:
    """Every hour of every day once, but those that the clock leaps over."""
    host = Host(make_cloud(quotas={"snapshots_per_disk": 1000}))
    begin = dt.datetime.fromisoformat(f"{month}-01T00:00").replace(tzinfo=schedule.time_zone(zone))
    end = (begin + 32 * DAY).replace(day=1)
    set_clock(host.cloud, begin.astimezone(dt.UTC) - MINUTE)
    host.policy(hours, EVERY_DAY, -1, zone, add_disk(host.cloud))
    set_clock(host.cloud, begin.astimezone(dt.UTC) - 30 * MINUTE)
    host.live(end.astimezone(dt.UTC) - HOUR)
    days = [begin + n * DAY for n in range((end - begin).days)]
    wanted = [f"{day:%m-%d} {hour:02}:00" for day in days for hour in hours]
    assert host.taken(zone=zone) == [one for one in wanted if one not in leapt_over]


def test_the_guides_tables_for_japan(host: Host) -> None:
    """What is wanted in UTC+9, once with its own zone and once as the guide sets it in UTC+8, is the same."""
    set_clock(host.cloud, utc("2026-11-23T12:00"))
    own, converted = add_disk(host.cloud), add_disk(host.cloud)
    host.policy([9], [3], -1, "Asia/Tokyo", own)
    host.policy([8], [3], -1, "", converted)
    host.live(utc("2026-12-03T00:00"))
    assert host.taken(own) == host.taken(converted) == ["11-25 00:00", "12-02 00:00"]
    midnight, before = add_disk(host.cloud), add_disk(host.cloud)
    host.policy([0], [1], -1, "Asia/Tokyo", midnight)
    host.policy([23], [7], -1, "", before)
    host.live(utc("2026-12-15T00:00"))
    assert host.taken(midnight) == host.taken(before) == ["12-06 15:00", "12-13 15:00"]


def test_a_policy_made_or_changed_after_the_hour_waits_for_the_next(host: Host) -> None:
    set_clock(host.cloud, utc("2026-11-24T05:01"))
    disk_id = add_disk(host.cloud)
    policy_id = host.policy([13], EVERY_DAY, -1, "", disk_id)
    host.look()
    assert host.taken() == []
    set_clock(host.cloud, utc("2026-11-24T08:02"))
    change = {"autoSnapshotPolicyId": policy_id, "timePoints": '["16"]'}
    host.cloud.call("ModifyAutoSnapshotPolicyEx", change)
    host.look()
    assert host.taken() == []
    host.live(utc("2026-11-25T09:02"), HOUR)
    assert host.taken() == ["11-25 08:02"]


def test_disks_of_several_policies_and_none(host: Host) -> None:
    first, second, free = (add_disk(host.cloud) for _ in range(3))
    host.policy([13], EVERY_DAY, -1, "", first)
    policy_id = host.policy([13, 14], EVERY_DAY, -1, "", first, second)  # a disk has one policy: the last
    set_clock(host.cloud, utc("2026-11-24T04:30"))
    host.live(utc("2026-11-24T07:00"))
    assert host.taken(first) == host.taken(second) == ["11-24 05:00", "11-24 06:00"]
    assert host.taken(free) == []
    host.cloud.call("CancelAutoSnapshotPolicy", {"diskIds": json.dumps([first])})
    host.live(utc("2026-11-25T05:30"))
    assert len(host.taken(first)) == 2
    host.cloud.call("DeleteAutoSnapshotPolicy", {"autoSnapshotPolicyId": policy_id})
    host.live(utc("2026-11-26T07:00"))
    assert (len(host.taken(first)), len(host.taken(second))) == (2, 3)


# ------------------------------------------------------------------------------ clocks that are not even


def test_what_a_host_misses_while_it_is_off_is_not_made_up_for(host: Host) -> None:
    disk_id = add_disk(host.cloud)
    host.policy([1, 13], EVERY_DAY, -1, "", disk_id)
    set_clock(host.cloud, utc("2026-11-24T04:45"))
    host.live(utc("2026-11-24T05:15"), 15 * MINUTE)
    host.leap(utc("2026-11-28T11:11"))
    host.look()
    assert host.taken() == ["11-24 05:00"]
    host.live(utc("2026-11-28T17:05"), 6 * MINUTE)
    assert host.taken() == ["11-24 05:00", "11-28 17:05"]


def test_an_agent_that_restarts_at_the_hour_loses_none(host: Host) -> None:
    host.policy([13], EVERY_DAY, -1, "", add_disk(host.cloud))
    host.leap(utc("2026-11-24T05:04"))
    restarted = Host(host.cloud)
    restarted.look()
    restarted.look()
    Host(host.cloud).look()
    assert host.taken() == ["11-24 05:04"]


def test_a_clock_that_is_put_back_repeats_nothing(host: Host) -> None:
    host.policy([12, 13], EVERY_DAY, -1, "", add_disk(host.cloud))
    set_clock(host.cloud, utc("2026-11-24T03:30"))
    host.live(utc("2026-11-24T05:30"))
    assert host.taken() == ["11-24 04:00", "11-24 05:00"]
    host.leap(utc("2026-11-24T03:30"))
    host.live(utc("2026-11-24T05:30"))
    assert len(host.taken()) == 2
    host.live(utc("2026-11-25T05:30"))
    assert len(host.taken()) == 4


def test_a_clock_that_was_far_ahead_stops_nothing(host: Host) -> None:
    host.policy([13], EVERY_DAY, -1, "", add_disk(host.cloud))
    host.leap(utc("2031-01-01T05:00"))
    host.look()
    host.leap(utc("2026-11-24T03:30"))
    host.live(utc("2026-11-25T05:30"))
    assert host.taken() == ["11-24 05:00", "11-25 05:00", "01-01 05:00"]


def test_a_lost_time_zone_is_said_and_harms_no_other_policy(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    lost, kept = add_disk(host.cloud), add_disk(host.cloud)
    policy_id = host.policy([13], EVERY_DAY, -1, "Asia/Tokyo", lost)
    host.policy([13], EVERY_DAY, -1, "", kept)
    with host.cloud.store.write() as session:
        session.get_one(AutoSnapshotPolicy, policy_id).time_zone = "Asia/Atlantis"
    host.leap(utc("2026-11-24T05:00"))
    host.look()
    assert (host.taken(lost), len(host.taken(kept))) == ([], 1)
    assert f"policy {policy_id} takes no snapshots: 'Asia/Atlantis' is not the name of a time zone" in caplog.text
    [shown] = host.cloud.call("DescribeAutoSnapshotPolicyEx", {"AutoSnapshotPolicyId": policy_id})[
        "AutoSnapshotPolicies"
    ]["AutoSnapshotPolicy"]
    assert shown["NextTimes"] == {"NextTime": []}


# ------------------------------------------------------------------------------ what is not taken


def test_an_hour_is_skipped_while_the_last_is_still_being_taken(host: Host) -> None:
    """As the guide has it: 9:00 takes 70 minutes, 10:00 is skipped, 11:00 is taken."""
    disk_id = add_disk(host.cloud)
    host.policy([9, 10, 11], EVERY_DAY, -1, "UTC", disk_id)
    host.leap(utc("2026-11-24T09:00"))
    host.timetable.take()
    host.leap(utc("2026-11-24T10:00"))
    host.timetable.take()
    skipped = host.association(disk_id)
    assert skipped["LastTime"] == "2026-11-24T10:00:00Z"
    assert skipped["LastSkipped"] == "the automatic snapshot before was still being taken"
    host.leap(utc("2026-11-24T10:10"))
    finish_taking(host.cloud)
    host.timetable.take()
    host.leap(utc("2026-11-24T11:00"))
    host.look()
    assert host.taken() == ["11-24 09:00", "11-24 11:00"]
    assert host.association(disk_id)["LastSkipped"] == ""


def test_a_manual_one_in_progress_skips_nothing(host: Host) -> None:
    disk_id = add_disk(host.cloud)
    host.policy([9], EVERY_DAY, -1, "UTC", disk_id)
    host.cloud.call("CreateSnapshot", {"DiskId": disk_id})
    host.leap(utc("2026-11-24T09:00"))
    host.timetable.take()
    assert [job.lock for job in host.cloud.jobs("snapshot.take")] == [disk_id, disk_id]  # one after the other


def test_nothing_is_taken_of_an_unattached_basic_disk(host: Host) -> None:
    instance_id, system = running_instance(host.cloud)
    idle = add_disk(host.cloud, category="cloud")
    used = add_disk(host.cloud, category="cloud", instance_id=instance_id)
    other = add_disk(host.cloud, category="cloud_efficiency")
    host.policy([9], EVERY_DAY, -1, "UTC", idle, used, other, system)
    host.leap(utc("2026-11-24T09:00"))
    host.look()
    assert [len(host.taken(one)) for one in (idle, used, other, system)] == [0, 1, 1, 1]
    assert "basic cloud disk" in host.association(idle)["LastSkipped"]
    change(host.cloud, Instance, instance_id, status="Stopped")
    host.leap(utc("2026-11-25T09:00"))
    host.look()
    assert [len(host.taken(one)) for one in (idle, used, other, system)] == [0, 2, 2, 2]


def test_a_disk_on_its_way_is_waited_for(host: Host) -> None:
    moving, still = add_disk(host.cloud), add_disk(host.cloud)
    host.policy([9], EVERY_DAY, -1, "UTC", moving, still)
    change(host.cloud, Disk, moving, status="Attaching")
    host.leap(utc("2026-11-24T09:00"))
    host.look()
    assert (host.taken(moving), host.taken(still)) == ([], ["11-24 09:00"])
    assert host.association(moving)["LastTime"] == ""
    change(host.cloud, Disk, moving, status="In_use")
    host.leap(utc("2026-11-24T09:02"))
    host.look()
    host.look()
    assert (host.taken(moving), host.taken(still)) == (["11-24 09:02"], ["11-24 09:00"])


def test_but_not_for_long(host: Host) -> None:
    disk_id = add_disk(host.cloud)
    host.policy([9], EVERY_DAY, -1, "UTC", disk_id)
    change(host.cloud, Disk, disk_id, status="Detaching")
    host.leap(utc("2026-11-24T08:59"))
    host.live(utc("2026-11-24T09:06"), MINUTE)
    assert host.association(disk_id)["LastSkipped"] == "the disk was Detaching"
    change(host.cloud, Disk, disk_id, status="Available")
    host.live(utc("2026-11-24T09:30"), MINUTE)
    assert host.taken() == []


def test_one_that_is_being_released_is_left_alone(host: Host) -> None:
    instance_id, system = running_instance(host.cloud)
    host.policy([9], EVERY_DAY, -1, "UTC", system)
    with host.cloud.store.write() as session:
        session.get_one(Instance, instance_id).releasing = True
    host.leap(utc("2026-11-24T09:00"))
    host.look()
    assert host.taken() == []
    assert host.association(system)["LastSkipped"] == "its instance is being released"


def test_failures_are_shown_and_do_not_pile_up(host: Host) -> None:
    disk_id = add_disk(host.cloud)
    host.policy([9], EVERY_DAY, -1, "UTC", disk_id)
    host.leap(utc("2026-11-24T09:00"))
    host.look()
    for day in (25, 26, 27):
        host.leap(utc(f"2026-11-{day}T09:00"))
        host.timetable.take()
        finish_taking(host.cloud, failing=f"no space on the {day}th")
    shown = host.cloud.call("DescribeSnapshots")["Snapshots"]["Snapshot"]
    assert [(row["Status"], row["Message"]) for row in shown] == [
        ("failed", "no space on the 27th"),
        ("accomplished", ""),
    ]


def test_a_failure_goes_after_its_disk(host: Host) -> None:
    disk_id = add_disk(host.cloud)
    host.policy([9], EVERY_DAY, -1, "UTC", disk_id)
    host.leap(utc("2026-11-24T09:00"))
    host.timetable.take()
    finish_taking(host.cloud, failing="the disk is gone")
    host.look()
    assert len(host.taken()) == 1
    with host.cloud.store.write() as session:
        session.delete(session.get_one(Disk, disk_id))
    host.look()
    assert host.taken() == []


# ------------------------------------------------------------------------------ how long, how many


def test_retention(host: Host) -> None:
    disk_id = add_disk(host.cloud)
    host.policy([9], EVERY_DAY, 3, "UTC", disk_id)
    manual = host.cloud.call("CreateSnapshot", {"DiskId": disk_id})["SnapshotId"]
    finish_taking(host.cloud)
    set_clock(host.cloud, utc("2026-11-24T00:00"))
    host.live(utc("2026-12-24T12:00"))
    assert host.taken() == ["12-22 09:00", "12-23 09:00", "12-24 09:00"]
    shown = host.cloud.call("DescribeSnapshots", {"SnapshotType": "user"})["Snapshots"]["Snapshot"]
    assert [row["SnapshotId"] for row in shown] == [manual]


def test_those_of_a_changed_or_deleted_policy_keep_their_days(host: Host) -> None:
    disk_id = add_disk(host.cloud)
    policy_id = host.policy([9], EVERY_DAY, 2, "UTC", disk_id)
    host.leap(utc("2026-11-24T09:00"))
    host.look()
    host.cloud.call("ModifyAutoSnapshotPolicyEx", {"autoSnapshotPolicyId": policy_id, "retentionDays": -1})
    host.leap(utc("2026-11-25T09:00"))
    host.look()
    host.cloud.call("DeleteAutoSnapshotPolicy", {"autoSnapshotPolicyId": policy_id})
    host.live(utc("2027-02-01T00:00"), 6 * HOUR)
    host.look()
    assert host.taken() == ["11-25 09:00"]


def test_what_is_expired_but_used_is_kept_until_it_is_free(host: Host) -> None:
    disk_id, made = add_disk(host.cloud), add_disk(host.cloud)
    host.policy([9], [2], 1, "UTC", disk_id)
    host.leap(utc("2026-11-24T09:00"))
    host.look()
    [snapshot] = host.cloud.call("DescribeSnapshots")["Snapshots"]["Snapshot"]
    with host.cloud.store.write() as session:
        session.get_one(Disk, made).source_snapshot_id = snapshot["SnapshotId"]
    host.leap(utc("2026-11-26T00:00"))
    host.look()
    assert len(host.taken()) == 1
    with host.cloud.store.write() as session:
        session.delete(session.get_one(Disk, made))
    host.look()
    assert host.taken() == []


def test_one_that_is_being_taken_does_not_expire(host: Host) -> None:
    host.policy([9], [2], 1, "UTC", add_disk(host.cloud))
    host.leap(utc("2026-11-24T09:00"))
    host.timetable.take()
    host.leap(utc("2026-11-30T09:00"))
    host.timetable.expire()
    assert len(host.taken()) == 1


def test_weeks_at_the_quota(host: Host) -> None:
    """Six a day: from the eleventh day on each takes the place of the oldest; manual ones never go."""
    disk_id = add_disk(host.cloud)
    host.policy([0, 4, 8, 12, 16, 20], EVERY_DAY, -1, "UTC", disk_id)
    manual = []
    for _ in range(4):
        manual.append(host.cloud.call("CreateSnapshot", {"DiskId": disk_id})["SnapshotId"])
        finish_taking(host.cloud)
    set_clock(host.cloud, utc("2026-11-23T22:00"))
    host.live(utc("2026-12-24T00:00"), 2 * HOUR)
    taken = host.taken()
    assert len(taken) == 60
    assert taken[-1] == "12-24 00:00"
    assert taken[0] == "12-14 04:00"
    shown = host.cloud.call("DescribeSnapshots", {"SnapshotType": "user"})["Snapshots"]["Snapshot"]
    assert sorted(row["SnapshotId"] for row in shown) == sorted(manual)


def test_a_quota_full_of_manual_ones_skips_the_hour(make_cloud: MakeCloud) -> None:
    host = Host(make_cloud(quotas={"snapshots_per_disk": 2}))
    disk_id = add_disk(host.cloud)
    host.policy([9], EVERY_DAY, -1, "UTC", disk_id)
    for _ in range(2):
        host.cloud.call("CreateSnapshot", {"DiskId": disk_id})
        finish_taking(host.cloud)
    host.leap(utc("2026-11-24T09:00"))
    host.look()
    assert host.taken() == []
    skipped = host.association(disk_id)["LastSkipped"]
    assert skipped == "the disk has 2 snapshots, and none of them may be deleted for another"
