"""Security groups asked for over the API of a real agent, and in force between guests on a veth when it has answered
(SPEC F6, F9, I10). The agent has no libvirt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from metadata_site import Site, running_site
from vpc_lab import Flow, Guest, expect, ping, serving, tcp, tcp_between, udp

from tests.support.agent import HOST

pytestmark = pytest.mark.net

WEB = {"IpProtocol": "tcp", "PortRange": "80/80", "SourceCidrIp": "192.168.0.0/24"}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site() as made:
        yield made


@pytest.fixture(scope="module")
def vpc_id(site: Site) -> str:
    return site.vpc()


@pytest.fixture(scope="module")
def pair(site: Site, vpc_id: str) -> tuple[Guest, Guest]:
    """A client and a server, each in a group of its own."""
    return site.guest(vpc_id, "192.168.0.1"), site.guest(vpc_id, "192.168.0.2")


def new_group(site: Site, vpc_id: str, *rules: dict[str, str]) -> str:
    group: str = site.agent.call("CreateSecurityGroup", VpcId=vpc_id)["SecurityGroupId"]
    if rules:
        site.agent.call("AuthorizeSecurityGroup", SecurityGroupId=group, Permissions=list(rules))
    return group


def change(site: Site, action: str, group: str, guest: Guest) -> None:
    site.agent.call(action, SecurityGroupId=group, InstanceId=guest.port.instance_id)


def test_who_joins_a_group_has_its_rules_and_its_members(site: Site, vpc_id: str, pair: tuple[Guest, Guest]) -> None:
    client, server = pair
    web = new_group(site, vpc_id, WEB)
    expect(False, tcp_between, client, server, 80)
    change(site, "JoinSecurityGroup", web, server)
    assert tcp_between(client, server, 80)  # at once: it has been answered
    expect(False, udp, client, server, 53)
    change(site, "JoinSecurityGroup", web, client)
    assert udp(client, server, 53)  # members of one group
    change(site, "LeaveSecurityGroup", web, client)
    expect(False, udp, client, server, 53)
    change(site, "LeaveSecurityGroup", web, server)
    expect(False, tcp_between, client, server, 80)


def test_leaving_ends_what_only_that_group_allowed(site: Site, vpc_id: str, pair: tuple[Guest, Guest]) -> None:
    client, server = pair
    web, other = new_group(site, vpc_id, WEB), new_group(site, vpc_id, WEB | {"PortRange": "81/81"})
    ids: dict[str, Any] = {"InstanceId": server.port.instance_id}
    own = site.agent.call("DescribeInstanceAttribute", **ids)["SecurityGroupIds"]["SecurityGroupId"]
    site.agent.call("ModifyInstanceAttribute", **ids, SecurityGroupIds=[*own, web, other])
    doomed, kept = Flow(client, server, 80, two_way=False), Flow(client, server, 81)
    try:
        assert doomed.moves()
        assert kept.moves()
        site.agent.call("ModifyInstanceAttribute", **ids, SecurityGroupIds=[other, *own])
        expect(False, doomed.moves)
        assert kept.moves()
    finally:
        doomed.close()
        kept.close()
        site.agent.call("ModifyInstanceAttribute", **ids, SecurityGroupIds=own)


def test_groups_are_restored_in_one_moment(site: Site, vpc_id: str, pair: tuple[Guest, Guest]) -> None:
    """A connection that the old and the new rules allow, by different rules, goes on."""
    client, server = pair
    group = new_group(site, vpc_id, WEB)
    change(site, "JoinSecurityGroup", group, server)
    cloned = site.agent.call("CloneSecurityGroup", HOST, SecurityGroupId=group)
    backup = cloned["SecurityGroupId"]
    wider = WEB | {"PortRange": "79/82"}
    site.agent.call("RevokeSecurityGroup", SecurityGroupId=group, **WEB)
    site.agent.call("AuthorizeSecurityGroup", SecurityGroupId=group, **wider)
    kept, doomed = Flow(client, server, 80), Flow(client, server, 82)
    try:
        answer = site.agent.call("RestoreSecurityGroup", HOST, SecurityGroupId=group, SourceSecurityGroupId=backup)
        assert [one["PortRange"] for one in answer["Removed"]["Permission"]] == ["79/82"]
        expect(False, doomed.moves)
        assert kept.moves()
        with serving(server, 81):
            assert not tcp(client, server.ip, 81)
    finally:
        kept.close()
        doomed.close()
        change(site, "LeaveSecurityGroup", group, server)


def test_peers_are_who_is_in_the_group_now(site: Site, vpc_id: str, pair: tuple[Guest, Guest]) -> None:
    client, server = pair
    friends = new_group(site, vpc_id)
    target = new_group(site, vpc_id, {"IpProtocol": "icmp", "SourceGroupId": friends})
    change(site, "JoinSecurityGroup", target, server)
    expect(False, ping, client, server.ip)
    change(site, "JoinSecurityGroup", friends, client)
    assert ping(client, server.ip)
    change(site, "LeaveSecurityGroup", friends, client)
    expect(False, ping, client, server.ip)
    change(site, "LeaveSecurityGroup", target, server)
