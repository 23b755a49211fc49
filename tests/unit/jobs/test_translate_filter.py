"""Security groups as the filter of a VPC: what the driver is told."""

from __future__ import annotations

import pytest

from agent.config import Config, ConfigError
from agent.core.specs import Direction, FilterSpec, RuleSpec, Verdict
from agent.jobs import mail
from agent.jobs.translate_filter import FilterSpecs
from tests.support.cloud import Cloud


def spec_of(cloud: Cloud, vpc_id: str) -> FilterSpec:
    with cloud.store.read() as session:
        return FilterSpecs().read(session, vpc_id, cloud.services.config)


def test_rules_become_what_the_filter_understands(cloud: Cloud) -> None:
    vpc_id, _ = cloud.default_vswitch()
    groups = [cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"] for _ in range(2)]
    inwards = {
        "Permissions.1.IpProtocol": "tcp",
        "Permissions.1.PortRange": "80/443",
        "Permissions.1.SourceCidrIp": "10.1.2.3",
        "Permissions.2.IpProtocol": "icmp",
        "Permissions.2.SourceGroupId": groups[1],
        "Permissions.2.Policy": "drop",
        "Permissions.2.Priority": 100,
    }
    cloud.call("AuthorizeSecurityGroup", {"SecurityGroupId": groups[0], **inwards})
    outwards = {"IpProtocol": "all", "DestCidrIp": "0.0.0.0/0", "Policy": "drop"}
    cloud.call("AuthorizeSecurityGroupEgress", {"SecurityGroupId": groups[0], **outwards})
    spec = spec_of(cloud, vpc_id)
    assert set(spec.rules[groups[0]]) == {
        RuleSpec(Direction.INGRESS, Verdict.ACCEPT, 1, "tcp", (80, 443), cidr="10.1.2.3/32"),
        RuleSpec(Direction.INGRESS, Verdict.DROP, 100, "icmp", None, peer_group=groups[1]),
        RuleSpec(Direction.EGRESS, Verdict.DROP, 1, "all", None, cidr="0.0.0.0/0"),
    }
    assert spec.rules[groups[1]] == ()
    assert len(spec.rules) == 3  # with the system's own
    assert spec.isolated == frozenset()


def test_every_interface_of_the_vpc_and_no_other_is_a_member(cloud: Cloud) -> None:
    vpc_id, vswitch_id = cloud.default_vswitch()
    groups = [cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"] for _ in range(2)]
    cloud.add_instance(vswitch_id, [groups[1], groups[0]])
    other = cloud.call("CreateVpc", {"CidrBlock": "172.16.0.0/16"})["VpcId"]
    params = {"VpcId": other, "ZoneId": "local-a", "CidrBlock": "172.16.0.0/20"}
    beside = cloud.call("CreateVSwitch", params)["VSwitchId"]
    cloud.add_instance(beside, [])
    spec = spec_of(cloud, vpc_id)
    [member] = spec.members
    here = next(one for one in cloud.interfaces() if one.vpc_id == vpc_id)
    assert (member.tap, member.mac, member.ips) == (here.tap, here.mac, ("172.16.0.1",))
    assert member.groups == (groups[1], groups[0])


def test_groups_whose_members_are_apart_are_named(cloud: Cloud) -> None:
    vpc_id, _ = cloud.default_vswitch()
    group = cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"]
    cloud.call("ModifySecurityGroupPolicy", {"SecurityGroupId": group, "InnerAccessPolicy": "Drop"})
    assert spec_of(cloud, vpc_id).isolated == {group}


def test_mail_is_for_whom_the_configuration_names(make_cloud) -> None:
    named = "i-" + "a" * 20
    cloud: Cloud = make_cloud()
    vpc_id, vswitch_id = cloud.default_vswitch()
    cloud.add_instance(vswitch_id, [])
    [interface] = cloud.interfaces()
    for allowed, expected in (
        ([], set()),
        ([named, "1000000000000002"], set()),
        ([cloud.account_id], {interface.tap}),
        ([interface.instance_id], {interface.tap}),
        (["all"], {interface.tap}),
    ):
        with cloud.store.read() as session:
            config = Config(mail_allowed=tuple(allowed))
            mail.check(config)
            assert FilterSpecs().read(session, vpc_id, config).smtp_allowed == expected
    for wrong in ("web", "25", "i-1", ""):
        with pytest.raises(ConfigError, match="mail_allowed"):
            mail.check(Config(mail_allowed=(wrong,)))
