"""The classic network over the API (SPEC N4): shared by all accounts, shown to nobody as a VPC."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.core.errors import ApiError
from agent.core.ids import CLASSIC_VPC, CLASSIC_VSWITCH
from agent.jobs.translate import seed_spec
from agent.jobs.translate_filter import FilterSpecs
from agent.jobs.translate_network import port_spec, vpc_spec
from agent.services import default_network
from agent.services.metadata import Instances
from agent.store.schema import Instance, Vpc
from tests.support.agent import VPC, flat
from tests.support.cloud import Cloud

SMALL = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small"}
CLASSIC = {**SMALL, "InstanceNetworkType": "classic"}


@pytest.fixture
def ready(make_cloud: Any) -> Cloud:
    cloud = make_cloud(minimum_disk_gib={"system": 1})
    cloud.default_vswitch()
    cloud.add_image()
    return cloud


def run(cloud: Cloud, account_id: str = "", **params: object) -> dict[str, Any]:
    """What is shown of a new instance in the classic network."""
    answer = cloud.call("RunInstances", dict(flat({**CLASSIC, **params})), account_id=account_id)
    return shown(cloud, answer["InstanceIdSets"]["InstanceIdSet"][0], account_id)


def shown(cloud: Cloud, instance_id: str, account_id: str = "") -> dict[str, Any]:
    wanted = {"InstanceIds": json.dumps([instance_id])}
    [found] = cloud.call("DescribeInstances", wanted, account_id=account_id)["Instances"]["Instance"]
    return found


def code(cloud: Cloud, action: str, version: str = "", **params: object) -> str:
    with pytest.raises(ApiError) as refused:
        cloud.call(action, dict(flat(params)), **({"version": version} if version else {}))
    return refused.value.code


def test_an_instance_has_an_intranet_address_and_no_vpc(ready: Cloud) -> None:
    found = run(ready)
    assert found["InstanceNetworkType"] == "classic"
    assert found["InnerIpAddress"]["IpAddress"] == ["10.168.0.1"]
    assert found["PublicIpAddress"]["IpAddress"] == []
    assert found["NetworkInterfaces"]["NetworkInterface"] == []
    assert found["VpcAttributes"] == {
        "VpcId": "",
        "VSwitchId": "",
        "NatIpAddress": "",
        "PrivateIpAddress": {"IpAddress": []},
    }
    assert run(ready, PrivateIpAddress="10.168.7.7")["InnerIpAddress"]["IpAddress"] == ["10.168.7.7"]
    [in_vpc] = ready.call("RunInstances", dict(SMALL))["InstanceIdSets"]["InstanceIdSet"]  # as ever
    assert shown(ready, in_vpc)["InstanceNetworkType"] == "vpc"


def test_the_network_itself_is_shown_to_nobody(ready: Cloud) -> None:
    run(ready)
    assert [vpc["IsDefault"] for vpc in ready.call("DescribeVpcs")["Vpcs"]["Vpc"]] == [True]
    assert ready.call("DescribeVSwitches")["TotalCount"] == 1
    assert ready.call("DescribeVSwitches", {"VpcId": CLASSIC_VPC})["TotalCount"] == 0
    assert ready.call("DescribeVRouters")["TotalCount"] == 1
    assert ready.call("DescribeNetworkInterfaces")["TotalCount"] == 0
    assert code(ready, "DescribeVpcAttribute", VpcId=CLASSIC_VPC) == "InvalidVpcID.NotFound"
    assert code(ready, "DeleteVpc", VpcId=CLASSIC_VPC) == "InvalidVpcID.NotFound"
    assert code(ready, "DeleteVSwitch", VPC, VSwitchId=CLASSIC_VSWITCH) == "InvalidVswitchID.NotFound"
    assert code(ready, "RunInstances", **SMALL, VSwitchId=CLASSIC_VSWITCH) == "InvalidVSwitchId.NotFound"
    new = {"VpcId": CLASSIC_VPC, "ZoneId": "local-a", "CidrBlock": "10.168.0.0/24"}
    assert code(ready, "CreateVSwitch", **new).endswith("NotFound")


def test_the_default_group_has_the_rules_of_the_guide(ready: Cloud) -> None:
    [group_id] = run(ready)["SecurityGroupIds"]["SecurityGroupId"]
    assert run(ready)["SecurityGroupIds"]["SecurityGroupId"] == [group_id]
    answer = ready.call("DescribeSecurityGroupAttribute", {"SecurityGroupId": group_id})
    rules = {
        (rule["NicType"], rule["Direction"], rule["IpProtocol"].lower(), rule["PortRange"], rule["Priority"])
        for rule in answer["Permissions"]["Permission"]
    }
    assert rules == {
        ("internet", "ingress", "icmp", "-1/-1", "110"),
        ("internet", "ingress", "tcp", "22/22", "110"),
        ("internet", "ingress", "tcp", "3389/3389", "110"),
        ("internet", "egress", "all", "-1/-1", "110"),
        ("intranet", "egress", "all", "-1/-1", "110"),
    }
    assert answer["VpcId"] == ""


def test_the_security_group_decides(ready: Cloud) -> None:
    group_id = ready.call("CreateSecurityGroup", {"NetworkType": "classic"})["SecurityGroupId"]
    wanted = {**SMALL, "SecurityGroupId": group_id}
    instance_id = ready.call("CreateInstance", dict(wanted))["InstanceId"]
    found = shown(ready, instance_id)
    assert (found["InstanceNetworkType"], found["SecurityGroupIds"]) == ("classic", {"SecurityGroupId": [group_id]})
    _, vswitch_id = ready.default_vswitch()
    assert code(ready, "CreateInstance", **wanted, VSwitchId=vswitch_id) == "InvalidInstanceId.Mismatch"
    assert code(ready, "RunInstances", **CLASSIC, VSwitchId=vswitch_id) == "InvalidParameter.Conflict"
    assert code(ready, "RunInstances", **SMALL, InstanceNetworkType="ether") == "InvalidParameter"


def test_instances_are_found_by_network_and_by_inner_address(ready: Cloud) -> None:
    inside = run(ready)["InstanceId"]
    [in_vpc] = ready.call("RunInstances", dict(SMALL))["InstanceIdSets"]["InstanceIdSet"]

    def found(**filters: str) -> list[str]:
        return [one["InstanceId"] for one in ready.call("DescribeInstances", dict(filters))["Instances"]["Instance"]]

    assert found(InstanceNetworkType="classic") == [inside]
    assert found(InstanceNetworkType="vpc") == [in_vpc]
    assert found(InnerIpAddresses='["10.168.0.1"]') == [inside]
    assert found(PrivateIpAddresses='["10.168.0.1"]') == []
    assert found(VpcId=CLASSIC_VPC) == []


def test_accounts_share_it_but_not_their_groups(ready: Cloud) -> None:
    other = ready.add_account()
    ours, theirs = run(ready), run(ready, other)
    assert theirs["InnerIpAddress"]["IpAddress"] == ["10.168.0.2"]
    assert ours["SecurityGroupIds"] != theirs["SecurityGroupIds"]
    with ready.store.read() as session:
        spec = FilterSpecs().read(session, CLASSIC_VPC, ready.services.config)
        assert {member.groups for member in spec.members} == {
            tuple(one["SecurityGroupIds"]["SecurityGroupId"]) for one in (ours, theirs)
        }
        assert session.get_one(Vpc, CLASSIC_VPC).account_id == ready.account_id
    [group_id] = ours["SecurityGroupIds"]["SecurityGroupId"]
    with pytest.raises(ApiError, match="does not exist"):
        run(ready, other, SecurityGroupId=group_id)


def test_a_public_address_has_a_card_of_its_own(ready: Cloud) -> None:
    found = run(ready, InternetMaxBandwidthOut=5, InternetMaxBandwidthIn=7)
    [public] = found["PublicIpAddress"]["IpAddress"]
    assert found["InnerIpAddress"]["IpAddress"] == ["10.168.0.1"]
    assert (found["InternetMaxBandwidthOut"], found["InternetMaxBandwidthIn"]) == (5, 7)
    with ready.store.read() as session:
        instance = session.get_one(Instance, found["InstanceId"])
        intranet, internet = (port_spec(instance, one) for one in instance.interfaces)
        router = vpc_spec(session, session.get_one(Vpc, CLASSIC_VPC))
        members = FilterSpecs().read(session, CLASSIC_VPC, ready.services.config).members
        seed = seed_spec(ready.services.config, session, instance)
    assert (intranet.nic_type, intranet.default_route, intranet.inbound_kbit) == ("intranet", False, 0)
    assert (internet.nic_type, internet.default_route, internet.prefix_length) == ("internet", True, 32)
    assert (internet.ip, internet.gateway) == (public, "100.100.100.253")
    assert (internet.inbound_kbit, internet.outbound_kbit) == (7 * 1024, 5 * 1024)
    assert router.gateways == ("10.168.255.253", "100.100.100.253")
    assert [(one.address, one.private) for one in router.publics] == [(public, public)]
    assert router.nat == ()
    assert sorted(member.nic_type for member in members) == ["internet", "intranet"]
    assert len({member.groups for member in members}) == 1
    assert (seed.mac, seed.internet_mac) == (intranet.mac, internet.mac)


def test_the_metadata_service_knows_both_cards(ready: Cloud) -> None:
    found = run(ready, InternetMaxBandwidthOut=5)
    [public] = found["PublicIpAddress"]["IpAddress"]
    instances = Instances(ready.store, ready.services.config, ())
    for address in ("10.168.0.1", public):
        facts = instances.at(CLASSIC_VPC, address)
        assert facts is not None
        assert facts.instance_id == found["InstanceId"]
        assert [(one.ip, one.netmask, one.gateway, one.vpc_id) for one in facts.interfaces] == [
            ("10.168.0.1", "255.255.0.0", "10.168.255.253", ""),
            (public, "255.255.255.255", "100.100.100.253", ""),
        ]


def test_the_card_comes_and_goes_with_the_address(ready: Cloud) -> None:
    instance_id = ready.call("CreateInstance", {**CLASSIC, "InternetMaxBandwidthOut": "1"})["InstanceId"]
    with ready.store.read() as session:
        instance = session.get_one(Instance, instance_id)
        told = seed_spec(ready.services.config, session, instance).internet_mac  # before there is one
    with ready.store.write() as session:
        session.get_one(Instance, instance_id).status = "Running"
    address = ready.call("AllocatePublicIpAddress", {"InstanceId": instance_id})["IpAddress"]
    [job] = ready.jobs("classic.plug")
    assert ready.runner.waited == [job.id]
    assert shown(ready, instance_id)["PublicIpAddress"]["IpAddress"] == [address]
    assert [one.mac for one in ready.interfaces() if one.nic_type == "internet"] == [told]
    assert code(ready, "AllocatePublicIpAddress", InstanceId=instance_id) == "AllocatedAlready"
    eip = ready.call("AllocateEipAddress")["AllocationId"]
    assert code(ready, "AssociateEipAddress", AllocationId=eip, InstanceId=instance_id) == "OperationDenied"
    ready.call("ReleasePublicIpAddress", {"PublicIpAddress": address})
    [job] = ready.jobs("classic.unplug")
    assert job.data == {"forget_bandwidth": False}
    ready.call("ModifyInstanceNetworkSpec", {"InstanceId": instance_id, "InternetMaxBandwidthOut": "0"})
    assert [job.data["forget_bandwidth"] for job in ready.jobs("classic.unplug")] == [False, True]
    # Until the guest has let go of the card, everything is as it was.
    assert shown(ready, instance_id)["PublicIpAddress"]["IpAddress"] == [address]
    assert shown(ready, instance_id)["InternetMaxBandwidthOut"] == 1


def test_groups_are_joined_with_both_cards(ready: Cloud) -> None:
    instance_id = run(ready, InternetMaxBandwidthOut=1)["InstanceId"]
    group_id = ready.call("CreateSecurityGroup", {"NetworkType": "classic"})["SecurityGroupId"]
    ready.call("JoinSecurityGroup", {"InstanceId": instance_id, "SecurityGroupId": group_id})
    with ready.store.read() as session:
        members = FilterSpecs().read(session, CLASSIC_VPC, ready.services.config).members
    assert len(members) == 2
    assert all(group_id in member.groups for member in members)


def test_an_account_that_only_has_the_default_group_there_can_be_deleted(ready: Cloud) -> None:
    made = ready.call("CreateAccount", {"AccountName": "lab"}, version="2026-11-01")
    account_id = made["Account"]["AccountId"]
    with ready.caller(account_id) as caller:
        default_network.ensure_default_network(caller)
    instance_id = run(ready, account_id)["InstanceId"]
    with ready.store.write() as session:
        instance = session.get_one(Instance, instance_id)
        for one in (*instance.interfaces, *instance.disks, instance):
            session.delete(one)
    ready.call("DeleteAccount", {"AccountId": account_id}, version="2026-11-01")
