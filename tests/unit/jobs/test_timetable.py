"""What keeps a policy from taking a snapshot, and when the clock is trusted to say that time is over."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from agent.jobs import timetable
from agent.jobs.timetable import LEAP_SECONDS, STEADY_SECONDS, Steadiness, hindrance
from agent.store.schema import Disk
from tests.support.cloud import Cloud
from tests.support.timetable import add_disk, set_clock, timetable_of
from tests.support.waiting import wait_for


@pytest.mark.parametrize(
    ("status", "category", "attached", "others", "why", "passes"),
    [
        ("In_use", "cloud", True, {}, "", False),
        ("In_use", "cloud_ssd", True, {}, "", False),
        ("Available", "cloud_ssd", False, {}, "", False),
        ("Available", "cloud_efficiency", False, {}, "", False),
        ("Available", "cloud", False, {}, "basic cloud disk", False),
        ("In_use", "cloud", True, {"still_taking": True}, "still being taken", False),
        ("In_use", "cloud", True, {"releasing": True}, "being released", False),
        ("In_use", "cloud", True, {"switched_off": True}, "switched off", False),
        ("Attaching", "cloud_ssd", True, {}, "was Attaching", True),
        ("Detaching", "cloud_ssd", True, {}, "was Detaching", True),
        ("ReIniting", "cloud_ssd", False, {}, "was ReIniting", True),
        ("Creating", "cloud_ssd", False, {}, "was Creating", True),
        ("Creating", "cloud_ssd", False, {"still_taking": True}, "still being taken", False),
    ],
)
def test_hindrances(
    status: str, category: str, attached: bool, others: dict[str, bool], why: str, passes: bool
) -> None:
    disk = Disk(id="d-1", status=status, category=category, instance_id="i-1" if attached else None)
    disk.enable_auto_snapshot = not others.get("switched_off", False)
    releasing, still_taking = others.get("releasing", False), others.get("still_taking", False)
    found = hindrance(disk, releasing=releasing, still_taking=still_taking)
    assert (found is None) == (why == "")
    if found:
        assert why in found.why
        assert found.passes == passes


@pytest.mark.parametrize(("second", "seconds"), [(0, 20), (39, 20), (41, 19.01), (59, 1.01)])
def test_the_clock_is_looked_at_when_hours_begin(second: int, seconds: float) -> None:
    assert timetable.pause(dt.datetime(2026, 11, 24, 4, 59, second, tzinfo=dt.UTC)) == pytest.approx(seconds)


def test_a_clock_is_trusted_after_a_while() -> None:
    clock = Steadiness()
    times = [n * 5.0 for n in range(int(STEADY_SECONDS / 5) + 1)]
    assert [clock.check(t, 1e9 + t) for t in times] == [False] * (len(times) - 1) + [True]


@pytest.mark.parametrize("leap", [LEAP_SECONDS * 2, -LEAP_SECONDS * 2, 3.2e8])
def test_a_clock_that_leaps_is_not(leap: float) -> None:
    clock = Steadiness()
    clock.check(0, 1e9)
    assert clock.check(STEADY_SECONDS, 1e9 + STEADY_SECONDS)
    assert not clock.check(STEADY_SECONDS + 5, 1e9 + STEADY_SECONDS + 5 + leap)
    assert not clock.check(STEADY_SECONDS + 10, 1e9 + STEADY_SECONDS + 10 + leap)
    assert clock.check(2 * STEADY_SECONDS + 5, 1e9 + 2 * STEADY_SECONDS + 5 + leap)


def test_the_thread_takes_what_is_due_whatever_went_wrong_before(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(timetable, "EVERY_SECONDS", 0.01)
    plan = {"timePoints": '["13"]', "repeatWeekdays": '["2"]'}
    policy_id = cloud.call("CreateAutoSnapshotPolicy", dict(plan))["AutoSnapshotPolicyId"]
    applied = {"autoSnapshotPolicyId": policy_id, "diskIds": json.dumps([add_disk(cloud)])}
    cloud.call("ApplyAutoSnapshotPolicy", applied)
    set_clock(cloud, dt.datetime(2026, 11, 24, 5, tzinfo=dt.UTC))
    table = timetable_of(cloud)
    works = table.take
    monkeypatch.setattr(table, "take", lambda: 1 / 0)
    table.start()
    wait_for("a failure", lambda: "cannot do what the timetable says; trying again" in caplog.text, 30)
    monkeypatch.setattr(table, "take", works)
    wait_for("the snapshot", lambda: cloud.call("DescribeSnapshots")["TotalCount"] == 1, 30)
    table.stop()
    assert cloud.runner.wakes > 0
