"""Commands that change things other than instances: what they send."""

from __future__ import annotations

import stat

import pytest

from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, listing

PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@here"


@pytest.fixture
def net(peer: Peer) -> Peer:
    peer.answers |= {
        "DescribeVpcs": listing("Vpcs.Vpc", [{"VpcId": recorded.VPC_ID, "VpcName": "main"}]),
        "DescribeVSwitches": listing("VSwitches.VSwitch", [recorded.vswitch()]),
        "DescribeSecurityGroups": listing(
            "SecurityGroups.SecurityGroup",
            [recorded.group(recorded.GROUP_ID, "web"), recorded.group(recorded.OTHER_GROUP_ID, "db")],
        ),
        "DescribeZones": {"Zones": {"Zone": [{"ZoneId": "local-a"}]}},
        "DescribeKeyPairs": listing("KeyPairs.KeyPair", [{"KeyPairName": "main"}]),
    }
    verbs = {
        "SecurityGroup": ("Authorize", "Revoke", "Delete"),
        "SecurityGroupEgress": ("Authorize", "Revoke"),
        "SecurityGroupAttribute": ("Modify",),
        "Vpc": ("Delete",),
        "VSwitch": ("Delete",),
        "KeyPairs": ("Delete",),
        "Resources": ("Tag", "Untag"),
    }
    for action in (verb + noun for noun, found in verbs.items() for verb in found):
        peer.answers[action] = {}
    return peer


def sent(peer: Peer, action: str) -> dict[str, str]:
    """The parameters of the last call but for region and token, which every test would repeat."""
    given = dict(peer.parameters(action))
    given.pop("RegionId", None)
    given.pop("ClientToken", None)
    return given


@pytest.mark.parametrize(
    ("service", "port"),
    [
        ("ssh", 22),
        ("telnet", 23),
        ("http", 80),
        ("https", 443),
        ("mssql", 1433),
        ("oracle", 1521),
        ("mysql", 3306),
        ("rdp", 3389),
        ("postgresql", 5432),
        ("redis", 6379),
    ],
)
def test_service_shortcuts(service: str, port: int) -> None:
    from ecsctl.commands.security_group_rule import SERVICES

    assert SERVICES[service] == port


def test_rules(net: Peer, ecsctl) -> None:
    ecsctl("security-group", "rule", "add", "web", "ssh", "--description", "log in")
    rule = {
        "SecurityGroupId": recorded.GROUP_ID,
        "IpProtocol": "tcp",
        "PortRange": "22/22",
        "Policy": "accept",
        "Priority": "1",
        "SourceCidrIp": "0.0.0.0/0",
    }
    assert sent(net, "AuthorizeSecurityGroup") == rule | {"Description": "log in"}
    ecsctl("security-group", "rule", "rm", "web", "ssh")
    whatever = {name: value for name, value in rule.items() if name != "Priority"}
    assert sent(net, "RevokeSecurityGroup") == whatever
    net.answers["DescribeSecurityGroupAttribute"] = {"VpcId": recorded.VPC_ID}
    ecsctl(
        *("security-group", "rule", "add", "web", "--protocol", "udp", "--port", "53-54", "--from", "db"),
        *("--policy", "drop", "--priority", "9"),
    )
    given = sent(net, "AuthorizeSecurityGroup")
    assert (given["SourceGroupId"], given["NicType"]) == (recorded.OTHER_GROUP_ID, "intranet")
    assert (given["PortRange"], given["Policy"], given["Priority"]) == ("53/54", "drop", "9")
    ecsctl("security-group", "rule", "add", "web", "--egress", "--protocol", "icmp", "--to", "10.0.0.0/8")
    given = sent(net, "AuthorizeSecurityGroupEgress")
    assert (given["DestCidrIp"], given["PortRange"]) == ("10.0.0.0/8", "-1/-1")
    there = {"SecurityGroupRuleId": "sgr-" + "a" * 20, "Direction": "egress"}
    net.answers |= {
        "DescribeSecurityGroupAttribute": {"VpcId": recorded.VPC_ID, "Permissions": {"Permission": [there]}},
        "RevokeSecurityGroupEgress": {},
    }
    ecsctl("security-group", "rule", "rm", "web", there["SecurityGroupRuleId"])
    assert sent(net, "RevokeSecurityGroupEgress")["SecurityGroupRuleId.1"] == there["SecurityGroupRuleId"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["gopher"],
        [],
        ["--protocol", "tcp"],
        ["--protocol", "icmp", "--port", "1"],
        ["--protocol", "tcp", "--port", "0"],
        ["--protocol", "tcp", "--port", "9-8"],
        ["--protocol", "tcp", "--port", "70000"],
        ["ssh", "--port", "22"],
        ["ssh", "--to", "10.0.0.1"],
        ["ssh", "--egress", "--from", "10.0.0.1"],
        ["ssh", "--priority", "101"],
        ["ssh", "--owner", "2000000000000000"],
        ["ssh", "--from", "theirs", "--owner", "2000000000000000"],
    ],
)
def test_rules_that_are_none(net: Peer, ecsctl, arguments: list[str]) -> None:
    ecsctl("security-group", "rule", "add", "web", *arguments, status=2)
    assert "AuthorizeSecurityGroup" not in net.actions()


def test_group_with_rules(net: Peer, ecsctl, golden) -> None:
    net.answers["DescribeSecurityGroupAttribute"] = {
        "InnerAccessPolicy": "Accept",
        "Permissions": {
            "Permission": [
                {"Direction": "egress", "IpProtocol": "ALL", "PortRange": "-1/-1", "DestCidrIp": "0.0.0.0/0"},
                {"Direction": "ingress", "IpProtocol": "TCP", "PortRange": "22/22", "SourceCidrIp": "0.0.0.0/0"},
                {"Direction": "ingress", "IpProtocol": "TCP", "PortRange": "80/80", "SourceGroupName": "db"},
            ]
        },
    }
    golden("security-group-show", ecsctl("security-group", "show", "web").stdout)


def test_networks(net: Peer, ecsctl) -> None:
    net.answers |= {
        "CreateVpc": {"VpcId": recorded.VPC_ID},
        "CreateVSwitch": {"VSwitchId": recorded.VSWITCH_ID},
        "CreateSecurityGroup": {"SecurityGroupId": recorded.GROUP_ID},
    }
    assert ecsctl("vpc", "create", "main", "--cidr", "192.168.0.0/16").stdout == recorded.VPC_ID + "\n"
    assert sent(net, "CreateVpc") == {"VpcName": "main", "CidrBlock": "192.168.0.0/16"}
    ecsctl("vswitch", "create", "a", "--vpc", "main", "--cidr", "192.168.1.0/24")
    assert sent(net, "CreateVSwitch") == {
        "VSwitchName": "a",
        "VpcId": recorded.VPC_ID,
        "CidrBlock": "192.168.1.0/24",
        "ZoneId": "local-a",
    }
    ecsctl("security-group", "create", "web", "--tag", "a=b")
    assert sent(net, "CreateSecurityGroup") == {
        "SecurityGroupName": "web",
        "VpcId": recorded.VPC_ID,
        "Tag.1.Key": "a",
        "Tag.1.Value": "b",
    }
    ecsctl("security-group", "modify", "web", "--name", "front")
    assert sent(net, "ModifySecurityGroupAttribute")["SecurityGroupName"] == "front"
    ecsctl("security-group", "modify", "web", status=2)
    ecsctl("security-group", "delete", "db")
    ecsctl("vswitch", "delete", "default")
    ecsctl("vpc", "delete", "main")
    assert sent(net, "DeleteSecurityGroup") == {"SecurityGroupId": recorded.OTHER_GROUP_ID}
    assert sent(net, "DeleteVSwitch") == {"VSwitchId": recorded.VSWITCH_ID}
    assert sent(net, "DeleteVpc") == {"VpcId": recorded.VPC_ID}


def test_key_pairs(net: Peer, ecsctl, setting) -> None:
    net.answers |= {
        "CreateKeyPair": {"KeyPairName": "new", "KeyPairFingerPrint": "aa", "PrivateKeyBody": "-----BEGIN\nx\n-----"},
        "ImportKeyPair": {"KeyPairName": "mine", "KeyPairFingerPrint": "bb"},
    }
    path = ecsctl("key-pair", "create", "new").stdout.strip()
    written = setting.home / ".ecsctl" / "keys" / "new.pem"
    assert path == str(written)
    assert written.read_text() == "-----BEGIN\nx\n-----\n"
    assert stat.S_IMODE(written.stat().st_mode) == 0o400
    assert stat.S_IMODE(written.parent.stat().st_mode) == 0o700
    assert "exists" in ecsctl("key-pair", "create", "new", status=2).stderr
    assert net.actions().count("CreateKeyPair") == 1
    assert "BEGIN" not in ecsctl("key-pair", "create", "n2", "--out", str(setting.directory / "k"), "-o", "json").stdout
    ecsctl("key-pair", "create", "n3", "--out", "/no/such/place", status=2)
    ecsctl("key-pair", "import", "mine", "-", stdin=PUBLIC + "\n")
    assert sent(net, "ImportKeyPair") == {"KeyPairName": "mine", "PublicKeyBody": PUBLIC}
    ecsctl("key-pair", "import", "mine", str(written.parent / "none.pub"), status=1)
    ecsctl("key-pair", "import", "mine", "-", stdin="-----BEGIN PRIVATE KEY-----", status=2)
    ecsctl("key-pair", "delete", "main")
    assert sent(net, "DeleteKeyPairs") == {"KeyPairNames": '["main"]'}
    ecsctl("key-pair", "delete", "absent", status=3)


def test_tags(net: Peer, ecsctl) -> None:
    ecsctl("tag", "add", "security-group/web", "a=1", "b")
    assert sent(net, "TagResources") == {
        "ResourceType": "securitygroup",
        "ResourceId.1": recorded.GROUP_ID,
        "Tag.1.Key": "a",
        "Tag.1.Value": "1",
        "Tag.2.Key": "b",
        "Tag.2.Value": "",
    }
    ecsctl("tag", "rm", recorded.WEB, "a")
    assert sent(net, "UntagResources") == {
        "ResourceType": "instance",
        "ResourceId.1": recorded.WEB,
        "TagKey.1": "a",
    }
    ecsctl("tag", "rm", recorded.WEB, status=2)
    ecsctl("tag", "add", "planet/web", "a=1", status=2)


def test_host_stop_instances(peer: Peer, ecsctl) -> None:
    peer.answers |= {
        "StopHostInstances": {"JobIds": {"JobId": ["j-1", "j-2"]}},
        "DescribeJobs": recorded.jobs(recorded.job("Succeeded")),
    }
    ecsctl("host", "stop-instances", "--grace", "5")
    assert peer.parameters("StopHostInstances") == {"GraceSeconds": "5"}
    assert peer.parameters("DescribeJobs") == {"JobId.1": "j-2"}
