"""`instance create` and the power commands: parameters, defaults, waiting, what a restricted user gets."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import time

import pytest

from tests.support import cli_answers as recorded
from tests.support.cli_peer import FORBIDDEN, Peer, error, listing

IDS = {"InstanceIdSets": {"InstanceIdSet": [recorded.WEB]}}


@pytest.fixture
def cloud(peer: Peer) -> Peer:
    """An agent with a default VSwitch, two groups and a key pair, whose next instance runs after a moment."""
    pending = recorded.instance(recorded.WEB, "web", "Pending")
    running = recorded.instance(recorded.WEB, "web")
    peer.answers |= {
        "DescribeImages": listing("Images.Image", [{"ImageId": "m-" + "x" * 20, "ImageName": "mine"}]),
        "DescribeVSwitches": listing(
            "VSwitches.VSwitch", [recorded.vswitch(), recorded.vswitch("vsw-" + "z" * 20, default=False, name="b")]
        ),
        "DescribeSecurityGroups": listing(
            "SecurityGroups.SecurityGroup",
            [recorded.group(recorded.GROUP_ID, "default"), recorded.group(recorded.OTHER_GROUP_ID, "web")],
        ),
        "DescribeKeyPairs": listing("KeyPairs.KeyPair", [{"KeyPairName": "main"}, {"KeyPairName": "other"}]),
        "RunInstances": IDS,
        "DescribeInstances": [recorded.instances(pending), recorded.instances(pending), recorded.instances(running)],
        "DescribeJobs": [recorded.jobs(recorded.job("Running")), recorded.jobs(recorded.job("Succeeded"))],
    }
    return peer


@pytest.fixture
def held_key(setting) -> None:
    keys = setting.home / ".ecsctl" / "keys"
    keys.mkdir(parents=True)
    (keys / "main.pem").write_text("key")
    (keys / "gone.pem").write_text("key of a pair that was deleted")


def test_defaults(cloud: Peer, ecsctl, held_key) -> None:
    done = ecsctl("instance", "create", "web")
    assert done.stdout == recorded.WEB + "\n"
    assert "create web: step 3/7" in done.stderr
    sent = cloud.parameters("RunInstances")
    assert len(sent.pop("ClientToken")) == 32
    assert sent == {
        "RegionId": "local",
        "InstanceName": "web",
        "ImageId": "debian_12_x64",
        "InstanceType": "ecs.s1.small",
        "VSwitchId": recorded.VSWITCH_ID,
        "SecurityGroupId": recorded.GROUP_ID,
        "KeyPairName": "main",
        "Amount": "1",
    }


def test_every_option(cloud: Peer, ecsctl, setting) -> None:
    script = setting.directory / "script"
    script.write_bytes(b"#!/bin/sh\necho \xff\n")
    ecsctl(
        *("instance", "create", "web", "--image", "mine", "--type", "ecs.s1.medium", "--password-stdin"),
        *("--vswitch", "b", "--security-group", "web", "--security-group", "default", "--zone", "local-a"),
        *("--private-ip", "192.168.0.9", "--host-name", "h", "--description", "two words"),
        *("--system-disk-size", "40", "--system-disk-category", "cloud_ssd", "--user-data", str(script)),
        *("--tag", "a=1", "--tag", "b=x=y", "--amount", "2", "--client-token", "t", "--no-wait"),
        *("--role", "reader", "--metadata-tokens", "required"),
        stdin="Secret-123\nignored",
    )
    sent = cloud.parameters("RunInstances")
    assert base64.b64decode(sent.pop("UserData")) == b"#!/bin/sh\necho \xff\n"
    assert sent == {
        "RegionId": "local",
        "InstanceName": "web",
        "ImageId": "m-" + "x" * 20,
        "InstanceType": "ecs.s1.medium",
        "VSwitchId": "vsw-" + "z" * 20,
        "SecurityGroupIds.1": recorded.OTHER_GROUP_ID,
        "SecurityGroupIds.2": recorded.GROUP_ID,
        "ZoneId": "local-a",
        "PrivateIpAddress": "192.168.0.9",
        "HostName": "h",
        "Description": "two words",
        "SystemDisk.Size": "40",
        "SystemDisk.Category": "cloud_ssd",
        "RamRoleName": "reader",
        "HttpTokens": "required",
        "Tag.1.Key": "a",
        "Tag.1.Value": "1",
        "Tag.2.Key": "b",
        "Tag.2.Value": "x=y",
        "Password": "Secret-123",
        "Amount": "2",
        "ClientToken": "t",
    }


def test_in_the_classic_network_the_agent_chooses_the_rest(cloud: Peer, ecsctl) -> None:
    ecsctl("instance", "create", "web", "--classic", "--key-pair", "main", "--no-wait")
    sent = cloud.parameters("RunInstances")
    assert sent["InstanceNetworkType"] == "classic"
    assert not {"VSwitchId", "SecurityGroupId"} & set(sent)
    done = ecsctl("instance", "create", "web", "--classic", "--vswitch", "b", status=2)
    assert "give --classic alone" in done.stderr


def test_no_start_is_create_instance(cloud: Peer, ecsctl) -> None:
    cloud.answers["CreateInstance"] = {"InstanceId": recorded.WEB}
    cloud.answers["DescribeInstances"] = recorded.instances(recorded.instance(recorded.WEB, "web", "Stopped"))
    ecsctl("instance", "create", "web", "--no-start", "--key-pair", "main")
    assert "Amount" not in cloud.parameters("CreateInstance")
    assert "RunInstances" not in cloud.actions()


def test_with_exactly_the_five_rights_of_a_developer(peer: Peer, ecsctl, held_key) -> None:
    """SPEC R4: only Describe-, Create-, Start-, Stop- and DeleteInstance(s) are allowed."""
    states = ["Pending", "Stopped", "Starting", "Running"]
    peer.answers |= dict.fromkeys(
        ["DescribeRegions", "DescribeImages", "DescribeVSwitches", "DescribeSecurityGroups", "DescribeKeyPairs"],
        FORBIDDEN,
    ) | {
        "RunInstances": FORBIDDEN,
        "DescribeJobs": FORBIDDEN,
        "CreateInstance": {"InstanceId": recorded.WEB},
        "StartInstance": {},
        "DescribeInstances": [recorded.instances(recorded.instance(recorded.WEB, "web", s)) for s in states],
    }
    done = ecsctl("instance", "create", "web", "--key-pair", "main")
    assert done.stdout == recorded.WEB + "\n"
    sent = peer.parameters("CreateInstance")
    assert "VSwitchId" not in sent
    assert "SecurityGroupId" not in sent
    assert sent["ImageId"] == "debian_12_x64"
    actions = peer.actions()
    assert actions.index("CreateInstance") < actions.index("StartInstance")
    assert actions.count("DescribeJobs") == 2  # asked once while creating, once while starting


def test_a_failed_job_tells_why(cloud: Peer, ecsctl) -> None:
    cloud.answers["DescribeJobs"] = recorded.jobs(recorded.job("Failed", Message="no space left in /var/lib/ecs"))
    cloud.answers["DescribeInstances"] = recorded.instances()
    said = ecsctl("instance", "create", "web", "--key-pair", "main", status=1).stderr
    assert "no space left in /var/lib/ecs" in said


def test_an_instance_that_vanishes_without_a_word(cloud: Peer, ecsctl) -> None:
    cloud.answers |= {"DescribeJobs": FORBIDDEN, "DescribeInstances": recorded.instances()}
    assert "gone" in ecsctl("instance", "create", "web", "--key-pair", "main", status=1).stderr


def test_the_wait_ends_in_time(cloud: Peer, ecsctl) -> None:
    cloud.answers["DescribeInstances"] = recorded.instances(recorded.instance(recorded.WEB, "web", "Pending"))
    cloud.answers["DescribeJobs"] = recorded.jobs(recorded.job("Running"))
    assert "0.5 s" in ecsctl("instance", "create", "web", "--key-pair", "main", "--timeout", "0.5", status=6).stderr


def test_ctrl_c_leaves_the_operation_running(cloud: Peer, setting) -> None:
    cloud.answers["DescribeInstances"] = recorded.instances(recorded.instance(recorded.WEB, "web", "Pending"))
    cloud.answers["DescribeJobs"] = recorded.jobs(recorded.job("Running"))
    process = subprocess.Popen(
        [sys.executable, "-m", "ecsctl", "instance", "create", "web", "--key-pair", "main"],
        env=setting.environ,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "create web" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "goes on" in said
    assert "Traceback" not in said


def test_waiting_outlives_a_restart_of_the_agent(cloud: Peer, setting) -> None:
    cloud.answers["DescribeInstances"] = recorded.instances(recorded.instance(recorded.WEB, "web", "Pending"))
    cloud.answers["DescribeJobs"] = recorded.jobs(recorded.job("Running"))
    process = subprocess.Popen(
        [sys.executable, "-m", "ecsctl", "instance", "create", "web", "--key-pair", "main"],
        env=setting.environ,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    process.stderr.readline()
    cloud.stop()
    setting.socket.unlink(missing_ok=True)
    again = Peer(
        {
            "DescribeInstances": recorded.instances(recorded.instance(recorded.WEB, "web")),
            "DescribeJobs": recorded.jobs(recorded.job("Succeeded")),
        }
    ).start(setting.socket)
    try:
        printed, said = process.communicate(timeout=30)
    finally:
        again.stop()
    assert (process.returncode, printed) == (0, recorded.WEB + "\n"), said


def test_a_forbidden_password_in_two_ways_and_an_empty_one(cloud: Peer, ecsctl) -> None:
    ecsctl("instance", "create", "web", "--password-stdin", "--password-file", "x", status=2)
    assert "empty" in ecsctl("instance", "create", "web", "--password-stdin", status=2).stderr
    assert "/no/such" in ecsctl("instance", "create", "web", "--password-file", "/no/such", status=1).stderr
    assert "RunInstances" not in cloud.actions()


def test_user_data_has_a_limit(cloud: Peer, ecsctl) -> None:
    said = ecsctl("instance", "create", "web", "--user-data", "-", status=2, stdin="x" * 16385).stderr
    assert "16384" in said


def test_without_a_way_to_log_in_there_is_a_warning(cloud: Peer, ecsctl) -> None:
    assert "nobody can log in" in ecsctl("instance", "create", "web").stderr
    assert "KeyPairName" not in cloud.parameters("RunInstances")


def test_several_vswitches_and_no_default_one(cloud: Peer, ecsctl) -> None:
    cloud.answers["DescribeVSwitches"] = listing(
        "VSwitches.VSwitch",
        [recorded.vswitch("vsw-" + c * 20, default=False, name=c) for c in "xy"],
    )
    said = ecsctl("instance", "create", "web", "--key-pair", "main", status=2).stderr
    assert "vsw-" + "x" * 20 in said
    assert "--vswitch" in said


def test_dry_run(cloud: Peer, ecsctl) -> None:
    cloud.answers["RunInstances"] = error(400, "DryRunOperation", "Request validation has been passed.")
    assert "would work" in ecsctl("instance", "create", "web", "--key-pair", "main", "--dry-run").stderr
    assert cloud.parameters("RunInstances")["DryRun"] == "true"
    cloud.answers["RunInstances"] = error(403, "OperationDenied.NoStock", "no room")
    ecsctl("instance", "create", "web", "--key-pair", "main", "--dry-run", status=1)
    cloud.answers["RunInstances"] = FORBIDDEN
    cloud.answers["CreateInstance"] = error(400, "DryRunOperation", "Request validation has been passed.")
    assert "would work" in ecsctl("instance", "create", "web", "--key-pair", "main", "--dry-run").stderr
    cloud.answers["CreateInstance"] = FORBIDDEN
    ecsctl("instance", "create", "web", "--key-pair", "main", "--dry-run", status=4)


def test_one_and_many(peer: Peer, ecsctl) -> None:
    two = [recorded.instance(recorded.WEB, "web", "Stopped"), recorded.instance(recorded.DATABASE, "db", "Stopped")]
    peer.answers |= {
        "DescribeInstances": listing("Instances.Instance", two),
        "DescribeJobs": recorded.jobs(recorded.job("Succeeded")),
        "StopInstances": {"InstanceResponses": {"InstanceResponse": []}},
        "StopInstance": {},
        "StartInstance": {},
    }
    ecsctl("instance", "stop", "web", "db", "web")
    assert peer.parameters("StopInstances") == {
        "RegionId": "local",
        "InstanceId.1": recorded.WEB,
        "InstanceId.2": recorded.DATABASE,
    }
    ecsctl("instance", "stop", "--force", "db")
    assert peer.parameters("StopInstance") == {"InstanceId": recorded.DATABASE, "ForceStop": "true"}


def test_a_job_that_succeeds_without_effect_is_told(peer: Peer, ecsctl, monkeypatch) -> None:
    peer.answers |= {
        "DescribeInstances": recorded.instances(recorded.instance(recorded.WEB, "web", "Stopped")),
        "DescribeJobs": recorded.jobs(recorded.job("Succeeded")),
        "StartInstance": {},
    }
    began = time.monotonic()
    assert "is Stopped" in ecsctl("instance", "start", recorded.WEB, status=1).stderr
    assert time.monotonic() - began < 30


def test_release(peer: Peer, ecsctl) -> None:
    peer.answers |= {
        "DescribeInstances": recorded.instances(),
        "DescribeJobs": recorded.jobs(recorded.job("Running")),
        "DeleteInstance": {},
    }
    assert ecsctl("instance", "release", recorded.WEB, "--force", "--yes").stdout == ""
    assert peer.parameters("DeleteInstance") == {"InstanceId": recorded.WEB, "Force": "true"}
    peer.answers["DeleteInstance"] = error(403, "IncorrectInstanceStatus", "it must be Stopped")
    assert "--force" in ecsctl("instance", "release", recorded.WEB, "--yes", status=1).stderr


def test_reboot_waits_for_the_job(peer: Peer, ecsctl) -> None:
    peer.answers |= {
        "DescribeInstances": recorded.instances(recorded.instance(recorded.WEB, "web")),
        "DescribeJobs": [recorded.jobs(recorded.job("Running"))] * 3 + [recorded.jobs(recorded.job("Succeeded"))],
        "RebootInstance": {},
    }
    ecsctl("instance", "reboot", recorded.WEB)
    assert peer.actions().count("DescribeJobs") == 4


def test_image_build(peer: Peer, ecsctl) -> None:
    running = recorded.job("Running", Step="mmdebstrap", Message="412 packages")
    peer.answers |= {
        "BuildImage": {"ImageId": "debian_12_x64", "JobId": "j-7"},
        "DescribeJobs": [recorded.jobs(running), recorded.jobs(recorded.job("Succeeded"))],
        "DescribeCatalogue": {"Recipes": {"Recipe": [{"ImageId": "debian_12_x64", "Available": False}]}},
    }
    assert "mmdebstrap" in ecsctl("image", "build", "debian_12_x64").stderr
    assert peer.parameters("DescribeJobs") == {"JobId.1": "j-7"}
    peer.answers["BuildImage"] = {"ImageId": "debian_12_x64", "JobId": ""}
    assert "already" in ecsctl("image", "build", "debian_12_x64").stderr
    assert json.loads(ecsctl("image", "ls", "--catalogue", "-o", "json").stdout)[0]["Available"] is False
