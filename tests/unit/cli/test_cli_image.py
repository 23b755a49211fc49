"""`ecsctl image create`, `set`, `delete`, `share` and `ecsctl account`: what they send, wait for and print."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, error, listing

IMAGE, OTHER = "m-" + "a" * 20, "m-" + "b" * 20
SNAPSHOT, DATA = "s-" + "a" * 20, "s-" + "b" * 20
LENA = "1000000000000002"


def image(image_id: str = IMAGE, name: str = "web", **more: Any) -> dict[str, Any]:
    data = {"Device": "/dev/xvdb", "Type": "data", "Size": "5"}
    return {
        "ImageId": image_id,
        "ImageName": name,
        "ImageOwnerAlias": "self",
        "Status": "Available",
        "Usable": True,
        "Progress": "100%",
        "OSName": "Debian 12",
        "Architecture": "x86_64",
        "Size": 20,
        "DiskDeviceMappings": {"DiskDeviceMapping": [data]},
        "Message": "",
        "CreationTime": "2026-11-23T07:35:12Z",
    } | more


@pytest.fixture
def cloud(peer: Peer) -> Peer:
    account = {"AccountId": LENA, "AccountName": "lena", "IsDefault": False, "Owns": {"Item": ["2 disks"]}}
    snapshots = [{"SnapshotId": SNAPSHOT, "SnapshotName": "root"}, {"SnapshotId": DATA, "SnapshotName": "data"}]
    peer.answers |= {
        "DescribeInstances": recorded.instances(recorded.instance(recorded.WEB, "web")),
        "DescribeSnapshots": listing("Snapshots.Snapshot", snapshots),
        "DescribeImages": listing("Images.Image", [image()]),
        "DescribeJobs": recorded.jobs(),
        "CreateImage": {"ImageId": IMAGE},
        "DescribeAccounts": listing("Accounts.Account", [account]),
        "CreateAccount": {"Account": account, "AccessKey": {"AccessKeyId": "LTAI1", "AccessKeySecret": "hush"}},
        "CreateAccountAccessKey": {"AccessKey": {"AccessKeyId": "LTAI2", "AccessKeySecret": "hush"}},
        "DescribeImageSharePermission": listing("Accounts.Account", [{"AliyunId": LENA, "SharedTime": "now"}]),
    }
    for action in (
        "ModifyImageAttribute",
        "DeleteImage",
        "ModifyImageSharePermission",
        "ModifyAccount",
        "DeleteAccount",
    ):
        peer.answers[action] = {}
    return peer


def test_an_image_of_an_instance_is_waited_for(cloud: Peer, ecsctl) -> None:
    creating = image(Status="Creating", Usable=False, Progress="50%")
    cloud.answers["DescribeImages"] = [listing("Images.Image", [one]) for one in (creating, image())]
    done = ecsctl("image", "create", "web", "--instance", "web", "--family", "f", "--tag", "k=v", "--client-token", "t")
    assert done.stdout.strip() == IMAGE
    assert cloud.parameters("CreateImage") == {
        "RegionId": "local",
        "ImageName": "web",
        "InstanceId": recorded.WEB,
        "ImageFamily": "f",
        "Tag.1.Key": "k",
        "Tag.1.Value": "v",
        "ClientToken": "t",
    }
    failed = image(Status="CreateFailed", Usable=False, Message="the disk is full")
    cloud.answers["DescribeImages"] = listing("Images.Image", [failed])
    assert "the disk is full" in ecsctl("image", "create", "web", "--instance", "web", status=1).stderr


def test_an_image_of_snapshots(cloud: Peer, ecsctl) -> None:
    disks = ("--data-disk", "snapshot=data,device=/dev/xvdc", "--data-disk", "7")
    ecsctl("image", "create", "web", "--snapshot", "root", *disks, "--platform", "Debian", "--no-wait")
    sent = cloud.parameters("CreateImage")
    assert (sent["SnapshotId"], sent["Platform"]) == (SNAPSHOT, "Debian")
    assert {name: value for name, value in sent.items() if name.startswith("Disk")} == {
        "DiskDeviceMapping.1.DiskType": "data",
        "DiskDeviceMapping.1.SnapshotId": DATA,
        "DiskDeviceMapping.1.Device": "/dev/xvdc",
        "DiskDeviceMapping.2.DiskType": "data",
        "DiskDeviceMapping.2.Size": "7",
    }
    for wrong in (
        (),
        ("--snapshot", "root", "--instance", "web"),
        ("--instance", "web", "--data-disk", "5"),
        ("--snapshot", "root", "--data-disk", "colour=red"),
    ):
        ecsctl("image", "create", "web", *wrong, status=2)


def test_an_image_is_changed_and_deleted(cloud: Peer, ecsctl) -> None:
    ecsctl("image", "rename", "web", "shop")
    assert cloud.parameters("ModifyImageAttribute") == {"RegionId": "local", "ImageId": IMAGE, "ImageName": "shop"}
    ecsctl("image", "set", "web", "--description", "", "--deprecated")
    sent = cloud.parameters("ModifyImageAttribute")
    assert (sent["Description"], sent["Status"]) == ("", "Deprecated")
    ecsctl("image", "set", "web", status=2)
    cloud.answers["DeleteImage"] = [error(403, "ImageUsingByInstance", "It is used."), {}]
    ecsctl("image", "delete", "web", status=2)  # nobody to ask
    assert "that is --force" in ecsctl("image", "delete", "web", "--yes", status=1).stderr
    ecsctl("image", "delete", "web", "--yes", "--force")
    assert cloud.parameters("DeleteImage")["Force"] == "true"
    assert "/dev/xvdb 5 GiB" in ecsctl("image", "show", "web", "-o", "wide").stdout


def test_an_image_is_shared(cloud: Peer, ecsctl) -> None:
    ecsctl("image", "share", "web", "lena", "1000000000000003")
    sent = cloud.parameters("ModifyImageSharePermission")
    assert (sent["AddAccount.1"], sent["AddAccount.2"], sent["ImageId"]) == (LENA, "1000000000000003", IMAGE)
    ecsctl("image", "unshare", IMAGE, LENA)
    assert cloud.parameters("ModifyImageSharePermission")["RemoveAccount.1"] == LENA
    assert LENA in ecsctl("image", "shared", "web").stdout


def test_accounts(cloud: Peer, ecsctl, setting) -> None:
    done = ecsctl("account", "create", "lena")
    assert "hush" in done.stdout
    assert "only now" in done.stderr
    done = ecsctl("account", "create", "lena", "--profile-name", "lena")
    assert (done.stdout.strip(), "hush" in done.stdout + done.stderr) == (LENA, False)
    assert "LTAI1" in (setting.home / ".ecsctl/config.toml").read_text()
    ecsctl("account", "new-key", "lena", "--profile-name", "lena")
    assert "LTAI2" in (setting.home / ".ecsctl/config.toml").read_text()
    assert "2 disks" in ecsctl("account", "ls").stdout
    assert LENA in ecsctl("account", "show", "lena").stdout
    ecsctl("account", "rename", "lena", "nora")
    ecsctl("account", "delete", "lena", "--yes")
    assert cloud.parameters("DeleteAccount") == {"AccountId": LENA}
    cloud.answers["DescribeAccounts"] = listing("Accounts.Account", [])
    ecsctl("account", "show", "nobody", status=3)
