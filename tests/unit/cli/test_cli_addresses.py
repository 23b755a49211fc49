"""`ecsctl eip`, `port-forward` and `instance set-bandwidth`: what they send, wait for and say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer

EIP, FORWARD = "eip-aaaaaaaaaaaaaaaaaaaa", "fwd-aaaaaaaaaaaaaaaaaaaa"
ADDRESS = "192.0.2.7"


def eip(status: str = "Available", **more: Any) -> dict[str, Any]:
    bound = recorded.WEB if status in ("Associating", "InUse") else ""
    row = {"AllocationId": EIP, "Name": "front", "IpAddress": ADDRESS, "Status": status, "InstanceId": bound}
    found = [row | {"Bandwidth": "5", "PrivateIpAddress": "", "AllocationTime": "2026-11-23T07:35:12Z"} | more]
    return {"EipAddresses": {"EipAddress": found}, "TotalCount": 1, "PageNumber": 1, "PageSize": 50}


def forward(port: int, protocol: str = "tcp", address: str = "") -> dict[str, Any]:
    row = {"PortForwardId": FORWARD[:-1] + str(port % 10), "Protocol": protocol, "HostPort": port, "Port": 80}
    return row | {"HostAddress": address, "InstanceId": recorded.WEB, "PrivateIpAddress": "192.168.0.3"}


@pytest.fixture
def answers(peer: Peer) -> dict[str, Any]:
    peer.answers |= {
        "DescribeEipAddresses": eip(),
        "DescribeInstances": recorded.instances(recorded.instance(recorded.WEB, "web")),
        "AllocateEipAddress": {"AllocationId": EIP, "EipAddress": ADDRESS},
        "CreatePortForward": {"PortForwardId": FORWARD},
    }
    for action in ("AssociateEipAddress", "UnassociateEipAddress", "ReleaseEipAddress", "DeletePortForward"):
        peer.answers[action] = {}
    peer.answers["ModifyInstanceNetworkSpec"] = {}
    return peer.answers


def test_an_address_is_got_bound_and_unbound_by_its_name_or_itself(ecsctl, peer: Peer, answers) -> None:
    assert ecsctl("eip", "create", "front", "--bandwidth", "20").stdout == f"{ADDRESS}\n"
    sent = peer.parameters("AllocateEipAddress")
    assert (sent["Name"], sent["Bandwidth"], peer.versions["AllocateEipAddress"]) == ("front", "20", "2016-04-28")
    answers["DescribeEipAddresses"] = [eip(), eip("Associating"), eip("InUse")]
    assert ecsctl("eip", "bind", "front", "web").stdout == f"{ADDRESS}\n"
    sent = peer.parameters("AssociateEipAddress")
    assert (sent["AllocationId"], sent["InstanceId"], sent["InstanceType"]) == (EIP, recorded.WEB, "EcsInstance")
    answers["DescribeEipAddresses"] = [eip("InUse"), eip("InUse"), eip("Unassociating"), eip()]
    assert ecsctl("eip", "unbind", ADDRESS).stdout == ""
    assert peer.parameters("UnassociateEipAddress")["InstanceId"] == recorded.WEB
    failed = ecsctl("eip", "unbind", "front", status=1)
    assert "bound to nothing" in failed.stderr


def test_ports_are_named_as_they_are_listed(ecsctl, peer: Peer, answers) -> None:
    assert ecsctl("port-forward", "create", "web", "8080:80").stdout == f"{FORWARD}\n"
    sent = peer.parameters("CreatePortForward")
    assert (sent["HostPort"], sent["Port"], sent["Protocol"]) == ("8080", "80", "tcp")
    rows = [forward(8081), forward(8082, address="127.0.0.1"), forward(8083, "udp")]
    answers["DescribePortForwards"] = {"PortForwards": {"PortForward": rows}, "TotalCount": 3}
    ecsctl("port-forward", "delete", "8081", "127.0.0.1:8082", "8083/udp")
    deleted = [parameters["PortForwardId"] for action, parameters in peer.calls if action == "DeletePortForward"]
    assert deleted == [row["PortForwardId"] for row in rows]


def test_bandwidth(ecsctl, peer: Peer, answers) -> None:
    told = ecsctl("instance", "set-bandwidth", "web", "10", "--in", "20")
    assert (told.stdout, "--public-ip" in told.stderr) == ("", True)
    sent = peer.parameters("ModifyInstanceNetworkSpec")
    assert (sent["InternetMaxBandwidthOut"], sent["InternetMaxBandwidthIn"]) == ("10", "20")
    assert "AllocatePublicIp" not in sent
