"""Public addresses by both generations of the public SDK, unmodified, over the wire, in both API versions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alibabacloud_ecs20140526 import models
from alibabacloud_ecs20140526.client import Client
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.request import CommonRequest
from aliyunsdkecs.request.v20140526.AllocateEipAddressRequest import AllocateEipAddressRequest
from aliyunsdkecs.request.v20140526.AllocatePublicIpAddressRequest import AllocatePublicIpAddressRequest
from aliyunsdkecs.request.v20140526.AssociateEipAddressRequest import AssociateEipAddressRequest
from aliyunsdkecs.request.v20140526.DescribeEipAddressesRequest import DescribeEipAddressesRequest
from aliyunsdkecs.request.v20140526.ModifyInstanceNetworkSpecRequest import ModifyInstanceNetworkSpecRequest
from aliyunsdkecs.request.v20140526.ReleaseEipAddressRequest import ReleaseEipAddressRequest
from aliyunsdkecs.request.v20140526.UnassociateEipAddressRequest import UnassociateEipAddressRequest
from darabonba.exceptions import DaraException

from agent.store.schema import Job
from tests.support.cloud import Cloud


@pytest.fixture
def instance_id(cloud: Cloud) -> str:
    _, vswitch_id = cloud.default_vswitch()
    return cloud.add_instance(vswitch_id, [])


def finish(cloud: Cloud) -> None:
    with cloud.store.write() as session:
        session.query(Job).update({"state": "succeeded"})


def test_the_current_sdk(tea: Client, cloud: Cloud, instance_id: str) -> None:
    made = tea.allocate_eip_address(models.AllocateEipAddressRequest(region_id="local", bandwidth="10")).body
    both = {"allocation_id": made.allocation_id, "instance_id": instance_id, "region_id": "local"}
    tea.associate_eip_address(models.AssociateEipAddressRequest(**both))
    listing = models.DescribeEipAddressesRequest(region_id="local", associated_instance_id=instance_id)
    [shown] = tea.describe_eip_addresses(listing).body.eip_addresses.eip_address
    assert (shown.ip_address, shown.status, shown.bandwidth) == (made.eip_address, "Associating", "10")
    with pytest.raises(DaraException) as caught:
        tea.release_eip_address(models.ReleaseEipAddressRequest(allocation_id=made.allocation_id, region_id="local"))
    assert caught.value.code == "IncorrectEipStatus"
    finish(cloud)
    change = models.ModifyEipAddressAttributeRequest(
        allocation_id=made.allocation_id, bandwidth="20", region_id="local"
    )
    tea.modify_eip_address_attribute(change)
    [found] = tea.describe_instances(
        models.DescribeInstancesRequest(region_id="local", eip_addresses=json.dumps([made.eip_address]))
    ).body.instances.instance
    assert (found.eip_address.ip_address, found.eip_address.bandwidth) == (made.eip_address, 20)
    tea.unassociate_eip_address(models.UnassociateEipAddressRequest(**both))
    finish(cloud)
    change_spec = models.ModifyInstanceNetworkSpecRequest(
        instance_id=instance_id, internet_max_bandwidth_out=5, internet_max_bandwidth_in=6, allocate_public_ip=True
    )
    tea.modify_instance_network_spec(change_spec)
    [found] = tea.describe_instances(models.DescribeInstancesRequest(region_id="local")).body.instances.instance
    [own] = found.public_ip_address.ip_address
    assert (found.internet_max_bandwidth_in, found.internet_max_bandwidth_out) == (6, 5)
    tea.release_public_ip_address(
        models.ReleasePublicIpAddressRequest(region_id="local", instance_id=instance_id, public_ip_address=own)
    )


def test_the_first_sdk(core: Any, cloud: Cloud, instance_id: str) -> None:
    asked = AllocateEipAddressRequest()
    asked.set_Bandwidth("10")
    allocation_id = json.loads(core(asked))["AllocationId"]
    for request in (AssociateEipAddressRequest(), UnassociateEipAddressRequest()):
        request.set_AllocationId(allocation_id)
        request.set_InstanceId(instance_id)
        core(request)
        finish(cloud)
    [shown] = json.loads(core(DescribeEipAddressesRequest()))["EipAddresses"]["EipAddress"]
    assert shown["Status"] == "Available"
    released = ReleaseEipAddressRequest()
    released.set_AllocationId(allocation_id)
    core(released)
    spec = ModifyInstanceNetworkSpecRequest()
    spec.set_InstanceId(instance_id)
    spec.set_InternetMaxBandwidthOut(5)
    core(spec)
    address = AllocatePublicIpAddressRequest()
    address.set_InstanceId(instance_id)
    assert json.loads(core(address))["IpAddress"]
    with pytest.raises(ServerException) as caught:
        core(address)
    assert (caught.value.get_http_status(), caught.value.get_error_code()) == (400, "AllocatedAlready")


def test_the_vpc_version_by_the_first_sdk(core: Any, cloud: Cloud, instance_id: str) -> None:
    def call(action: str, **params: str) -> dict[str, Any]:
        request = CommonRequest(product="Vpc", version="2016-04-28", action_name=action)
        for name, value in params.items():
            request.add_query_param(name, value)
        answer: dict[str, Any] = json.loads(core(request))
        return answer

    allocation_id = call("AllocateEipAddress", Bandwidth="10", Name="front", InternetChargeType="PayByBandwidth")[
        "AllocationId"
    ]
    call("AssociateEipAddress", AllocationId=allocation_id, InstanceId=instance_id, InstanceType="EcsInstance")
    finish(cloud)
    [shown] = call("DescribeEipAddresses", AllocationId=allocation_id)["EipAddresses"]["EipAddress"]
    assert (shown["Name"], shown["Status"], shown["Mode"]) == ("front", "InUse", "NAT")
    call("UnassociateEipAddress", AllocationId=allocation_id)
    finish(cloud)
    call("ReleaseEipAddress", AllocationId=allocation_id)
