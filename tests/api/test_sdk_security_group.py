"""Security groups by both generations of the public SDK, unmodified, over the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alibabacloud_ecs20140526 import models
from alibabacloud_ecs20140526.client import Client
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.request import CommonRequest
from aliyunsdkecs.request.v20140526.AuthorizeSecurityGroupEgressRequest import AuthorizeSecurityGroupEgressRequest
from aliyunsdkecs.request.v20140526.DescribeSecurityGroupReferencesRequest import DescribeSecurityGroupReferencesRequest
from aliyunsdkecs.request.v20140526.JoinSecurityGroupRequest import JoinSecurityGroupRequest
from aliyunsdkecs.request.v20140526.LeaveSecurityGroupRequest import LeaveSecurityGroupRequest
from aliyunsdkecs.request.v20140526.ModifySecurityGroupPolicyRequest import ModifySecurityGroupPolicyRequest
from darabonba.exceptions import DaraException

from tests.support.cloud import Cloud


def test_the_current_sdk_moves_an_instance_between_groups(tea: Client, cloud: Cloud) -> None:
    _, vswitch_id = cloud.default_vswitch()
    first, second = (
        tea.create_security_group(models.CreateSecurityGroupRequest(region_id="local")).body.security_group_id
        for _ in range(2)
    )
    instance = cloud.add_instance(vswitch_id, [first])
    named = {"region_id": "local", "instance_id": instance}
    tea.join_security_group(models.JoinSecurityGroupRequest(security_group_id=second, **named))
    with pytest.raises(DaraException) as caught:
        tea.join_security_group(models.JoinSecurityGroupRequest(security_group_id=second, **named))
    assert caught.value.code == "InvalidInstanceId.AlreadyExists"
    tea.leave_security_group(models.LeaveSecurityGroupRequest(security_group_id=first, **named))
    with pytest.raises(DaraException) as caught:
        tea.leave_security_group(models.LeaveSecurityGroupRequest(security_group_id=second, **named))
    assert caught.value.code == "InstanceLastSecurityGroup"
    tea.modify_instance_attribute(
        models.ModifyInstanceAttributeRequest(instance_id=instance, security_group_ids=[first, second])
    )
    [shown] = tea.describe_instances(models.DescribeInstancesRequest(region_id="local")).body.instances.instance
    assert shown.security_group_ids.security_group_id == [first, second]
    group = models.DescribeSecurityGroupsRequest(region_id="local", security_group_id=first, network_type="vpc")
    [listed] = tea.describe_security_groups(group).body.security_groups.security_group
    assert (listed.ecs_count, listed.available_instance_amount) == (1, 999)


def test_the_current_sdk_changes_a_rule(tea: Client, cloud: Cloud) -> None:
    cloud.default_vswitch()
    group = tea.create_security_group(models.CreateSecurityGroupRequest(region_id="local")).body.security_group_id
    given = {"region_id": "local", "security_group_id": group}
    gre = models.AuthorizeSecurityGroupEgressRequestPermissions(
        ip_protocol="GRE", port_range="-1/-1", dest_cidr_ip="10.0.0.0/8", policy="drop", priority="3"
    )
    tea.authorize_security_group_egress(models.AuthorizeSecurityGroupEgressRequest(permissions=[gre], **given))
    asked = models.DescribeSecurityGroupAttributeRequest(direction="egress", **given)
    [rule] = tea.describe_security_group_attribute(asked).body.permissions.permission
    changed = {"security_group_rule_id": rule.security_group_rule_id, "priority": "4", **given}
    tea.modify_security_group_egress_rule(models.ModifySecurityGroupEgressRuleRequest(**changed))
    shown = tea.describe_security_group_attribute(asked).body
    assert [(one.ip_protocol, one.policy, one.priority) for one in shown.permissions.permission] == [
        ("GRE", "Drop", "4")
    ]
    assert shown.inner_access_policy == "Accept"


def test_the_first_sdk_moves_an_instance_between_groups(core: Any, cloud: Cloud) -> None:
    vpc_id, vswitch_id = cloud.default_vswitch()
    first, second = (cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"] for _ in range(2))
    instance = cloud.add_instance(vswitch_id, [first])
    for request, group in ((JoinSecurityGroupRequest(), second), (LeaveSecurityGroupRequest(), first)):
        request.set_InstanceId(instance)
        request.set_SecurityGroupId(group)
        core(request)
    with pytest.raises(ServerException) as caught:
        core(request)
    assert caught.value.get_error_code() == "InstanceNotInSecurityGroup"
    policy = ModifySecurityGroupPolicyRequest()
    policy.set_SecurityGroupId(second)
    policy.set_InnerAccessPolicy("Drop")
    core(policy)
    rule = AuthorizeSecurityGroupEgressRequest()
    rule.set_SecurityGroupId(second)
    rule.set_IpProtocol("all")
    rule.set_PortRange("-1/-1")
    rule.set_DestGroupId(first)
    rule.set_NicType("intranet")
    core(rule)
    references = DescribeSecurityGroupReferencesRequest()
    references.set_SecurityGroupIds([first])
    [found] = json.loads(core(references))["SecurityGroupReferences"]["SecurityGroupReference"]
    assert found["ReferencingSecurityGroups"]["ReferencingSecurityGroup"][0]["SecurityGroupId"] == second


def test_any_sdk_calls_our_own_actions(core: Any, cloud: Cloud) -> None:
    cloud.default_vswitch()
    group = cloud.call("CreateSecurityGroup")["SecurityGroupId"]
    clone = CommonRequest(product="Ecs", version="2026-11-01", action_name="CloneSecurityGroup")
    clone.add_query_param("SecurityGroupId", group)
    clone.add_query_param("NetworkType", "classic")
    answer = json.loads(core(clone))
    assert answer["SecurityGroupId"] != group
    assert answer["LeftOut"] == {"Permission": []}
