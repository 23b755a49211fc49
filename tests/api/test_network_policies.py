"""What policies say of an instance or a route table holds however a call names it."""

from __future__ import annotations

import pytest

from agent.api.edge.registry import VPC
from agent.core.errors import ApiError
from tests.support.cloud import Cloud


def test_what_is_denied_is_denied_by_every_name(cloud: Cloud) -> None:
    vpc_id, vswitch_id = cloud.default_vswitch()
    group, forbidden = (cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"] for _ in range(2))
    kept, other = (cloud.add_instance(vswitch_id, [group]) for _ in range(2))
    with cloud.store.write() as session:
        session.connection().exec_driver_sql("UPDATE instances SET status = 'Stopped'")
    interface = next(one for one in cloud.interfaces() if one.instance_id == kept)
    table = cloud.call("DescribeVpcs", version=VPC)["Vpcs"]["Vpc"][0]["RouterTableIds"]["RouterTableIds"][0]
    hop = {"RouteTableId": table, "DestinationCidrBlock": "10.9.0.0/16", "NextHopId": other}
    entry = cloud.call("CreateRouteEntry", hop, version=VPC)["RouteEntryId"]
    free, bound = (cloud.call("AllocateEipAddress", version=VPC)["AllocationId"] for _ in range(2))
    cloud.call("ModifyInstanceNetworkSpec", {"InstanceId": kept, "InternetMaxBandwidthOut": 1})
    own = cloud.call("AllocatePublicIpAddress", {"InstanceId": kept})["IpAddress"]
    denied = [f"instance/{kept}", f"routetable/{table}", f"securitygroup/{forbidden}"]
    cloud.add_role(
        "operator",
        {"Effect": "Allow", "Action": ["ecs:*", "vpc:*"], "Resource": "*"},
        {"Effect": "Deny", "Action": ["ecs:*", "vpc:*"], "Resource": [f"acs:*:*:*:{name}" for name in denied]},
    )
    who = cloud.assumed("operator")
    elsewhere = {"InstanceId": other, "VSwitchId": vswitch_id, "SecurityGroupId.1": forbidden}
    by_interface = {"InstanceId": interface.id, "InstanceType": "NetworkInterface"}

    def refused(action: str, params: dict[str, object], **version: str) -> None:
        with pytest.raises(ApiError) as caught:
            cloud.call(action, params, identity=who, **version)
        assert (action, caught.value.code) == (action, "Forbidden.RAM")

    refused("DeleteRouteEntry", {"RouteEntryId": entry}, version=VPC)
    refused("AssociateEipAddress", {"AllocationId": free, **by_interface}, version=VPC)
    refused("ReleasePublicIpAddress", {"PublicIpAddress": own})
    refused("ModifyInstanceVpcAttribute", elsewhere)
    cloud.call("ReleasePublicIpAddress", {"PublicIpAddress": own})
    cloud.call("AssociateEipAddress", {"AllocationId": bound, "InstanceId": kept}, version=VPC)
    refused("UnassociateEipAddress", {"AllocationId": bound}, version=VPC)
    cloud.call("AssociateEipAddress", {"AllocationId": free, "InstanceId": other}, version=VPC, identity=who)
