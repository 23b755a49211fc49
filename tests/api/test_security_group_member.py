"""Joining and leaving security groups (SPEC I10), as far as the store and the API go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from agent.core.errors import ApiError
from tests.support.cloud import Cloud


class Lab:
    """An instance in one group, and six more groups of its VPC."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.vpc_id, self.vswitch_id = cloud.default_vswitch()
        self.groups = [cloud.call("CreateSecurityGroup", {"VpcId": self.vpc_id})["SecurityGroupId"] for _ in range(7)]
        self.instance_id = cloud.add_instance(self.vswitch_id, self.groups[:1])

    def change(self, verb: str, group: str, **named: object) -> None:
        params: dict[str, object] = {"SecurityGroupId": group, **(named or {"InstanceId": self.instance_id})}
        self.cloud.call(f"{verb}SecurityGroup", params)

    def set(self, *groups: str) -> None:
        numbered = {f"SecurityGroupIds.{n}": group for n, group in enumerate(groups, 1)}
        self.cloud.call("ModifyInstanceAttribute", {"InstanceId": self.instance_id, **numbered})

    def present(self) -> list[str]:
        [shown] = self.cloud.call("DescribeInstances")["Instances"]["Instance"]
        found: list[str] = shown["SecurityGroupIds"]["SecurityGroupId"]
        return found

    def refused(self, verb: str, group: str, **named: object) -> str:
        with pytest.raises(ApiError) as caught:
            self.change(verb, group, **named)
        return caught.value.code


@pytest.fixture
def lab(cloud: Cloud) -> Lab:
    return Lab(cloud)


def test_an_instance_joins_and_leaves_and_it_is_in_force_when_answered(lab: Lab) -> None:
    first, second, third = lab.groups[:3]
    lab.change("Join", second)
    assert lab.cloud.runner.waited == [lab.cloud.jobs("vpc.filter")[-1].id]
    [interface] = lab.cloud.interfaces()
    lab.change("Join", third, NetworkInterfaceId=interface.id)
    assert lab.present() == [first, second, third]
    lab.change("Leave", first, NetworkInterfaceId=interface.id)
    assert lab.present() == [second, third]
    lab.change("Join", first)
    assert lab.present() == [second, third, first]
    counts = lab.cloud.call("DescribeSecurityGroups", {"SecurityGroupId": first})["SecurityGroups"]["SecurityGroup"]
    assert (counts[0]["EcsCount"], counts[0]["AvailableInstanceAmount"]) == (1, 999)


def test_never_fewer_than_one_nor_more_than_five(lab: Lab) -> None:
    assert lab.refused("Leave", lab.groups[0]) == "InstanceLastSecurityGroup"
    assert lab.refused("Leave", lab.groups[1]) == "InstanceNotInSecurityGroup"
    assert lab.refused("Join", lab.groups[0]) == "InvalidInstanceId.AlreadyExists"
    for group in lab.groups[1:5]:
        lab.change("Join", group)
    assert lab.refused("Join", lab.groups[5]) == "InstanceSecurityGroupLimitExceeded"
    assert lab.present() == lab.groups[:5]


def test_never_more_than_five_however_many_ask(lab: Lab) -> None:
    def ask(group: str) -> str:
        try:
            lab.change("Join", group)
        except ApiError as error:
            return error.code
        return ""

    with ThreadPoolExecutor(6) as pool:
        codes = sorted(pool.map(ask, lab.groups[1:]))
    assert codes == ["", "", "", "", "InstanceSecurityGroupLimitExceeded", "InstanceSecurityGroupLimitExceeded"]
    assert len(lab.present()) == 5


def test_all_groups_are_replaced_at_once(lab: Lab) -> None:
    first, second, third = lab.groups[:3]
    lab.set(third, second, third)
    assert lab.present() == [third, second]
    assert lab.cloud.runner.waited == [lab.cloud.jobs("vpc.filter")[-1].id]
    waited = list(lab.cloud.runner.waited)
    lab.set(third, second)
    assert lab.cloud.runner.waited == waited  # nothing to do
    for wrong, code in (
        (lab.groups[:6], "InstanceSecurityGroupLimitExceeded"),
        ([first, "sg-none"], "InvalidSecurityGroupId.NotFound"),
    ):
        with pytest.raises(ApiError) as caught:
            lab.set(*wrong)
        assert caught.value.code == code
    assert lab.present() == [third, second]


def test_what_cannot_be_joined(lab: Lab) -> None:
    elsewhere = lab.cloud.call("CreateVpc")["VpcId"]
    foreign = lab.cloud.call("CreateSecurityGroup", {"VpcId": elsewhere})["SecurityGroupId"]
    classic = lab.cloud.call("CreateSecurityGroup", {"NetworkType": "classic"})["SecurityGroupId"]
    [interface] = lab.cloud.interfaces()
    both = {"InstanceId": lab.instance_id, "NetworkInterfaceId": interface.id}
    assert lab.refused("Join", foreign) == "InvalidInstanceId.Mismatch"
    assert lab.refused("Join", classic) == "InvalidInstanceId.Mismatch"
    assert lab.refused("Join", "sg-none") == "InvalidSecurityGroupId.NotFound"
    assert lab.refused("Join", lab.groups[1], InstanceId="i-none") == "InvalidInstanceId.NotFound"
    assert lab.refused("Join", lab.groups[1], NetworkInterfaceId="eni-none") == "InvalidNetworkInterfaceId.NotFound"
    assert lab.refused("Join", lab.groups[1], InstanceId="") == "MissingParameter"
    assert lab.refused("Join", lab.groups[1], **both) == "InvalidParameter"


def test_a_full_group_takes_nobody_but_keeps_who_is_in_it(make_cloud) -> None:
    lab = Lab(make_cloud(quotas={"instances_per_security_group": 1}))
    other = lab.cloud.add_instance(lab.vswitch_id, lab.groups[1:2])
    assert lab.refused("Join", lab.groups[1]) == "SecurityGroupInstanceLimitExceeded"
    lab.change("Join", lab.groups[2])
    assert lab.refused("Join", lab.groups[0], InstanceId=other) == "SecurityGroupInstanceLimitExceeded"


def test_policies_know_instances_by_their_own_ids(lab: Lab) -> None:
    [interface] = lab.cloud.interfaces()
    lab.cloud.add_role(
        "joiner",
        {"Effect": "Allow", "Action": "ecs:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "ecs:*", "Resource": f"acs:ecs:*:*:instance/{lab.instance_id}"},
    )
    who = lab.cloud.assumed("joiner")
    for named in ({"InstanceId": lab.instance_id}, {"NetworkInterfaceId": interface.id}):
        with pytest.raises(ApiError) as caught:
            params: dict[str, object] = {"SecurityGroupId": lab.groups[1], **named}
            lab.cloud.call("JoinSecurityGroup", params, identity=who)
        assert caught.value.code == "Forbidden.RAM"
