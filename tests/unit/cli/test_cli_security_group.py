"""`ecsctl security-group`: the classic network, members, clones and restoring."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import Any

import pytest

from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, listing

SAID = {"Direction": "ingress", "Policy": "Accept", "IpProtocol": "TCP", "PortRange": "22/22", "NicType": "intranet"}
SSH = SAID | {"SourceCidrIp": "10.0.0.0/8", "Priority": "1", "Description": "log in"}
WEB = SAID | {"PortRange": "80/80", "SourceCidrIp": "0.0.0.0/0", "Priority": "2", "NicType": "internet"}
FOREIGN = SAID | {"SourceGroupId": "sg-x", "SourceGroupOwnerAccount": "2000000000000000", "Priority": "1"}
DIFFERENCE = {
    "Added": {"Permission": [SSH]},
    "Removed": {"Permission": [WEB]},
    "LeftOut": {"Permission": [FOREIGN | {"Reason": "it is elsewhere"}]},
}
CLONED = {"SecurityGroupId": "sg-new", "RegionId": "local", "JobId": "", "LeftOut": DIFFERENCE["LeftOut"]}
TOLD = "left out: ingress accept TCP 22/22 from sg-x of 2000000000000000, priority 1: it is elsewhere\n"
CHANGES = [
    "- ingress (internet) accept TCP 80/80 from 0.0.0.0/0, priority 2",
    "+ ingress accept TCP 22/22 from 10.0.0.0/8, priority 1: log in",
]


@pytest.fixture
def net(peer: Peer) -> Peer:
    groups = [recorded.group(recorded.GROUP_ID, "web"), recorded.group(recorded.OTHER_GROUP_ID, "old") | {"VpcId": ""}]
    peer.answers |= {
        "DescribeVpcs": listing("Vpcs.Vpc", [{"VpcId": recorded.VPC_ID, "VpcName": "main"}]),
        "DescribeSecurityGroups": listing("SecurityGroups.SecurityGroup", groups),
        "DescribeInstances": listing("Instances.Instance", [recorded.instance(recorded.WEB, "web")]),
        "DescribeSecurityGroupAttribute": {"VpcId": "", "Permissions": {"Permission": [SSH, WEB, FOREIGN]}},
        "CreateSecurityGroup": {"SecurityGroupId": recorded.GROUP_ID},
        "CloneSecurityGroup": CLONED,
        "RestoreSecurityGroup": DIFFERENCE,
        "DescribeSecurityGroupRestoration": DIFFERENCE,
        "DescribeJobs": recorded.jobs(recorded.job("Succeeded", JobId="t-1")),
        "AuthorizeSecurityGroup": {},
        "JoinSecurityGroup": {},
        "LeaveSecurityGroup": {},
        "ModifyInstanceAttribute": {},
    }
    return peer


def sent(peer: Peer, action: str) -> dict[str, Any]:
    return {name: value for name, value in peer.parameters(action).items() if name not in ("RegionId", "ClientToken")}


def test_the_classic_network(net: Peer, ecsctl) -> None:
    ecsctl("security-group", "create", "shared", "--classic")
    assert sent(net, "CreateSecurityGroup") == {"SecurityGroupName": "shared", "NetworkType": "classic"}
    ecsctl("security-group", "create", "shared", "--classic", "--vpc", "main", status=2)
    shown = ecsctl("security-group", "ls", "--classic").stdout.splitlines()
    assert sent(net, "DescribeSecurityGroups")["NetworkType"] == "classic"
    assert shown[2].split()[:3] == ["old", recorded.OTHER_GROUP_ID, "classic"]
    ecsctl("security-group", "rule", "add", "old", "ssh", "--nic", "internet")
    assert sent(net, "AuthorizeSecurityGroup")["NicType"] == "internet"
    theirs, owner = "sg-" + "c" * 20, "2000000000000000"
    ecsctl("security-group", "rule", "add", "old", "ssh", "--from", theirs, "--owner", owner)
    given = sent(net, "AuthorizeSecurityGroup")
    assert (given["SourceGroupId"], given["SourceGroupOwnerAccount"], given["NicType"]) == (theirs, owner, "intranet")
    rules = ecsctl("security-group", "rule", "ls", "old").stdout.splitlines()
    assert "NIC TYPE" in rules[0]
    assert "sg-x of 2000000000000000" in rules[2]


def test_rules_and_groups_are_changed(net: Peer, ecsctl) -> None:
    rule_id = "sgr-" + "a" * 20
    for way, name in (("ingress", "ModifySecurityGroupRule"), ("egress", "ModifySecurityGroupEgressRule")):
        rule = SSH | {"SecurityGroupRuleId": rule_id, "Direction": way}
        permissions = {"VpcId": "", "Permissions": {"Permission": [rule]}}
        net.answers |= {"DescribeSecurityGroupAttribute": permissions, name: {}}
        ecsctl("security-group", "rule", "set", "web", rule_id, "--port", "80-81", "--from", "old", "--priority", "4")
        assert sent(net, name) == {
            "SecurityGroupId": recorded.GROUP_ID,
            "SecurityGroupRuleId": rule_id,
            "PortRange": "80/81",
            "Priority": "4",
            "NicType": "intranet",
            f"{'Source' if way == 'ingress' else 'Dest'}GroupId": recorded.OTHER_GROUP_ID,
        }
        asked = sent(net, "DescribeSecurityGroups")
        assert asked["NetworkType"] == "classic", "another network's group of that name is not meant"
    ecsctl("security-group", "rule", "set", "web", rule_id, status=2)
    ecsctl("security-group", "rule", "set", "web", "sgr-none", "--priority", "1", status=3)
    net.answers["ModifySecurityGroupPolicy"] = {}
    ecsctl("security-group", "modify", "web", "--inner-access", "drop")
    assert sent(net, "ModifySecurityGroupPolicy")["InnerAccessPolicy"] == "drop"
    assert "ModifySecurityGroupAttribute" not in net.actions()


def test_members(net: Peer, ecsctl) -> None:
    ecsctl("security-group", "join", "old", "web")
    assert sent(net, "JoinSecurityGroup") == {
        "SecurityGroupId": recorded.OTHER_GROUP_ID,
        "InstanceId": recorded.WEB,
    }
    ecsctl("security-group", "leave", "old", recorded.WEB)
    assert sent(net, "LeaveSecurityGroup") == sent(net, "JoinSecurityGroup")
    ecsctl("instance", "set", "web", "--security-group", "old", "--security-group", "web")
    assert sent(net, "ModifyInstanceAttribute") == {
        "InstanceId": recorded.WEB,
        "SecurityGroupIds.1": recorded.OTHER_GROUP_ID,
        "SecurityGroupIds.2": recorded.GROUP_ID,
    }


def test_clones(net: Peer, ecsctl) -> None:
    done = ecsctl("security-group", "clone", "web", "backup")
    assert (done.stdout, done.stderr) == ("sg-new\n", TOLD)
    assert sent(net, "CloneSecurityGroup") == {"SecurityGroupId": recorded.GROUP_ID, "SecurityGroupName": "backup"}
    net.answers["CloneSecurityGroup"] = CLONED | {"JobId": "t-1", "RegionId": "there"}
    ecsctl("security-group", "clone", "web", "backup", "--to", "there", "--vpc", "vpc-there")
    given = sent(net, "CloneSecurityGroup")
    assert (given["DestinationRegionId"], given["VpcId"]) == ("there", "vpc-there")
    assert "DescribeJobs" in net.actions()
    ecsctl("security-group", "clone", "web", "backup", "--classic", "--vpc", "main", status=2)


def test_restoring_shows_what_it_does(net: Peer, ecsctl) -> None:
    done = ecsctl("security-group", "restore", "web", "--from", "old", "--dry-run")
    assert (done.stdout.splitlines(), done.stderr) == (CHANGES, TOLD)
    assert "RestoreSecurityGroup" not in net.actions()
    ecsctl("security-group", "restore", "web", "--from", "old", "--partial")
    assert sent(net, "RestoreSecurityGroup") == {
        "SecurityGroupId": recorded.GROUP_ID,
        "SourceSecurityGroupId": recorded.OTHER_GROUP_ID,
        "RestoreType": "Partial",
    }
    added = ecsctl(
        "security-group", "restore", "web", "--from", "old", "-o", "json", "--query", "Added.Permission[].PortRange"
    )
    assert "22/22" in added.stdout


def test_colours_are_for_terminals(net: Peer, setting) -> None:
    arguments = ["security-group", "restore", "web", "--from", "old", "--dry-run"]
    for environ, expected in (
        ({"TERM": "xterm"}, [f"\x1b[31m{CHANGES[0]}\x1b[0m", f"\x1b[32m{CHANGES[1]}\x1b[0m"]),
        ({"TERM": "xterm", "NO_COLOR": "1"}, CHANGES),
    ):
        near, far = pty.openpty()
        try:
            subprocess.run(
                [sys.executable, "-m", "ecsctl", *arguments],
                env=setting.environ | environ,
                stdout=far,
                stderr=subprocess.DEVNULL,
                check=True,
                timeout=60,
            )
            assert os.read(near, 4096).decode().splitlines() == expected
        finally:
            os.close(near)
            os.close(far)
