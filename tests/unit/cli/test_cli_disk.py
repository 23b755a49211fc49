"""`ecsctl disk`: what it sends, waits for and says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, error

DATA, SYSTEM = "d-aaaaaaaaaaaaaaaaaaaa", "d-bbbbbbbbbbbbbbbbbbbb"
SNAPSHOT = "s-aaaaaaaaaaaaaaaaaaaa"


def disk(disk_id: str = DATA, name: str = "data", **more: Any) -> dict[str, Any]:
    return {
        "DiskId": disk_id,
        "DiskName": name,
        "Type": "data",
        "Category": "cloud_efficiency",
        "Size": 40,
        "Status": "Available",
        "InstanceId": "",
        "Device": "",
        "SerialNumber": disk_id.removeprefix("d-"),
        "IOPS": 2120,
        "ZoneId": "local-a",
        "DeleteWithInstance": False,
        "DeleteAutoSnapshot": True,
        "CreationTime": "2026-11-23T07:35:12Z",
    } | more


ATTACHED = {"Status": "In_use", "InstanceId": recorded.WEB, "Device": "/dev/xvdb"}


class Disks:
    """DescribeDisks: what there is now; each answer to a call by id moves a disk on through `then`."""

    def __init__(self, *found: dict[str, Any]) -> None:
        self.found = {one["DiskId"]: one for one in found}
        self.then: list[dict[str, Any]] = []

    def __call__(self, parameters: dict[str, str]) -> Any:
        rows = list(self.found.values())
        if "DiskIds" in parameters:
            rows = [one for one in rows if one["DiskId"] in json.loads(parameters["DiskIds"])]
            if rows and self.then:
                rows[0].update(self.then.pop(0))
        if "DiskName" in parameters:
            rows = [one for one in rows if one["DiskName"] == parameters["DiskName"]]
        return {"Disks": {"Disk": rows}, "TotalCount": len(rows), "PageNumber": 1, "PageSize": 50}


@pytest.fixture
def disks(peer: Peer) -> Disks:
    described = Disks(disk(), disk(SYSTEM, "root", Type="system", **{**ATTACHED, "Device": "/dev/xvda"}))
    snapshot = {"SnapshotId": SNAPSHOT, "SnapshotName": "monday"}
    peer.answers |= {
        "DescribeDisks": described,
        "DescribeInstances": recorded.instances(recorded.instance(recorded.WEB, "web")),
        "DescribeSnapshots": {"Snapshots": {"Snapshot": [snapshot]}, "TotalCount": 1},
        "DescribeZones": {"Zones": {"Zone": [{"ZoneId": "local-a"}]}},
        "DescribeJobs": recorded.jobs(),
        "CreateDisk": {"DiskId": DATA, "OrderId": ""},
    }
    for action in ("AttachDisk", "DetachDisk", "ModifyDiskAttribute", "ResizeDisk", "DeleteDisk", "ReInitDisk"):
        peer.answers[action] = {}
    peer.answers["ResetDisk"] = {}
    return described


def sent(peer: Peer, action: str) -> dict[str, str]:
    given = dict(peer.parameters(action))
    given.pop("RegionId", None)
    return given


def test_lists(disks: Disks, ecsctl: Any) -> None:
    wide = ecsctl("disk", "ls", "-o", "wide").stdout
    assert "IOPS" in wide
    assert "2120" in wide
    assert ecsctl("disk", "ls", "-o", "name").stdout.split() == ["data", "root"]
    assert "unlimited" in ecsctl("disk", "show", DATA, "-o", "wide").stdout or "2120" in wide
    ecsctl("disk", "show", "d-cccccccccccccccccccc", status=3)


def test_filters(disks: Disks, peer: Peer, ecsctl: Any) -> None:
    ecsctl("disk", "ls", "--instance", "web", "--status", "In_use", "--snapshot", "monday", "--tag", "use=db")
    given = sent(peer, "DescribeDisks")
    assert (given["InstanceId"], given["Status"], given["SnapshotId"]) == (recorded.WEB, "In_use", SNAPSHOT)
    assert (given["Tag.1.Key"], given["Tag.1.Value"]) == ("use", "db")


def test_create(disks: Disks, peer: Peer, ecsctl: Any) -> None:
    assert ecsctl("disk", "create", "data", "--size", "40", "--client-token", "x").stdout == f"{DATA}\n"
    assert sent(peer, "CreateDisk") == {
        "DiskName": "data",
        "Size": "40",
        "DiskCategory": "cloud_efficiency",
        "ZoneId": "local-a",
        "ClientToken": "x",
    }
    ecsctl("disk", "create", "data", "--snapshot", "monday", "--instance", "web", "--category", "cloud_ssd")
    given = sent(peer, "CreateDisk")
    assert (given["SnapshotId"], given["InstanceId"], given["DiskCategory"]) == (SNAPSHOT, recorded.WEB, "cloud_ssd")
    assert "ZoneId" not in given
    assert "give --size" in ecsctl("disk", "create", "data", status=2).stderr


def test_create_several(disks: Disks, peer: Peer, ecsctl: Any) -> None:
    peer.answers["CreateDisks"] = {"DiskIds": {"DiskId": [DATA, SYSTEM]}}
    done = ecsctl("disk", "create", "data", "--size", "40", "--count", "2")
    assert (done.stdout.split(), sent(peer, "CreateDisks")["Amount"]) == ([DATA, SYSTEM], "2")
    assert peer.versions["CreateDisks"] == "2026-11-01"


def test_attach_waits_and_says_where_the_guest_finds_it(disks: Disks, peer: Peer, ecsctl: Any) -> None:
    disks.then = [{**ATTACHED, "Status": "Attaching"}, ATTACHED]
    done = ecsctl("disk", "attach", "data", "web", "--device", "/dev/xvdb", "--delete-with-instance")
    assert done.stdout == f"/dev/disk/by-id/virtio-{DATA.removeprefix('d-')}\n"
    assert "data is /dev/xvdb of web" in done.stderr
    assert sent(peer, "AttachDisk") == {
        "DiskId": DATA,
        "InstanceId": recorded.WEB,
        "Device": "/dev/xvdb",
        "DeleteWithInstance": "true",
    }


def test_what_could_not_be_attached_is_said(disks: Disks, peer: Peer, ecsctl: Any) -> None:
    peer.answers["DescribeJobs"] = recorded.jobs(recorded.job("Failed", ResourceId=DATA, Message="no slot is free"))
    assert (
        "attach of d-aaaaaaaaaaaaaaaaaaaa failed: no slot is free"
        in ecsctl("disk", "attach", "data", "web", status=1).stderr
    )
    # Without the right to see jobs the disk's state says enough.
    peer.answers["DescribeJobs"] = error(403, "Forbidden.RAM", "User not authorized")
    assert "it is Available" in ecsctl("disk", "attach", "data", "web", status=1).stderr


def test_detach(disks: Disks, peer: Peer, ecsctl: Any) -> None:
    assert "is attached to no instance" in ecsctl("disk", "detach", "data", status=1).stderr
    disks.found[DATA].update(ATTACHED)
    disks.then = [{}, {"Status": "Detaching"}, {"Status": "Available", "InstanceId": "", "Device": ""}]
    ecsctl("disk", "detach", "data")
    assert sent(peer, "DetachDisk") == {"DiskId": DATA, "InstanceId": recorded.WEB}
    disks.found[DATA].update(ATTACHED)
    message = "the disk stays attached: the guest has it mounted at /srv"
    peer.answers["DescribeJobs"] = recorded.jobs(recorded.job("Failed", ResourceId=DATA, Message=message))
    assert message in ecsctl("disk", "detach", "data", status=1).stderr


def test_set(disks: Disks, peer: Peer, ecsctl: Any) -> None:
    ecsctl("disk", "set", "data", "root", "--keep", "--keep-auto-snapshots", "--description", "")
    assert sent(peer, "ModifyDiskAttribute") == {
        "DiskIds.1": DATA,
        "DiskIds.2": SYSTEM,
        "Description": "",
        "DeleteWithInstance": "false",
        "DeleteAutoSnapshot": "false",
    }
    assert "nothing to change" in ecsctl("disk", "set", "data", status=2).stderr


def test_grow_says_what_is_left_to_do(disks: Disks, peer: Peer, ecsctl: Any) -> None:
    disks.then = [{"Size": 80}]
    done = ecsctl("disk", "grow", "data", "80")
    assert sent(peer, "ResizeDisk") == {"DiskId": DATA, "NewSize": "80", "Type": "online"}
    assert "80 GiB now. In the guest: resize2fs /dev/disk/by-id/virtio-" in done.stderr
    assert "growpart /dev/vda 1" in ecsctl("disk", "grow", "root", "80").stderr


def test_delete(disks: Disks, peer: Peer, ecsctl: Any) -> None:
    ecsctl("disk", "delete", "--yes", "data", "root")
    assert [given["DiskId"] for action, given in peer.calls if action == "DeleteDisk"] == [DATA, SYSTEM]


def test_reinit_of_a_system_disk_forgets_its_host_keys(disks: Disks, peer: Peer, setting: Any, ecsctl: Any) -> None:
    kept = setting.home / ".ecsctl"
    kept.mkdir()
    (kept / "known_hosts").write_text(f"{recorded.WEB} ssh-ed25519 OLD\nother ssh-ed25519 KEPT\n")
    ecsctl("disk", "reinit", "--yes", "root", "--password-stdin", "--no-wait", stdin="Passw0rd!x\n")
    assert sent(peer, "ReInitDisk") == {"DiskId": SYSTEM, "Password": "Passw0rd!x"}
    assert (kept / "known_hosts").read_text() == "other ssh-ed25519 KEPT\n"
    disks.found[DATA].update(ATTACHED)
    ecsctl("disk", "reinit", "--yes", "data", "--start")
    assert sent(peer, "ReInitDisk") == {"DiskId": DATA, "AutoStartInstance": "true"}


def test_a_running_instance_is_to_be_stopped_first(disks: Disks, peer: Peer, ecsctl: Any) -> None:
    peer.answers["ReInitDisk"] = error(403, "IncorrectInstanceStatus", "it must be Stopped.")
    said = ecsctl("disk", "reinit", "--yes", "root", "--key-pair", "main", status=1).stderr
    assert f"stop it first (`ecsctl instance stop {recorded.WEB}`)" in said


def test_rollback(disks: Disks, peer: Peer, ecsctl: Any) -> None:
    disks.then = [{}, {"Status": "ReIniting"}, {"Status": "Available"}]
    ecsctl("disk", "rollback", "--yes", "data", "monday")
    assert sent(peer, "ResetDisk") == {"DiskId": DATA, "SnapshotId": SNAPSHOT}
    assert peer.parameters("DescribeSnapshots")["DiskId"] == DATA
    assert disks.then == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("40", {"Size": "40", "Category": "cloud_efficiency"}),
        ("40,category=cloud_ssd,name=log", {"Size": "40", "Category": "cloud_ssd", "DiskName": "log"}),
        (
            "snapshot=monday,delete-with-instance=no",
            {"SnapshotId": SNAPSHOT, "Category": "cloud_efficiency", "DeleteWithInstance": "false"},
        ),
    ],
)
def test_data_disks_of_a_new_instance(
    disks: Disks, peer: Peer, ecsctl: Any, text: str, expected: dict[str, str]
) -> None:
    peer.answers |= {
        "DescribeImages": {"Images": {"Image": []}, "TotalCount": 0},
        "RunInstances": {"InstanceIdSets": {"InstanceIdSet": [recorded.WEB]}},
        "DescribeKeyPairs": {"KeyPairs": {"KeyPair": []}, "TotalCount": 0},
        "DescribeVSwitches": {"VSwitches": {"VSwitch": [recorded.vswitch()]}, "TotalCount": 1},
        "DescribeSecurityGroups": {"SecurityGroups": {"SecurityGroup": []}, "TotalCount": 0},
        "DescribeVpcs": {"Vpcs": {"Vpc": []}, "TotalCount": 0},
    }
    ecsctl("instance", "create", "web", "--no-wait", "--data-disk", text, "--security-group", recorded.GROUP_ID)
    given = sent(peer, "RunInstances")
    assert {key.removeprefix("DataDisk.1."): v for key, v in given.items() if key.startswith("DataDisk")} == expected


@pytest.mark.parametrize("text", ["big", "40,colour=red", "40,name", "category=cloud", "40,delete-with-instance=x"])
def test_a_data_disk_that_means_nothing(disks: Disks, ecsctl: Any, text: str) -> None:
    assert f"data disk {text!r}" in ecsctl("instance", "create", "web", "--data-disk", text, status=2).stderr
