"""`instance insert` and `eject`, `image adopt`, `instance adopt`, `host guests`: what they send and say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, error, listing

IMAGE, MAC = "m-aaaaaaaaaaaaaaaaaaaa", "52:54:00:00:00:01"
GUEST = {
    "Name": "old-web",
    "Status": "Stopped",
    "Cpu": 2,
    "Memory": 3000,
    "OSType": "linux",
    "Problem": "",
    "MacAddresses": {"MacAddress": [MAC]},
    "Disks": {"Disk": [{"Device": "vda", "Path": "/guests/web.qcow2", "Format": "qcow2"}]},
}
TYPES = [
    {"InstanceTypeId": name, "CpuCoreCount": cpu, "MemorySize": memory}
    for name, cpu, memory in (("ecs.s1.medium", 1, 4.0), ("ecs.s2.xlarge", 2, 8.0), ("ecs.s2.large", 2, 4.0))
]


@pytest.fixture
def host(peer: Peer) -> Peer:
    """With a guest to adopt, and the stopped instance web."""
    done = recorded.job("Succeeded", JobId="t-1", ResourceId=recorded.WEB)
    peer.answers |= {
        "DescribeForeignGuests": {"Guests": {"Guest": [GUEST]}},
        "AdoptGuest": {"ImageId": IMAGE, "JobId": "t-1"},
        "DescribeJobs": recorded.jobs(done),
        "DescribeInstanceTypes": {"InstanceTypes": {"InstanceType": TYPES}},
        "DescribeInstances": listing("Instances.Instance", [recorded.instance(recorded.WEB, "web", "Stopped")]),
        "DescribeImages": listing("Images.Image", [{"ImageId": IMAGE, "ImageName": "installer"}]),
        "DescribeVSwitches": listing("VSwitches.VSwitch", [recorded.vswitch()]),
        "DescribeSecurityGroups": listing("SecurityGroups.SecurityGroup", [recorded.group(recorded.GROUP_ID, "web")]),
        "CreateInstance": {"InstanceId": recorded.WEB},
        "SetMacAddress": {},
        "DeleteImage": {},
        "InsertIso": {},
        "EjectIso": {},
    }
    return peer


def sent(peer: Peer, action: str) -> dict[str, Any]:
    return {name: value for name, value in peer.parameters(action).items() if name not in ("RegionId", "ClientToken")}


def test_an_iso_goes_in_and_out(host: Peer, ecsctl) -> None:
    ecsctl("instance", "insert", "web", "installer")
    assert sent(host, "InsertIso") == {"InstanceId": recorded.WEB, "ImageId": IMAGE}
    ecsctl("instance", "eject", "web", "--setup", "seed")
    assert sent(host, "EjectIso") == {"InstanceId": recorded.WEB, "Setup": "seed"}
    host.answers["EjectIso"] = error(403, "IncorrectInstanceStatus", "It is Running.")
    assert "`ecsctl instance stop web` first" in ecsctl("instance", "eject", "web", status=1).stderr


def test_guests_of_others_are_listed(host: Peer, ecsctl) -> None:
    shown = ecsctl("host", "guests").stdout
    assert "old-web" in shown
    assert "/guests/web.qcow2" in shown


def test_an_image_of_a_guest(host: Peer, ecsctl) -> None:
    assert ecsctl("image", "adopt", "old-web", "--platform", "Debian").stdout == f"{IMAGE}\n"
    assert sent(host, "AdoptGuest") == {"Guest": "old-web", "Platform": "Debian", "Setup": "none"}
    ecsctl("image", "adopt", "/pve/100.conf", "--name", "web", "--no-virtio", "--no-wait")
    assert sent(host, "AdoptGuest") == {
        "ConfigFile": "/pve/100.conf",
        "ImageName": "web",
        "Setup": "none",
        "Virtio": "false",
    }
    ecsctl("image", "adopt", "/a/0.raw", "/a/1.raw", "--setup", "seed")
    assert sent(host, "AdoptGuest") == {"File.1": "/a/0.raw", "File.2": "/a/1.raw", "Setup": "seed"}
    assert "give one guest" in ecsctl("image", "adopt", "one", "two", status=2).stderr


def test_an_instance_of_a_guest(host: Peer, ecsctl) -> None:
    done = ecsctl("instance", "adopt", "old-web")
    assert done.stdout == f"{recorded.WEB}\n"
    created = sent(host, "CreateInstance")
    assert (created["ImageId"], created["InstanceName"], created["InstanceType"]) == (IMAGE, "old-web", "ecs.s2.large")
    assert sent(host, "SetMacAddress") == {"InstanceId": recorded.WEB, "MacAddress": MAC}
    assert sent(host, "DeleteImage") == {"ImageId": IMAGE, "Force": "true"}


def test_an_instance_that_cannot_be_all_that_the_guest_was(host: Peer, ecsctl) -> None:
    host.answers["SetMacAddress"] = error(403, "InvalidMacAddress.InUse", "Another one has it.")
    assert "a new MAC address" in ecsctl("instance", "adopt", "old-web", "--type", "x").stderr
    assert sent(host, "CreateInstance")["InstanceType"] == "x"
    host.answers["CreateInstance"] = error(403, "QuotaExceed.ElasticQuota", "Too many.")
    failed = ecsctl("instance", "adopt", "old-web", status=1).stderr
    assert f"`ecsctl instance create --image {IMAGE}`" in failed
    host.answers["DescribeForeignGuests"] = {"Guests": {"Guest": [{**GUEST, "Cpu": 64}]}}
    assert "choose one with --type" in ecsctl("instance", "adopt", "old-web", status=2).stderr


def test_an_image_is_copied_to_another_region(host: Peer, ecsctl) -> None:
    host.answers |= {"CopyImage": {"ImageId": "m-bbbbbbbbbbbbbbbbbbbb", "RequestId": "r-1"}, "CancelCopyImage": {}}
    done = recorded.job("Succeeded", JobId="t-1", ResourceId=IMAGE, RequestId="r-1")
    host.answers["DescribeJobs"] = recorded.jobs(done)
    copied = ecsctl("image", "copy", "installer", "--to", "there", "--tag", "a=b")
    assert copied.stdout == "m-bbbbbbbbbbbbbbbbbbbb\n"
    assert sent(host, "CopyImage") == {
        "ImageId": IMAGE,
        "DestinationRegionId": "there",
        "DestinationImageName": "installer",
        "Tag.1.Key": "a",
        "Tag.1.Value": "b",
    }
    assert "task t-1" in ecsctl("image", "copy", "installer", "--to", "there", "--name", "x", "--no-wait").stderr
    ecsctl("image", "cancel-copy", IMAGE)
    assert sent(host, "CancelCopyImage") == {"ImageId": IMAGE}
    host.answers["DescribeJobs"] = recorded.jobs({**done, "Status": "Failed", "Message": "the line is cut"})
    assert "the line is cut" in ecsctl("image", "copy", "installer", "--to", "there", status=1).stderr
