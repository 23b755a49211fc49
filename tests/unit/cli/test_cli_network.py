"""`ecsctl route`, `instance address`, `instance set-network`, `vpc set` and `vswitch set`: what they send and print."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from ecsctl.main import cli
from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, listing

TABLE, ENTRY, INTERFACE = "vtb-" + "a" * 20, "rte-" + "a" * 20, "eni-" + "a" * 20


@pytest.fixture
def net(peer: Peer) -> Peer:
    system = {"DestinationCidrBlock": "172.16.0.0/20", "Type": "System", "NextHopType": "local", "InstanceId": ""}
    custom = {"DestinationCidrBlock": "10.9.0.0/16", "Type": "Custom", "NextHopType": "Host", "InstanceId": ""}
    by_web = {**custom, "DestinationCidrBlock": "10.8.0.0/16", "NextHopType": "Instance", "InstanceId": recorded.WEB}
    addresses = [
        {"PrivateIpAddress": "172.16.0.1", "Primary": True, "AssociatedPublicIp": {"PublicIpAddress": "100.125.0.1"}},
        {"PrivateIpAddress": "172.16.0.9", "Primary": False, "AssociatedPublicIp": {}},
    ]
    interface = {
        "NetworkInterfaceId": INTERFACE,
        "VSwitchId": recorded.VSWITCH_ID,
        "PrivateIpSets": {"PrivateIpSet": addresses},
    }
    peer.answers |= {
        "DescribeInstances": listing("Instances.Instance", [recorded.instance(recorded.WEB, "web")]),
        "DescribeVpcs": listing("Vpcs.Vpc", [{"VpcId": recorded.VPC_ID, "VpcName": "main", "IsDefault": True}]),
        "DescribeVSwitches": listing("VSwitches.VSwitch", [recorded.vswitch() | {"VpcId": recorded.VPC_ID}]),
        "DescribeSecurityGroups": listing(
            "SecurityGroups.SecurityGroup", [recorded.group(recorded.GROUP_ID, "web-group")]
        ),
        "DescribeRouteTables": listing(
            "RouteTables.RouteTable",
            [{"RouteTableId": TABLE, "RouteEntrys": {"RouteEntry": [system, custom, by_web]}}],
        ),
        "DescribeNetworkInterfaces": listing("NetworkInterfaceSets.NetworkInterfaceSet", [interface]),
        "CreateRouteEntry": {"RouteEntryId": ENTRY},
        "AssignPrivateIpAddresses": {
            "AssignedPrivateIpAddressesSet": {"PrivateIpSet": {"PrivateIpAddress": ["172.16.0.9", "172.16.0.10"]}}
        },
    }
    changes = "DeleteRouteEntry", "UnassignPrivateIpAddresses", "ModifyInstanceVpcAttribute"
    peer.answers |= {action: {} for action in (*changes, "ModifyVpcAttribute", "ModifyVSwitchAttribute")}
    return peer


@pytest.fixture
def run(net: Peer, setting) -> Callable[..., Result]:
    """A command in this process, which is quicker than one of its own."""
    runner = CliRunner(env=setting.environ)

    def invoke(*arguments: str, status: int = 0) -> Result:
        result = runner.invoke(cli, arguments, prog_name="ecsctl")
        assert result.exit_code == status, result.output
        return result

    return invoke


def sent(peer: Peer, action: str) -> dict[str, str]:
    return {name: value for name, value in peer.parameters(action).items() if name not in ("RegionId", "ClientToken")}


def test_routes(net: Peer, run) -> None:
    assert run("route", "create", "10.9.0.0/16", "--via", "host", "--name", "home").stdout == ENTRY + "\n"
    assert sent(net, "CreateRouteEntry") == {
        "RouteTableId": TABLE,
        "DestinationCidrBlock": "10.9.0.0/16",
        "NextHopType": "Host",
        "RouteEntryName": "home",
    }
    run("route", "create", "10.8.0.0/16", "--via", "web", "--vpc", "main")
    assert sent(net, "CreateRouteEntry")["NextHopId"] == recorded.WEB
    rows = [line.split() for line in run("route", "ls").stdout.splitlines()]
    assert rows[1][:3] == ["172.16.0.0/20", "local", "System"]
    assert [row[:2] for row in rows[2:]] == [["10.9.0.0/16", "Host"], ["10.8.0.0/16", recorded.WEB]]
    run("route", "delete", "10.9.0.0/16")
    assert sent(net, "DeleteRouteEntry") == {"RouteTableId": TABLE, "DestinationCidrBlock": "10.9.0.0/16"}
    run("route", "delete", ENTRY)
    assert sent(net, "DeleteRouteEntry") == {"RouteEntryId": ENTRY}
    two = [{"VpcId": "vpc-" + letter * 20, "VpcName": letter} for letter in "ab"]
    net.answers["DescribeVpcs"] = listing("Vpcs.Vpc", two)
    assert "--vpc" in run("route", "ls", status=2).stderr


def test_addresses(net: Peer, run) -> None:
    assert run("instance", "address", "add", "web", "--count", "2").stdout == "172.16.0.9\n172.16.0.10\n"
    assert sent(net, "AssignPrivateIpAddresses") == {
        "NetworkInterfaceId": INTERFACE,
        "SecondaryPrivateIpAddressCount": "2",
    }
    run("instance", "address", "add", "web", "172.16.0.9", "172.16.0.10")
    assert sent(net, "AssignPrivateIpAddresses") == {
        "NetworkInterfaceId": INTERFACE,
        "PrivateIpAddress.1": "172.16.0.9",
        "PrivateIpAddress.2": "172.16.0.10",
    }
    run("instance", "address", "add", "web", "172.16.0.9", "--count", "1", status=2)
    run("instance", "address", "rm", "web", "172.16.0.9")
    assert sent(net, "UnassignPrivateIpAddresses")["PrivateIpAddress.1"] == "172.16.0.9"
    shown = run("instance", "address", "ls", "web").stdout
    assert shown.splitlines()[1].split() == ["172.16.0.1", "yes", "100.125.0.1"]
    net.answers["DescribeNetworkInterfaces"] = listing("NetworkInterfaceSets.NetworkInterfaceSet", [])
    assert "in a VPC" in run("instance", "address", "ls", "web", status=3).stderr


def test_moving_an_instance(net: Peer, run) -> None:
    run("instance", "set-network", "web", "--ip", "172.16.0.77")
    assert sent(net, "ModifyInstanceVpcAttribute") == {
        "InstanceId": recorded.WEB,
        "VSwitchId": recorded.VSWITCH_ID,
        "PrivateIpAddress": "172.16.0.77",
    }
    run("instance", "set-network", "web", "--vswitch", "default", "--security-group", "web-group")
    assert sent(net, "ModifyInstanceVpcAttribute") == {
        "InstanceId": recorded.WEB,
        "VSwitchId": recorded.VSWITCH_ID,
        "VpcId": recorded.VPC_ID,
        "SecurityGroupId.1": recorded.GROUP_ID,
    }
    run("instance", "set-network", "web", status=2)


def test_changes_of_networks(net: Peer, run) -> None:
    run("vpc", "set", "main", "--name", "lab", "--description", "")
    assert sent(net, "ModifyVpcAttribute") == {"VpcId": recorded.VPC_ID, "VpcName": "lab", "Description": ""}
    run("vswitch", "set", "default", "--no-nat")
    assert sent(net, "ModifyVSwitchAttribute") == {"VSwitchId": recorded.VSWITCH_ID, "Nat": "false"}
    for noun, name in (("vpc", "main"), ("vswitch", "default")):
        run(noun, "set", name, status=2)
