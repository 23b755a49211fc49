"""Route tables and network interfaces by both generations of the public SDK, unmodified, over the wire."""

from __future__ import annotations

import json
from typing import Any

from alibabacloud_ecs20140526 import models
from alibabacloud_ecs20140526.client import Client
from aliyunsdkcore.request import CommonRequest
from aliyunsdkecs.request.v20140526.DescribeNetworkInterfacesRequest import DescribeNetworkInterfacesRequest

from tests.support.cloud import Cloud


def test_the_current_sdk(tea: Client, cloud: Cloud) -> None:
    vpc_id, vswitch_id = cloud.default_vswitch()
    instance_id = cloud.add_instance(vswitch_id, [])
    by_instance = models.DescribeNetworkInterfacesRequest(region_id="local", instance_id=instance_id)
    [interface] = tea.describe_network_interfaces(by_instance).body.network_interface_sets.network_interface_set
    assert (interface.vpc_id, interface.private_ip_address, interface.type) == (vpc_id, "172.16.0.1", "Primary")
    more = models.AssignPrivateIpAddressesRequest(
        region_id="local",
        network_interface_id=interface.network_interface_id,
        secondary_private_ip_address_count=2,
    )
    given = tea.assign_private_ip_addresses(more).body.assigned_private_ip_addresses_set.private_ip_set
    assert given.private_ip_address == ["172.16.0.2", "172.16.0.3"]
    less = models.UnassignPrivateIpAddressesRequest(
        region_id="local",
        network_interface_id=interface.network_interface_id,
        private_ip_address=["172.16.0.2"],
    )
    tea.unassign_private_ip_addresses(less)
    [interface] = tea.describe_network_interfaces(by_instance).body.network_interface_sets.network_interface_set
    sets = interface.private_ip_sets.private_ip_set
    assert [(one.private_ip_address, one.primary) for one in sets] == [("172.16.0.1", True), ("172.16.0.3", False)]
    [table] = tea.describe_route_tables(
        models.DescribeRouteTablesRequest(region_id="local")
    ).body.route_tables.route_table
    route = {"route_table_id": table.route_table_id, "destination_cidr_block": "10.9.0.0/16"}
    tea.create_route_entry(models.CreateRouteEntryRequest(region_id="local", next_hop_id=instance_id, **route))
    [table] = tea.describe_route_tables(
        models.DescribeRouteTablesRequest(region_id="local")
    ).body.route_tables.route_table
    assert [one.instance_id for one in table.route_entrys.route_entry if one.type == "Custom"] == [instance_id]
    tea.delete_route_entry(models.DeleteRouteEntryRequest(region_id="local", next_hop_id=instance_id, **route))


def test_the_former_sdk(core: Any, cloud: Cloud) -> None:
    _, vswitch_id = cloud.default_vswitch()
    instance_id = cloud.add_instance(vswitch_id, [])
    request = DescribeNetworkInterfacesRequest()
    request.set_PrivateIpAddresss(["172.16.0.1"])
    [interface] = json.loads(core(request))["NetworkInterfaceSets"]["NetworkInterfaceSet"]
    assert interface["InstanceId"] == instance_id

    def of_vpc(action: str, **params: str) -> dict[str, Any]:
        asked = CommonRequest(product="Vpc", version="2016-04-28", action_name=action)
        for name, value in params.items():
            asked.add_query_param(name, value)
        return json.loads(core(asked))

    table = of_vpc("DescribeRouteTableList")["RouterTableList"]["RouterTableListType"][0]["RouteTableId"]
    made = of_vpc("CreateRouteEntry", RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NextHopId=instance_id)
    listed = of_vpc("DescribeRouteEntryList", RouteTableId=table, RouteEntryType="Custom")["RouteEntrys"]["RouteEntry"]
    assert [one["RouteEntryId"] for one in listed] == [made["RouteEntryId"]]
    of_vpc("DeleteRouteEntry", RouteEntryId=made["RouteEntryId"])
