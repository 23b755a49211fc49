"""The nouns' actions called by both generations of the public SDK, unmodified, over the wire."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from alibabacloud_ecs20140526 import models
from alibabacloud_ecs20140526.client import Client
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.request import CommonRequest
from aliyunsdkecs.request.v20140526.AttachKeyPairRequest import AttachKeyPairRequest
from aliyunsdkecs.request.v20140526.AuthorizeSecurityGroupRequest import AuthorizeSecurityGroupRequest
from aliyunsdkecs.request.v20140526.DeleteKeyPairsRequest import DeleteKeyPairsRequest
from aliyunsdkecs.request.v20140526.DescribeInstancesRequest import DescribeInstancesRequest
from aliyunsdkecs.request.v20140526.DescribeInstanceVncUrlRequest import DescribeInstanceVncUrlRequest
from aliyunsdkecs.request.v20140526.DescribeRegionsRequest import DescribeRegionsRequest
from aliyunsdkecs.request.v20140526.DescribeUserDataRequest import DescribeUserDataRequest
from aliyunsdkecs.request.v20140526.DetachKeyPairRequest import DetachKeyPairRequest
from aliyunsdkecs.request.v20140526.GetInstanceConsoleOutputRequest import GetInstanceConsoleOutputRequest
from aliyunsdkecs.request.v20140526.GetInstanceScreenshotRequest import GetInstanceScreenshotRequest
from aliyunsdkecs.request.v20140526.ModifyInstanceAttributeRequest import ModifyInstanceAttributeRequest
from aliyunsdkecs.request.v20140526.ModifyInstanceVncPasswdRequest import ModifyInstanceVncPasswdRequest
from aliyunsdkecs.request.v20140526.RunInstancesRequest import RunInstancesRequest
from darabonba.exceptions import DaraException

from agent.store.schema import Instance
from tests.support.cloud import Cloud


def vpc_request(action: str, **params: str) -> CommonRequest:
    request = CommonRequest(product="Vpc", version="2016-04-28", action_name=action)
    for name, value in params.items():
        request.add_query_param(name, value)
    return request


def test_the_current_sdk_sets_up_a_network(tea: Client) -> None:
    vpc = tea.create_vpc(models.CreateVpcRequest(region_id="local", vpc_name="prod")).body
    zone = tea.describe_zones(models.DescribeZonesRequest(region_id="local")).body.zones.zone[0].zone_id
    tea.create_vswitch(
        models.CreateVSwitchRequest(region_id="local", vpc_id=vpc.vpc_id, zone_id=zone, cidr_block="172.16.1.0/24")
    )
    shown = tea.describe_vswitches(models.DescribeVSwitchesRequest(region_id="local")).body.v_switches.v_switch
    assert [(one.vpc_id, one.available_ip_address_count) for one in shown] == [(vpc.vpc_id, 252)]
    with pytest.raises(DaraException) as caught:
        tea.delete_vpc(models.DeleteVpcRequest(region_id="local", vpc_id=vpc.vpc_id))
    assert caught.value.code == "DependencyViolation"


def test_the_current_sdk_writes_and_reads_rules(tea: Client, cloud: Cloud) -> None:
    vpc_id, _ = cloud.default_vswitch()
    request = models.CreateSecurityGroupRequest(region_id="local", vpc_id=vpc_id, security_group_name="web")
    request.tag = [models.CreateSecurityGroupRequestTag(key="tier", value="front")]
    group = tea.create_security_group(request).body.security_group_id
    permission = models.AuthorizeSecurityGroupRequestPermissions(
        ip_protocol="TCP", port_range="80/80", source_cidr_ip="0.0.0.0/0", priority="10", policy="accept"
    )
    other = models.AuthorizeSecurityGroupRequestPermissions(
        ip_protocol="ICMP", port_range="-1/-1", source_cidr_ip="10.0.0.0/8"
    )
    tea.authorize_security_group(
        models.AuthorizeSecurityGroupRequest(
            region_id="local", security_group_id=group, permissions=[permission, other]
        )
    )
    shown = tea.describe_security_group_attribute(
        models.DescribeSecurityGroupAttributeRequest(region_id="local", security_group_id=group)
    ).body
    found = shown.permissions.permission
    assert [(one.ip_protocol, one.port_range, one.priority) for one in found] == [
        ("ICMP", "-1/-1", "1"),
        ("TCP", "80/80", "10"),
    ]
    ids = [one.security_group_rule_id for one in found]
    tea.revoke_security_group(
        models.RevokeSecurityGroupRequest(region_id="local", security_group_id=group, security_group_rule_id=ids)
    )
    wanted = models.DescribeSecurityGroupsRequest(
        region_id="local", tag=[models.DescribeSecurityGroupsRequestTag(key="tier", value="front")]
    )
    [listed] = tea.describe_security_groups(wanted).body.security_groups.security_group
    assert (listed.rule_count, listed.tags.tag[0].tag_value) == (0, "front")


def test_the_current_sdk_creates_tags_and_deletes_key_pairs(tea: Client) -> None:
    made = tea.create_key_pair(models.CreateKeyPairRequest(region_id="local", key_pair_name="mine")).body
    assert made.private_key_body.startswith("-----BEGIN PRIVATE KEY-----")
    tag = models.TagResourcesRequestTag(key="k", value="v")
    tea.tag_resources(
        models.TagResourcesRequest(region_id="local", resource_type="keypair", resource_id=["mine"], tag=[tag])
    )
    listed = tea.list_tag_resources(
        models.ListTagResourcesRequest(region_id="local", resource_type="keypair", resource_id=["mine"])
    ).body.tag_resources.tag_resource
    assert [(one.resource_id, one.tag_key, one.tag_value) for one in listed] == [("mine", "k", "v")]
    tea.delete_key_pairs(models.DeleteKeyPairsRequest(region_id="local", key_pair_names='["mine"]'))
    assert tea.describe_key_pairs(models.DescribeKeyPairsRequest(region_id="local")).body.total_count == 0


def test_the_current_sdk_runs_shows_and_releases_an_instance(tea: Client, cloud: Cloud) -> None:
    cloud.default_vswitch()
    cloud.add_image()
    disk = models.RunInstancesRequestSystemDisk(size="20", category="cloud_ssd")
    tag = models.RunInstancesRequestTag(key="role", value="web")
    wanted = models.RunInstancesRequest(
        region_id="local",
        image_id="tiny_x64",
        instance_type="ecs.t1.small",
        instance_name="web",
        password="Passw0rd!x",
        system_disk=disk,
        tag=[tag],
        amount=2,
    )
    ids = tea.run_instances(wanted).body.instance_id_sets.instance_id_set
    listing = models.DescribeInstancesRequest(region_id="local", instance_ids=json.dumps(ids))
    shown = tea.describe_instances(listing).body.instances.instance
    assert {one.instance_id for one in shown} == set(ids)
    assert [(one.status, one.cpu, one.memory, one.tags.tag[0].tag_value) for one in shown] == [
        ("Pending", 1, 1024, "web")
    ] * 2
    with pytest.raises(DaraException) as caught:
        tea.stop_instance(models.StopInstanceRequest(instance_id=ids[0]))
    assert caught.value.code == "IncorrectInstanceStatus"
    tea.delete_instances(models.DeleteInstancesRequest(region_id="local", instance_id=ids, force=True))
    assert tea.describe_instances(listing).body.total_count == 0


def test_the_current_sdk_changes_the_ways_in(tea: Client, cloud: Cloud) -> None:
    _, vswitch_id = cloud.default_vswitch()
    instance_id = cloud.add_instance(vswitch_id, [])
    tea.create_key_pair(models.CreateKeyPairRequest(region_id="local", key_pair_name="mine"))
    ids = json.dumps([instance_id])
    bound = tea.attach_key_pair(
        models.AttachKeyPairRequest(region_id="local", key_pair_name="mine", instance_ids=ids)
    ).body
    assert (bound.key_pair_name, bound.total_count, bound.fail_count) == ("mine", "1", "0")
    [result] = bound.results.result
    assert (result.instance_id, result.code, result.success) == (instance_id, "200", "true")
    unbound = tea.detach_key_pair(
        models.DetachKeyPairRequest(region_id="local", key_pair_name="mine", instance_ids=ids)
    ).body
    assert unbound.results.result[0].message == "successful"
    tea.modify_instance_attribute(
        models.ModifyInstanceAttributeRequest(instance_id=instance_id, password="Passw0rd!x", host_name="other")
    )
    shown = tea.describe_user_data(models.DescribeUserDataRequest(region_id="local", instance_id=instance_id)).body
    assert (shown.instance_id, shown.user_data) == (instance_id, "")
    script = models.ModifyInstanceAttributeRequest(instance_id=instance_id, user_data="IyEvYmluL3NoCg==")
    with pytest.raises(DaraException) as caught:
        tea.modify_instance_attribute(script)
    assert caught.value.code == "IncorrectInstanceStatus"


def test_the_first_sdk_changes_the_ways_in(core: Any, cloud: Cloud) -> None:
    _, vswitch_id = cloud.default_vswitch()
    instance_id = cloud.add_instance(vswitch_id, [])
    cloud.call("CreateKeyPair", {"KeyPairName": "mine"})
    for request in (AttachKeyPairRequest(), DetachKeyPairRequest()):
        request.set_KeyPairName("mine")
        request.set_InstanceIds(json.dumps([instance_id]))
        assert json.loads(core(request))["Results"]["Result"][0]["Success"] == "true"
    reset = ModifyInstanceAttributeRequest()
    reset.set_InstanceId(instance_id)
    reset.set_Password("Passw0rd!x")
    core(reset)
    shown = DescribeUserDataRequest()
    shown.set_InstanceId(instance_id)
    assert json.loads(core(shown))["UserData"] == ""


def test_the_first_sdk_runs_and_shows_an_instance(core: Any, cloud: Cloud) -> None:
    cloud.default_vswitch()
    cloud.add_image()
    request = RunInstancesRequest()
    request.set_ImageId("tiny_x64")
    request.set_InstanceType("ecs.t1.small")
    request.set_InstanceName("old")
    request.set_Tags([{"Key": "role", "Value": "db"}])
    [instance_id] = json.loads(core(request))["InstanceIdSets"]["InstanceIdSet"]
    listing = DescribeInstancesRequest()
    listing.set_InstanceIds(json.dumps([instance_id]))
    [shown] = json.loads(core(listing))["Instances"]["Instance"]
    assert (shown["InstanceName"], shown["Status"]) == ("old", "Pending")
    assert shown["Tags"]["Tag"] == [{"TagKey": "role", "TagValue": "db"}]


def test_the_first_sdk_writes_a_rule_in_its_flat_form(core: Any, cloud: Cloud) -> None:
    cloud.default_vswitch()
    group = cloud.call("CreateSecurityGroup")["SecurityGroupId"]
    request = AuthorizeSecurityGroupRequest()
    request.set_SecurityGroupId(group)
    request.set_IpProtocol("tcp")
    request.set_PortRange("22/22")
    request.set_SourceCidrIp("0.0.0.0/0")
    request.set_NicType("intranet")
    request.set_Priority("1")
    core(request)
    found = cloud.call("DescribeSecurityGroupAttribute", {"SecurityGroupId": group})["Permissions"]["Permission"]
    assert [one["PortRange"] for one in found] == ["22/22"]


def test_the_first_sdk_reads_lists(core: Any, cloud: Cloud) -> None:
    regions = json.loads(core(DescribeRegionsRequest()))["Regions"]["Region"]
    assert [one["RegionId"] for one in regions] == ["local"]
    cloud.call("CreateKeyPair", {"KeyPairName": "mine"})
    doomed = DeleteKeyPairsRequest()
    doomed.set_KeyPairNames(json.dumps(["mine"]))
    core(doomed)
    assert cloud.call("DescribeKeyPairs")["TotalCount"] == 0


def test_the_vpc_version_is_served_at_the_same_endpoint(core: Any) -> None:
    made = json.loads(core(vpc_request("CreateVpc", CidrBlock="10.0.0.0/8", VpcName="big")))
    params = {"VpcId": made["VpcId"], "ZoneId": "local-a", "CidrBlock": "10.1.0.0/16"}
    vswitch = json.loads(core(vpc_request("CreateVSwitch", **params)))["VSwitchId"]
    shown = json.loads(core(vpc_request("DescribeVSwitchAttributes", VSwitchId=vswitch)))
    assert (shown["AvailableIpAddressCount"], shown["RouteTable"]["RouteTableId"]) == (65532, made["RouteTableId"])
    core(vpc_request("DeleteVSwitch", VSwitchId=vswitch))
    core(vpc_request("DeleteVpc", VpcId=made["VpcId"]))
    assert json.loads(core(vpc_request("DescribeVpcs")))["TotalCount"] == 0


def test_both_sdks_take_a_screenshot_and_read_the_console(tea: Client, core: Any, cloud: Cloud) -> None:
    instance_id = cloud.add_instance(cloud.default_vswitch()[1], [])
    with cloud.store.write() as session:
        session.get_one(Instance, instance_id).status = "Running"
    wanted = models.GetInstanceScreenshotRequest(region_id="local", instance_id=instance_id, wake_up=True)
    shown = tea.get_instance_screenshot(wanted).body.screenshot
    assert base64.b64decode(shown) == f"picture of ecs-{instance_id}, awake".encode()
    request = GetInstanceScreenshotRequest()
    request.set_InstanceId(instance_id)
    assert base64.b64decode(json.loads(core(request))["Screenshot"]) == f"picture of ecs-{instance_id}".encode()

    output = models.GetInstanceConsoleOutputRequest(region_id="local", instance_id=instance_id, remove_symbols=True)
    assert base64.b64decode(tea.get_instance_console_output(output).body.console_output) == b"hello\n"
    request = GetInstanceConsoleOutputRequest()
    request.set_InstanceId(instance_id)
    answer = json.loads(core(request))
    assert b"hello" in base64.b64decode(answer["ConsoleOutput"])
    assert answer["LastUpdateTime"].endswith("Z")


def test_the_current_sdk_asks_for_the_management_terminal(tea: Client, cloud: Cloud, address: str) -> None:
    instance_id = _running(cloud)
    url = tea.describe_instance_vnc_url(
        models.DescribeInstanceVncUrlRequest(region_id="local", instance_id=instance_id)
    ).body.vnc_url
    assert url == f"http://{address}/console/vnc#token-for-{instance_id}"
    tea.modify_instance_vnc_passwd(
        models.ModifyInstanceVncPasswdRequest(region_id="local", instance_id=instance_id, vnc_password="Abc123")
    )
    with pytest.raises(DaraException) as caught:
        tea.modify_instance_vnc_passwd(
            models.ModifyInstanceVncPasswdRequest(region_id="local", instance_id=instance_id, vnc_password="Abc12")
        )
    assert caught.value.code == "InvalidVncPassword.Malformed"


def test_the_first_sdk_asks_for_the_management_terminal(core: Any, cloud: Cloud, address: str) -> None:
    instance_id = _running(cloud)
    url = DescribeInstanceVncUrlRequest()
    url.set_InstanceId(instance_id)
    assert json.loads(core(url))["VncUrl"].startswith(f"http://{address}/console/vnc#")
    change = ModifyInstanceVncPasswdRequest()
    change.set_InstanceId(instance_id)
    change.set_VncPassword("Abc123")
    core(change)
    # Newer SDKs have no class for it.
    told = CommonRequest(product="Ecs", version="2014-05-26", action_name="DescribeInstanceVncPasswd")
    told.add_query_param("InstanceId", instance_id)
    assert len(json.loads(core(told))["VncPasswd"]) == 6
    with pytest.raises(ServerException) as caught:
        core(told)
    assert caught.value.get_error_code() == "InvalidOperation.VncPasswdShown"


def _running(cloud: Cloud) -> str:
    vpc_id, vswitch_id = cloud.default_vswitch()
    return cloud.add_instance(vswitch_id, [cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"]])
