"""`instance set-type`, `instance replace-system-disk` and `disk monitor`: what they send and say."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from ecsctl.commands.disk_monitor import choose_period, drawing
from tests.support import cli_answers as recorded
from tests.support.cli_peer import FORBIDDEN, Peer, error, listing

OLD, NEW = "d-aaaaaaaaaaaaaaaaaaaa", "d-bbbbbbbbbbbbbbbbbbbb"
GIB = 2**30
NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def stopped(peer: Peer) -> Peer:
    """web is stopped, the key pair main bound to it."""
    replaced = recorded.job("Succeeded", Kind="system_disk.replace", ResourceId=recorded.WEB)
    found = [{"ImageId": "debian_12_x64", "ImageName": "debian_12_x64", "OSType": "linux"}]
    found.append({"ImageId": "win", "ImageName": "win", "OSType": "windows"})
    peer.answers |= {
        "DescribeInstances": listing("Instances.Instance", [recorded.instance(recorded.WEB, "web", "Stopped")]),
        "DescribeImages": listing("Images.Image", found),
        "DescribeDisks": lambda p: recorded.system_disk(NEW if "DiskIds" in p else OLD, AutoSnapshotPolicyId="sp-1"),
        "DescribeStorageUsage": usage(5 * GIB),
        "DescribeJobs": recorded.jobs(replaced),
        "ReplaceSystemDisk": {"DiskId": NEW},
        "ModifyInstanceSpec": {},
    }
    return peer


def usage(total: int) -> dict[str, Any]:
    taken = {"DiskId": OLD, "VirtualBytes": 20 * GIB, "AllocatedBytes": 0, "TotalBytes": total, "SharedBytes": 0}
    return {"Disks": {"Disk": [taken]}, "Snapshots": {"Snapshot": []}}


def sent(peer: Peer, action: str) -> dict[str, str]:
    return {name: value for name, value in peer.parameters(action).items() if name not in ("RegionId", "ClientToken")}


def test_set_type(stopped: Peer, ecsctl) -> None:
    done = ecsctl("instance", "set-type", "web", "ecs.s2.large")
    assert sent(stopped, "ModifyInstanceSpec") == {"InstanceId": recorded.WEB, "InstanceType": "ecs.s2.large"}
    assert "the new type takes effect by `ecsctl instance start web`, not before" in done.stderr
    stopped.answers["ModifyInstanceSpec"] = error(403, "IncorrectInstanceStatus", "It is Running.")
    assert "`ecsctl instance stop web` first" in ecsctl("instance", "set-type", "web", "x", status=1).stderr


def test_replace_waits_and_prints_the_new_disk(stopped: Peer, ecsctl, setting) -> None:
    home = setting.home / ".ecsctl"
    home.mkdir(mode=0o700)
    (home / "known_hosts").write_text(f"{recorded.WEB} ssh-ed25519 A\nweb.ecs ssh-ed25519 A\nother ssh-ed25519 B\n")
    (home / "known_hosts.owners.json").write_text(json.dumps({"web.ecs": recorded.WEB, "db.ecs": recorded.DATABASE}))
    done = ecsctl("instance", "replace-system-disk", "web", "--yes", "--image", "debian_12_x64", "--size", "30")
    assert done.stdout == f"{NEW}\n"
    assert sent(stopped, "ReplaceSystemDisk") == {
        "InstanceId": recorded.WEB,
        "ImageId": "debian_12_x64",
        "SystemDisk.Size": "30",
        "KeyPairName": "main",
    }
    assert len(stopped.parameters("ReplaceSystemDisk")["ClientToken"]) == 32
    assert json.loads(stopped.parameters("DescribeDisks")["DiskIds"]) == [NEW]
    assert "apply it anew" in done.stderr
    assert "Warning" not in done.stderr
    assert (home / "known_hosts").read_text() == "other ssh-ed25519 B\n"


def test_replace_sends_the_login_asked_for(stopped: Peer, ecsctl) -> None:
    replace = ("instance", "replace-system-disk", "web", "--yes", "--no-wait", "--image")
    ecsctl(*replace, "debian_12_x64", "--password-stdin", stdin="Secret-123\n")
    assert sent(stopped, "ReplaceSystemDisk")["Password"] == "Secret-123"
    assert "KeyPairName" not in sent(stopped, "ReplaceSystemDisk")
    ecsctl(*replace, "win", "--password-stdin", stdin="Secret-123\n")
    ecsctl(*replace, "win")
    assert sent(stopped, "ReplaceSystemDisk") == {"InstanceId": recorded.WEB, "ImageId": "win"}
    ecsctl(*replace, "debian_12_x64", "--key-pair", "other")
    assert sent(stopped, "ReplaceSystemDisk")["KeyPairName"] == "other"
    ecsctl(*replace, "debian_12_x64", "--password-inherit")
    assert sent(stopped, "ReplaceSystemDisk")["PasswordInherit"] == "true"


def test_replace_warns_of_a_disk_that_was_written_full(stopped: Peer, ecsctl) -> None:
    stopped.answers["DescribeStorageUsage"] = usage(20 * GIB - GIB // 2)
    replace = ("instance", "replace-system-disk", "web", "--yes", "--image", "debian_12_x64")
    assert f"less than 1 GiB of the old system disk {OLD} was never written" in ecsctl(*replace).stderr
    stopped.answers["DescribeStorageUsage"] = FORBIDDEN
    assert "Warning" not in ecsctl(*replace).stderr


def test_replace_refuses_and_fails_with_a_reason(stopped: Peer, ecsctl) -> None:
    replace = ("instance", "replace-system-disk", "web", "--yes", "--image", "debian_12_x64")
    ecsctl("instance", "replace-system-disk", "absent", "--image", "debian_12_x64", status=3)
    ecsctl("instance", "replace-system-disk", "web", status=2)
    failed = recorded.job("Failed", Message="no space left", ResourceId=recorded.WEB)
    stopped.answers["DescribeJobs"] = recorded.jobs(failed)
    stopped.answers["DescribeDisks"] = recorded.system_disk(OLD, Status="ReIniting")
    assert "no space left" in ecsctl(*replace, status=1).stderr
    stopped.answers["ReplaceSystemDisk"] = error(403, "IncorrectInstanceStatus", "It is Running.")
    assert "`ecsctl instance stop web` first" in ecsctl(*replace, status=1).stderr


# ------------------------------------------------------------------------------ real sizes


def test_wide_lists_show_what_is_really_taken(peer: Peer, ecsctl) -> None:
    taken = {"DiskId": OLD, "VirtualBytes": 20 * GIB, "AllocatedBytes": 2**20, "TotalBytes": 3 * GIB}
    peer.answers |= {
        "DescribeDisks": recorded.system_disk(OLD),
        "DescribeSnapshots": listing("Snapshots.Snapshot", [{"SnapshotId": "s-1", "SnapshotName": "one"}]),
        "DescribeStorageUsage": {
            "Disks": {"Disk": [taken | {"SharedBytes": 2 * GIB}]},
            "Snapshots": {"Snapshot": [{"SnapshotId": "s-1", "VirtualBytes": 20 * GIB, "AllocatedBytes": 1536 * 1024}]},
        },
    }
    disks = ecsctl("disk", "ls", "-o", "wide").stdout.splitlines()
    assert disks[0].split()[-3:] == ["REAL", "SHARED", "VIRTUAL"]
    assert disks[1].endswith("1 GiB  2 GiB   20 GiB")
    assert peer.parameters("DescribeStorageUsage") == {"DiskId.1": OLD}
    assert peer.versions["DescribeStorageUsage"] == "2026-11-01"
    snapshots = ecsctl("snapshot", "ls", "-o", "wide").stdout.splitlines()
    assert snapshots[0].split()[-2:] == ["REAL", "VIRTUAL"]
    assert snapshots[1].endswith("1.5 MiB  20 GiB")
    assert "VIRTUAL: " in ecsctl("disk", "show", OLD).stdout
    peer.answers["DescribeStorageUsage"] = FORBIDDEN
    assert OLD in ecsctl("disk", "ls", "-o", "wide").stdout
    peer.calls.clear()
    assert "StorageUsage" not in ecsctl("disk", "ls", "-o", "json").stdout
    assert "DescribeStorageUsage" not in peer.actions()


# ------------------------------------------------------------------------------ monitoring


def point(minute: int, reads: int, writes: int = 0) -> dict[str, Any]:
    moment = NOW + dt.timedelta(minutes=minute)
    return {
        "DiskId": OLD,
        "TimeStamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "IOPSRead": reads,
        "IOPSWrite": writes,
        "BPSRead": 1000 * reads,
        "BPSWrite": 4096 * writes,
        "LatencyRead": 5,
        "LatencyWrite": 7,
    }


@pytest.fixture
def busy(peer: Peer) -> Peer:
    points = [point(n, n, 2 * n) for n in range(3)]
    peer.answers["DescribeDiskMonitorData"] = {"MonitorData": {"DiskMonitorData": points}, "TotalCount": len(points)}
    return peer


def test_monitor_as_a_table_and_json(busy: Peer, ecsctl) -> None:
    text = ecsctl("disk", "monitor", OLD).stdout
    assert text.splitlines()[0].split("  ")[0] == "TIME"
    assert "2026-11-23T12:02:00Z" in text
    given = busy.parameters("DescribeDiskMonitorData")
    assert (given["DiskId"], given["Period"]) == (OLD, "60")
    assert json.loads(ecsctl("disk", "monitor", OLD, "--last", "7d", "-o", "json").stdout)[2]["BPSWrite"] == 16384
    assert busy.parameters("DescribeDiskMonitorData")["Period"] == "3600"
    assert ecsctl("disk", "monitor", OLD, "--query", "[].IOPSRead").stdout == "0\n1\n2\n"


def test_monitor_of_a_range_of_ones_own(busy: Peer, ecsctl) -> None:
    ecsctl("disk", "monitor", OLD, "--from", "2026-11-01T00:00Z", "--to", "2026-11-22T00:00+00:00")
    calls = [given for action, given in busy.calls if action == "DescribeDiskMonitorData"]
    assert [given["Period"] for given in calls] == ["3600", "3600"]
    assert calls[0]["StartTime"] == "2026-11-01T00:00:00Z"
    assert calls[0]["EndTime"] == calls[1]["StartTime"]
    assert calls[1]["EndTime"] == "2026-11-22T00:00:00Z"


def test_monitor_refuses(busy: Peer, ecsctl) -> None:
    for wrong in (
        ("--last", "1h", "--from", "2026-11-01"),
        ("--to", "2026-11-01"),
        ("--from", "2026-11-02", "--to", "2026-11-01"),
        ("--from", "yesterday"),
        ("--last", "2h"),
    ):
        ecsctl("disk", "monitor", OLD, *wrong, status=2)
    assert "DescribeDiskMonitorData" not in busy.actions()


def test_monitor_as_a_plot(busy: Peer, ecsctl) -> None:
    limits = ("--from", "2026-11-23T12:00Z", "--to", "2026-11-23T12:05Z", "--plot")
    environment = {"TZ": "UTC", "PYTHONIOENCODING": "utf-8"}
    busy.answers["DescribeDiskMonitorData"] = {"MonitorData": {"DiskMonitorData": [point(1, 3), point(2, 8)]}}
    lines = ecsctl("disk", "monitor", OLD, *limits, env=environment).stdout.splitlines()
    assert lines[0] == "read requests: mean 5.5 /s, highest 8 /s"
    assert lines[5] == "write requests: mean 0 /s, highest 0 /s"
    assert lines[1] == "     10 /s |  ▂  "
    assert lines[-1].split() == ["12:00", "12:05"]
    ascii_only = ecsctl("disk", "monitor", OLD, *limits, env=environment | {"PYTHONIOENCODING": "ascii"}).stdout
    assert ascii_only.isascii()


def test_a_plot_of_nothing() -> None:
    lines = drawing([], NOW - dt.timedelta(hours=1), NOW, 60, 80)
    assert lines[0] == "read requests: no samples in this time"


@pytest.mark.parametrize(
    ("begin_hours", "end_hours", "expected"),
    [
        (1, 0, 60),
        (6, 0, 60),
        (7, 0, 600),
        (24, 0, 600),
        (24, 20, 60),
        (26, 25, 600),
        (72, 0, 3600),
        (24 * 32, 24 * 31, 3600),
    ],
)
def test_the_finest_period_that_is_kept(begin_hours: int, end_hours: int, expected: int) -> None:
    since, until = (NOW - dt.timedelta(hours=hours) for hours in (begin_hours, end_hours))
    assert choose_period(since, until, NOW) == expected
