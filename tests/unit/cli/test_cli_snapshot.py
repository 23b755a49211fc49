"""`ecsctl snapshot` and `ecsctl snapshot-policy`: what they send, wait for and print."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest

from ecsctl.commands import snapshot_policy_input as given_as
from ecsctl.errors import UsageFault
from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, error, listing

DISK, DATA = "d-" + "a" * 20, "d-" + "b" * 20
FIRST, SECOND = "s-" + "a" * 20, "s-" + "b" * 20
POLICY = "sp-" + "a" * 20


def snapshot(snapshot_id: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "SnapshotId": snapshot_id,
        "SnapshotName": name,
        "SourceDiskId": DISK,
        "SourceDiskType": "system",
        "SourceDiskSize": "40",
        "SnapshotType": "user",
        "Status": "accomplished",
        "Progress": "100%",
        "Message": "",
        "Usage": "none",
        "CreationTime": "2026-11-23T07:35:12Z",
        "ExpirationTime": "",
        "Tags": {"Tag": [{"TagKey": "k", "TagValue": "v"}]},
    } | more


def policy(**more: Any) -> dict[str, Any]:
    return {
        "AutoSnapshotPolicyId": POLICY,
        "AutoSnapshotPolicyName": "nightly",
        "TimePoints": '["1","13"]',
        "RepeatWeekdays": '["1","5"]',
        "RetentionDays": 30,
        "TimeZone": "Asia/Tokyo",
        "DiskNums": 1,
        "Status": "Normal",
        "CreationTime": "2026-11-23T07:35:12Z",
        "NextTimes": {"NextTime": ["2026-11-26T16:00:00Z", "2026-11-27T04:00:00Z"]},
    } | more


@pytest.fixture
def cloud(peer: Peer) -> Peer:
    peer.answers |= {
        "DescribeDisks": listing(
            "Disks.Disk",
            [
                {"DiskId": DISK, "DiskName": "root", "InstanceId": recorded.WEB, "Type": "system"},
                {"DiskId": DATA, "DiskName": "data", "InstanceId": "", "Type": "data"},
            ],
        ),
        "DescribeInstances": recorded.instances(recorded.instance(recorded.WEB, "web")),
        "DescribeSnapshots": listing(
            "Snapshots.Snapshot",
            [
                snapshot(SECOND, "later", SnapshotType="auto", Status="progressing", Progress="40%"),
                snapshot(FIRST, "before"),
            ],
        ),
        "DescribeAutoSnapshotPolicyEx": listing("AutoSnapshotPolicies.AutoSnapshotPolicy", [policy()]),
        "CreateSnapshot": {"SnapshotId": FIRST},
        "CreateAutoSnapshotPolicy": {"AutoSnapshotPolicyId": POLICY},
        "DescribeJobs": recorded.jobs(),
    }
    for action in ("ModifySnapshotAttribute", "DeleteSnapshot", "ModifyAutoSnapshotPolicyEx"):
        peer.answers[action] = {}
    for verb in ("Apply", "Cancel", "Delete"):
        peer.answers[f"{verb}AutoSnapshotPolicy"] = {}
    return peer


def sent(peer: Peer, action: str) -> dict[str, str]:
    given = dict(peer.parameters(action))
    for common in ("RegionId", "ClientToken"):
        given.pop(common, None)
    return given


# ------------------------------------------------------------------------------ snapshots


def test_one_is_taken_and_waited_for(cloud: Peer, ecsctl) -> None:
    states = [snapshot(FIRST, "before", Status="progressing", Progress="0%"), snapshot(FIRST, "before")]
    cloud.answers["DescribeSnapshots"] = [{"Snapshots": {"Snapshot": [one]}} for one in states]
    cloud.answers["DescribeJobs"] = recorded.jobs(recorded.job("Running", Kind="snapshot.take"))
    done = ecsctl(
        *("snapshot", "create", "before", "--disk", "root", "--description", "the upgrade"),
        *("--tag", "k=v", "--client-token", "once"),
    )
    assert done.stdout == FIRST + "\n"
    assert "0% step 3/7" in done.stderr
    assert cloud.parameters("CreateSnapshot")["ClientToken"] == "once"
    assert sent(cloud, "CreateSnapshot") == {
        "DiskId": DISK,
        "SnapshotName": "before",
        "Description": "the upgrade",
        "Tag.1.Key": "k",
        "Tag.1.Value": "v",
    }


def test_or_not_waited_for(cloud: Peer, ecsctl) -> None:
    assert ecsctl("snapshot", "create", "before", "--instance", "web", "--no-wait").stdout == FIRST + "\n"
    assert sent(cloud, "CreateSnapshot")["DiskId"] == DISK
    assert "DescribeSnapshots" not in cloud.actions()


def test_what_went_wrong_is_said(cloud: Peer, ecsctl) -> None:
    failed = snapshot(FIRST, "before", Status="failed", Message="no space left")
    cloud.answers["DescribeSnapshots"] = {"Snapshots": {"Snapshot": [failed]}}
    done = ecsctl("snapshot", "create", "before", "--disk", DISK, status=1)
    assert done.stderr == f"Error: snapshot {FIRST} failed: no space left\n"
    cloud.answers["DescribeSnapshots"] = {"Snapshots": {"Snapshot": []}}
    assert "there is no snapshot" in ecsctl("snapshot", "create", "b", "--disk", DISK, status=3).stderr
    going = snapshot(FIRST, "before", Status="progressing", Progress="0%")
    cloud.answers["DescribeSnapshots"] = {"Snapshots": {"Snapshot": [going]}}
    late = ecsctl("snapshot", "create", "before", "--disk", DISK, "--timeout", "0.3", status=6)
    assert "takes longer than 0.3 s" in late.stderr


@pytest.mark.parametrize("arguments", [[], ["--disk", "root", "--instance", "web"]])
def test_of_one_disk(cloud: Peer, ecsctl, arguments: list[str]) -> None:
    assert "--disk DISK, or --instance NAME" in ecsctl("snapshot", "create", "x1", *arguments, status=2).stderr
    ecsctl("snapshot", "create", "x1", "--disk", "absent", status=3)
    assert "CreateSnapshot" not in cloud.actions()


def test_snapshots_are_listed(cloud: Peer, ecsctl, golden) -> None:
    golden("snapshot-ls", ecsctl("snapshot", "ls").stdout)
    assert ecsctl("snapshot", "ls", "-o", "name").stdout == "later\nbefore\n"
    options = ("--disk", "root", "--instance", "web", "--type", "automatic", "--status", "failed", "--tag", "k")
    ecsctl("snapshot", "ls", *options)
    given = sent(cloud, "DescribeSnapshots")
    assert (given["DiskId"], given["InstanceId"]) == (DISK, recorded.WEB)
    assert (given["SnapshotType"], given["Status"], given["Tag.1.Key"]) == ("auto", "failed", "k")
    assert "Tag.1.Value" not in given


def test_one_is_shown_and_changed(cloud: Peer, ecsctl, golden) -> None:
    cloud.answers["DescribeSnapshots"] = listing("Snapshots.Snapshot", [snapshot(FIRST, "before")])
    golden("snapshot-show", ecsctl("snapshot", "show", "before").stdout)
    assert json.loads(ecsctl("snapshot", "show", FIRST, "-o", "json").stdout)["SnapshotId"] == FIRST
    ecsctl("snapshot", "show", "absent", status=3)
    ecsctl("snapshot", "set", "before", "--name", "after", "--description", "")
    wanted = {"SnapshotId": FIRST, "SnapshotName": "after", "Description": ""}
    assert sent(cloud, "ModifySnapshotAttribute") == wanted
    assert "nothing to change" in ecsctl("snapshot", "set", "before", status=2).stderr


def test_automatic_ones_of_a_day_share_their_name(cloud: Peer, ecsctl) -> None:
    twins = [snapshot(one, "auto2.0_20261123_x") for one in (FIRST, SECOND)]
    cloud.answers["DescribeSnapshots"] = listing("Snapshots.Snapshot", twins)
    said = ecsctl("snapshot", "delete", "--yes", "auto2.0_20261123_x", status=1).stderr
    assert f"names 2 snapshots, use an id: {FIRST} (2026-11-23T07:35:12Z), {SECOND}" in said


def test_snapshots_are_deleted(cloud: Peer, ecsctl) -> None:
    ecsctl("snapshot", "delete", "--yes", "before", "later", FIRST)
    assert cloud.actions().count("DeleteSnapshot") == 2
    ecsctl("snapshot", "delete", "--yes", "before", "--force")
    assert sent(cloud, "DeleteSnapshot") == {"SnapshotId": FIRST, "Force": "true"}
    cloud.answers["DeleteSnapshot"] = error(403, "SnapshotCreatedDisk", "It has been used.")
    assert "that is --force" in ecsctl("snapshot", "delete", "--yes", "before", status=1).stderr


@pytest.mark.parametrize(("noun", "name"), [("snapshot", "before"), ("snapshot-policy", "nightly")])
@pytest.mark.parametrize(("answer", "status"), [(b"n\n", 1), (b"y\n", 0)])
def test_deleting_is_confirmed_on_a_terminal(
    cloud: Peer, setting, noun: str, name: str, answer: bytes, status: int
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "ecsctl", noun, "delete", name]
    process = subprocess.Popen(command, stdin=theirs, stderr=subprocess.PIPE, env=setting.environ)
    os.write(ours, answer)
    said = process.communicate(timeout=60)[1].decode()
    os.close(ours)
    os.close(theirs)
    assert process.returncode == status
    assert f"Delete {name}" in said
    assert any(action.startswith("Delete") for action in cloud.actions()) == (status == 0)


@pytest.mark.parametrize("noun", ["snapshot", "snapshot-policy"])
def test_without_a_terminal_somebody_has_to_say_yes(cloud: Peer, ecsctl, noun: str) -> None:
    name = "before" if noun == "snapshot" else "nightly"
    said = ecsctl(noun, "delete", name, status=2).stderr
    assert f"Delete {name}" in said
    assert "add --yes" in said
    assert not any(action.startswith("Delete") for action in cloud.actions())


# ------------------------------------------------------------------------------ policies


def test_a_policy_is_made(cloud: Peer, ecsctl) -> None:
    made = ecsctl(
        *("snapshot-policy", "create", "nightly", "--hours", "13,1", "--weekdays", "mon-fri", "--keep", "7d"),
        *("--time-zone", "Asia/Tokyo", "--disk", "root", "--disk", DATA, "--tag", "k=v"),
    )
    assert made.stdout == POLICY + "\n"
    assert sent(cloud, "CreateAutoSnapshotPolicy") == {
        "autoSnapshotPolicyName": "nightly",
        "timePoints": '["1", "13"]',
        "repeatWeekdays": '["1", "2", "3", "4", "5"]',
        "retentionDays": "7",
        "TimeZone": "Asia/Tokyo",
        "Tag.1.Key": "k",
        "Tag.1.Value": "v",
    }
    applied = {"autoSnapshotPolicyId": POLICY, "diskIds": json.dumps([DISK, DATA])}
    assert sent(cloud, "ApplyAutoSnapshotPolicy") == applied
    plain = ecsctl("snapshot-policy", "create", "p1", "--hours", "0", "--weekdays", "daily", "-o", "json").stdout
    assert json.loads(plain)["AutoSnapshotPolicyId"] == POLICY
    assert "retentionDays" not in sent(cloud, "CreateAutoSnapshotPolicy")
    assert cloud.actions().count("ApplyAutoSnapshotPolicy") == 1


@pytest.mark.parametrize("missing", ["--hours", "--weekdays"])
def test_what_a_policy_needs(cloud: Peer, ecsctl, missing: str) -> None:
    given = {"--hours": "1", "--weekdays": "daily"}
    options = [part for option, value in given.items() if option != missing for part in (option, value)]
    assert missing in ecsctl("snapshot-policy", "create", "p1", *options, status=2).stderr
    wrong = [part for option in given for part in (option, "9-never")]
    ecsctl("snapshot-policy", "create", "p1", *wrong, status=2)
    assert "CreateAutoSnapshotPolicy" not in cloud.actions()


def test_policies_are_listed_and_shown(cloud: Peer, ecsctl, golden) -> None:
    cloud.answers["DescribeAutoSnapshotPolicyAssociations"] = listing(
        "AutoSnapshotPolicyAssociations.AutoSnapshotPolicyAssociation",
        [
            {"DiskId": DISK, "DiskName": "root", "LastTime": "2026-11-22T16:00:00Z", "LastSkipped": ""},
            {"DiskId": DATA, "DiskName": "data", "LastTime": "2026-11-22T16:00:00Z", "LastSkipped": "it was Attaching"},
            {"DiskId": "d-" + "c" * 20, "DiskName": "", "LastTime": "", "LastSkipped": ""},
        ],
    )
    golden("snapshot-policy-ls", ecsctl("snapshot-policy", "ls").stdout)
    golden("snapshot-policy-show", ecsctl("snapshot-policy", "show", "nightly").stdout)
    whole = json.loads(ecsctl("snapshot-policy", "show", POLICY, "-o", "json").stdout)
    assert len(whole["Disks"]["Disk"]) == 3
    assert ecsctl("snapshot-policy", "show", POLICY, "--query", "length(Disks.Disk)").stdout == "3\n"
    unknown = policy(TimeZone="Asia/Atlantis", RepeatWeekdays=json.dumps([str(n) for n in range(1, 8)]))
    cloud.answers["DescribeAutoSnapshotPolicyEx"] = listing("AutoSnapshotPolicies.AutoSnapshotPolicy", [unknown])
    shown = ecsctl("snapshot-policy", "ls").stdout
    assert "Thu 2026-11-26 16:00 UTC" in shown
    assert "daily" in shown


def test_policies_are_changed_applied_and_deleted(cloud: Peer, ecsctl) -> None:
    ecsctl("snapshot-policy", "set", "nightly", "--keep", "forever", "--time-zone", "")
    wanted = {"autoSnapshotPolicyId": POLICY, "retentionDays": "-1", "TimeZone": ""}
    assert sent(cloud, "ModifyAutoSnapshotPolicyEx") == wanted
    assert "nothing to change" in ecsctl("snapshot-policy", "set", "nightly", status=2).stderr
    ecsctl("snapshot-policy", "apply", "nightly", "root", "data")
    assert sent(cloud, "ApplyAutoSnapshotPolicy")["diskIds"] == json.dumps([DISK, DATA])
    ecsctl("snapshot-policy", "cancel", "data")
    assert sent(cloud, "CancelAutoSnapshotPolicy") == {"diskIds": json.dumps([DATA])}
    ecsctl("snapshot-policy", "delete", "--yes", "nightly")
    assert sent(cloud, "DeleteAutoSnapshotPolicy") == {"autoSnapshotPolicyId": POLICY}
    ecsctl("snapshot-policy", "delete", "--yes", "absent", status=3)


def test_tags_of_both(cloud: Peer, ecsctl) -> None:
    cloud.answers["TagResources"] = {}
    ecsctl("tag", "add", "snapshot/before", "a=1")
    assert sent(cloud, "TagResources")["ResourceType"] == "snapshot"
    ecsctl("tag", "add", POLICY, "a=1")
    assert sent(cloud, "TagResources")["ResourceType"] == "snapshotpolicy"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1,13", [1, 13]), ("0", [0]), ("8-10,8", [8, 9, 10]), ("22-1", [0, 1, 22, 23]), ("0-23", list(range(24)))],
)
def test_hours_as_written(text: str, numbers: list[int]) -> None:
    assert json.loads(given_as.hours_of(text)) == [str(number) for number in numbers]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("mon,thu", [1, 4]),
        ("Monday", [1]),
        ("1,7", [1, 7]),
        ("mon-fri", [1, 2, 3, 4, 5]),
        ("sat-mon", [1, 6, 7]),
        ("daily", [1, 2, 3, 4, 5, 6, 7]),
        ("1-7", [1, 2, 3, 4, 5, 6, 7]),
        ("tu, su", [2, 7]),
    ],
)
def test_weekdays_as_written(text: str, numbers: list[int]) -> None:
    assert json.loads(given_as.weekdays_of(text)) == [str(number) for number in numbers]


@pytest.mark.parametrize(("text", "days"), [("30d", 30), ("1", 1), ("65536d", 65536), ("forever", -1)])
def test_retention_as_written(text: str, days: int) -> None:
    assert given_as.days_of(text) == days


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((given_as.hours_of, text) for text in ("24", "-1", "", "noon", "1,,2", "1.5", "1-")),
        *((given_as.weekdays_of, text) for text in ("0", "8", "", "m", "t", "montag", "mon-")),
        *((given_as.days_of, text) for text in ("0", "-1", "65537", "", "30w", "d")),
    ],
)
def test_what_is_none(read: Any, text: str) -> None:
    with pytest.raises(UsageFault):
        read(text)
