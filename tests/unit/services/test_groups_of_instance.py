"""Which groups an instance may be in (SPEC section 0, F1)."""

from __future__ import annotations

import pytest

from agent.core.errors import ApiError
from agent.services import security_group
from agent.services.vpc import get_vpc
from tests.support.cloud import Cloud


def code_of(cloud: Cloud, vpc_id: str, groups: list[str], instances: int = 1) -> str:
    with pytest.raises(ApiError) as caught, cloud.caller() as caller:
        security_group.check_groups(caller, vpc_id, groups, instances=instances)
    return caught.value.code


def test_one_to_five_groups_of_the_same_vpc(cloud: Cloud) -> None:
    vpc_id, _ = cloud.default_vswitch()
    groups = [cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"] for _ in range(6)]
    with cloud.caller() as caller:
        found = security_group.check_groups(caller, vpc_id, [groups[3], groups[1], groups[3]])
        assert [group.id for group in found] == [groups[3], groups[1]]
        assert len(security_group.check_groups(caller, vpc_id, groups[:5])) == 5
    assert code_of(cloud, vpc_id, groups) == "InstanceSecurityGroupLimitExceeded"
    assert code_of(cloud, vpc_id, []) == "MissingParameter"
    assert code_of(cloud, vpc_id, ["sg-none"]) == "InvalidSecurityGroupId.NotFound"
    elsewhere = cloud.call("CreateVpc")["VpcId"]
    assert code_of(cloud, elsewhere, groups[:1]) == "InvalidInstanceId.Mismatch"


def test_a_group_takes_only_so_many_instances(make_cloud) -> None:
    cloud: Cloud = make_cloud(quotas={"instances_per_security_group": 3})
    vpc_id, vswitch_id = cloud.default_vswitch()
    group = cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"]
    cloud.add_instance(vswitch_id, [group])
    with cloud.caller() as caller:
        security_group.check_groups(caller, vpc_id, [group], instances=2)
    assert code_of(cloud, vpc_id, [group], instances=3) == "SecurityGroupInstanceLimitExceeded"


def test_the_systems_group_is_made_on_first_need_and_only_once(cloud: Cloud) -> None:
    vpc_id = cloud.call("CreateVpc")["VpcId"]
    assert cloud.call("DescribeSecurityGroups", {"VpcId": vpc_id})["TotalCount"] == 0
    made = set()
    for _ in range(2):
        with cloud.caller() as caller:
            made.add(security_group.default_group(caller, get_vpc(caller, vpc_id)).id)
    assert len(made) == 1
