"""The classic network with real guests (SPEC N4): two cards, groups by NIC type, a card plugged in and out."""

from __future__ import annotations

import re
import socket

import paramiko
import pytest

from tests.support.agent import AgentProcess
from tests.support.invariants import lasting_violations
from tests.support.ssh import login, run
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

PASSWORD = "Passw0rd!x"
CLASSIC = {"InstanceNetworkType": "classic", "Password": PASSWORD}
UDHCPC = "udhcpc -n -q -i eth1 -s /etc/udhcpc.script -O staticroutes -O mtu"


def _addresses(agent: AgentProcess, instance_id: str) -> tuple[str, str]:
    """(on the intranet, public or empty), as shown."""
    found = agent.instance(instance_id)
    assert found
    assert found["InstanceNetworkType"] == "classic"
    public = found["PublicIpAddress"]["IpAddress"]
    return found["InnerIpAddress"]["IpAddress"][0], public[0] if public else ""


def _reaches(client: paramiko.SSHClient, address: str) -> bool:
    """Whether SSH answers there."""
    return "SSH-" in run(client, f"nc -w 2 {address} 22 </dev/null 2>/dev/null | head -n 1 || true")


def test_two_cards_from_creation_to_release(agent: AgentProcess) -> None:
    group = agent.call("CreateSecurityGroup", NetworkType="classic")["SecurityGroupId"]
    ours = agent.run_instance(**CLASSIC, InternetMaxBandwidthOut=10)
    other = agent.run_instance(**CLASSIC, SecurityGroupId=group)
    [our_group] = agent.instance(ours)["SecurityGroupIds"]["SecurityGroupId"]  # type: ignore[index]
    inner, public = _addresses(agent, ours)
    their_inner, _ = _addresses(agent, other)
    with login(agent, ours, password=PASSWORD) as client, login(agent, other, password=PASSWORD) as their_client:
        routes = run(client, "ip -4 route")
        assert re.findall(r"default via (\S+) dev (\w+)", routes) == [("100.100.100.253", "eth1")]
        assert f"{inner}/16" in run(client, "ip -4 addr show dev eth0")
        assert f"{public}/32" in run(client, "ip -4 addr show dev eth1")
        assert "default" not in run(their_client, "ip -4 route")
        metadata = "wget -q -O - http://100.100.100.200/latest/meta-data"
        assert run(client, f"{metadata}/network-type").strip() == "classic"
        assert run(client, f"{metadata}/network/interfaces/macs/").count(":") == 2 * 5
        with socket.create_connection((public, 22), 5) as connection:  # from the host, whose end the pair is
            assert connection.recv(4) == b"SSH-"
        # Each side of it is closed to other groups until a rule of its NIC type says otherwise.
        assert not _reaches(client, their_inner)
        rule = {"SecurityGroupId": group, "IpProtocol": "tcp", "PortRange": "22/22"}
        agent.call("AuthorizeSecurityGroup", **rule, NicType="intranet", SourceGroupId=our_group)
        assert _reaches(client, their_inner)
        _try_live(agent, other, rule, client, their_client)
    for instance_id in (ours, other):
        agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
    agent.wait_jobs()
    agent.call("DeleteSecurityGroup", SecurityGroupId=group)
    assert lasting_violations(agent) == []


def _try_live(
    agent: AgentProcess,
    instance_id: str,
    rule: dict[str, str],
    neighbour: paramiko.SSHClient,
    client: paramiko.SSHClient,
) -> None:
    """A public address, and the card that has it, given to a running guest and taken away."""
    agent.call("ModifyInstanceNetworkSpec", InstanceId=instance_id, InternetMaxBandwidthOut=5, AllocatePublicIp="true")
    _, public = _addresses(agent, instance_id)
    assert public
    wait_for("eth1 in the guest", lambda: "eth1" in run(client, "ls /sys/class/net"))
    run(client, f"ip link set eth1 up && {UDHCPC}")
    assert f"{public}/32" in run(client, "ip -4 addr show dev eth1")
    assert "default via 100.100.100.253 dev eth1" in run(client, "ip -4 route")
    assert not _reaches(neighbour, public)
    agent.call("AuthorizeSecurityGroup", **rule, NicType="internet", SourceCidrIp="0.0.0.0/0")
    assert _reaches(neighbour, public)
    assert lasting_violations(agent) == []
    agent.call("ReleasePublicIpAddress", PublicIpAddress=public)
    wait_for("the end of the public address", lambda: not _addresses(agent, instance_id)[1])
    assert "eth1" not in run(client, "ls /sys/class/net")
    assert not _reaches(neighbour, public)
    assert lasting_violations(agent) == []
