"""Route tables and their entries over the API, in both versions (SPEC N1)."""

from __future__ import annotations

from typing import Any

import pytest

from agent.api.edge.registry import ECS, VPC
from agent.core.errors import ApiError
from agent.core.ids import is_id
from agent.jobs.translate_filter import FilterSpecs
from agent.jobs.translate_network import vpc_spec
from agent.store.schema import Vpc
from tests.support.cloud import Cloud

SERVICES = "100.64.0.0/10"


class Table:
    """The default VPC's route table, with an instance to route by."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.vpc_id, self.vswitch_id = cloud.default_vswitch()
        [shown] = cloud.call("DescribeRouteTables", {"VpcId": self.vpc_id}, version=VPC)["RouteTables"]["RouteTable"]
        self.id = shown["RouteTableId"]
        group = cloud.call("CreateSecurityGroup", {"VpcId": self.vpc_id})["SecurityGroupId"]
        self.instance_id = cloud.add_instance(self.vswitch_id, [group])

    def add(self, cidr: str, version: str = VPC, **params: Any) -> str:
        if not params:
            params = {"NextHopId": self.instance_id}
        given = {"RouteTableId": self.id, "DestinationCidrBlock": cidr} | params
        return self.cloud.call("CreateRouteEntry", given, version=version)["RouteEntryId"]

    def code(self, cidr: str, **params: Any) -> str:
        with pytest.raises(ApiError) as caught:
            self.add(cidr, **params)
        return caught.value.code

    def list(self, **params: Any) -> list[dict[str, Any]]:
        return self.answer(**params)["RouteEntrys"]["RouteEntry"]

    def answer(self, **params: Any) -> dict[str, Any]:
        return self.cloud.call("DescribeRouteEntryList", {"RouteTableId": self.id} | params, version=VPC)


@pytest.fixture
def table(cloud: Cloud) -> Table:
    return Table(cloud)


@pytest.mark.parametrize("version", [ECS, VPC])
def test_an_entry_lives_from_creation_to_deletion(cloud: Cloud, table: Table, version: str) -> None:
    assert is_id("routeentry", table.add("10.9.0.0/16", version))
    job = cloud.jobs("vpc.sync")[-1].id
    assert cloud.runner.waited == [job]  # answered when it is in force
    [shown] = cloud.call("DescribeRouteTables", {"RouteTableId": table.id}, version=version)["RouteTables"][
        "RouteTable"
    ]
    found = {e["DestinationCidrBlock"]: e for e in shown["RouteEntrys"]["RouteEntry"]}
    assert {cidr: (e["Type"], e["NextHopType"], e["InstanceId"]) for cidr, e in found.items()} == {
        "172.16.0.0/20": ("System", "local", ""),
        SERVICES: ("System", "service", ""),
        "10.9.0.0/16": ("Custom", "Instance", table.instance_id),
    }
    params = {"RouteTableId": table.id, "DestinationCidrBlock": "10.9.0.0/16", "NextHopId": table.instance_id}
    cloud.call("DeleteRouteEntry", params, version=version)
    assert [e["Type"] for e in table.list()] == ["System", "System"]


def test_what_the_router_and_the_filter_are_told(cloud: Cloud, table: Table) -> None:
    [interface] = cloud.interfaces()
    table.add("10.9.0.0/16")
    table.add("10.8.0.1", NextHopType="NetworkInterface", NextHopId=interface.id)
    table.add("192.168.178.0/24", NextHopType="Host")
    with cloud.store.read() as session:
        spec = vpc_spec(session, session.get_one(Vpc, table.vpc_id))
        [member] = FilterSpecs().read(session, table.vpc_id, cloud.services.config).members
    assert {(r.cidr, r.tap, r.via) for r in spec.routes} == {
        ("10.9.0.0/16", interface.tap, interface.ip),
        ("10.8.0.1/32", interface.tap, interface.ip),
        ("192.168.178.0/24", "", ""),
    }
    assert set(member.forwards) == {"10.9.0.0/16", "10.8.0.1/32"}


def test_the_list_of_entries_filters_and_pages(table: Table) -> None:
    one = table.add("10.9.0.0/16", NextHopId=table.instance_id, RouteEntryName="office", Description="by VPN")
    table.add("0.0.0.0/0", NextHopType="Host")
    [shown] = table.list(RouteEntryId=one)
    assert (shown["RouteEntryName"], shown["Description"], shown["Status"]) == ("office", "by VPN", "Available")
    assert shown["IpVersion"] == "IPv4"
    assert shown["NextHops"]["NextHop"][0]["NextHopId"] == table.instance_id

    def listed(**params: Any) -> list[str]:
        return [entry["DestinationCidrBlock"] for entry in table.list(**params)]

    assert listed() == ["172.16.0.0/20", SERVICES, "10.9.0.0/16", "0.0.0.0/0"]
    assert listed(RouteEntryType="Custom") == ["10.9.0.0/16", "0.0.0.0/0"]
    assert listed(NextHopType="Host") == listed(DestinationCidrBlock="0.0.0.0/0") == ["0.0.0.0/0"]
    assert listed(NextHopId=table.instance_id) == listed(RouteEntryName="office") == ["10.9.0.0/16"]
    assert listed(**{"DestCidrBlockList.1": SERVICES, "DestCidrBlockList.2": "0.0.0.0/0"}) == [SERVICES, "0.0.0.0/0"]
    assert listed(IpVersion="IPv6") == []
    first = table.answer(MaxResult=3)
    assert (first["TotalCount"], len(first["RouteEntrys"]["RouteEntry"])) == (4, 3)
    assert listed(NextToken=first["NextToken"], MaxResult=3) == ["0.0.0.0/0"]


def test_destinations_and_next_hops_that_cannot_be(cloud: Cloud, table: Table) -> None:
    table.add("10.9.0.0/16")
    assert table.add("172.16.0.0/12")  # around a VSwitch: its instances are reached directly all the same
    for cidr, code in {
        "10.9.0.0/16": "RouterEntryConflict.Duplicated",
        "172.16.0.0/20": "InvalidCIDRBlock.Duplicate",
        "172.16.4.0/24": "InvalidCIDRBlock.Duplicate",
        SERVICES: "Forbidden.DestinationCidrBlock",
        "100.100.100.200": "Forbidden.DestinationCidrBlock",
        "127.0.0.0/16": "InvalidDestinationCidrBlock.Malformed",
        "224.0.0.0/4": "InvalidDestinationCidrBlock.Malformed",
        "0.0.0.0/8": "InvalidDestinationCidrBlock.Malformed",
        "10.0.0.1/8": "InvalidDestinationCidrBlock.Malformed",
        "fd00::/8": "InvalidDestinationCidrBlock.Malformed",
    }.items():
        assert (cidr, table.code(cidr)) == (cidr, code)
    other_vpc = cloud.call("CreateVpc", {"CidrBlock": "192.168.0.0/16"})["VpcId"]
    params = {"VpcId": other_vpc, "ZoneId": "local-a", "CidrBlock": "192.168.0.0/24"}
    elsewhere = cloud.add_instance(cloud.call("CreateVSwitch", params)["VSwitchId"], [])
    cidr = "10.7.0.0/16"
    assert table.code(cidr, NextHopId=elsewhere) == "InvalidNextHopId.Mismatch"
    assert table.code(cidr, NextHopId="i-none") == "InvalidInstanceId.NotFound"
    assert table.code(cidr, NextHopId="eni-none", NextHopType="NetworkInterface") == "InvalidNextHopId.NotFound"
    assert table.code(cidr, NextHopId="vpn-1", NextHopType="VpnGateway") == "InvalidNextHopType"
    assert table.code(cidr, NextHopType="Instance") == "MissingParameter"
    assert table.code(cidr, RouteTableId="vtb-none", NextHopType="Host") == "InvalidRouteTableId.NotFound"
    several = {f"NextHopList.{n}.NextHopId": table.instance_id for n in (1, 2)}
    assert table.code(cidr, **several) == "UnsupportedParameter"
    assert table.add(cidr, **{"NextHopList.1.NextHopId": table.instance_id, "NextHopList.1.NextHopType": "Instance"})


def test_a_vswitch_is_not_made_around_a_destination(cloud: Cloud, table: Table) -> None:
    table.add("172.16.32.7")
    params = {"VpcId": table.vpc_id, "ZoneId": "local-a", "CidrBlock": "172.16.32.0/24"}
    with pytest.raises(ApiError) as caught:
        cloud.call("CreateVSwitch", params)
    assert caught.value.code == "InvalidCidrBlock.Overlapped"


def test_a_table_is_full_at_its_quota_and_dry_runs_add_nothing(make_cloud: Any) -> None:
    table = Table(make_cloud(quotas={"route_entries_per_table": 2}))
    with pytest.raises(ApiError, match="DryRun"):
        table.add("10.1.0.0/16", NextHopType="Host", DryRun=True)
    table.add("10.1.0.0/16")
    table.add("10.2.0.0/16")
    assert table.code("10.3.0.0/16") == "QuotaExceeded.RouteEntry"


def test_entries_are_deleted_by_what_names_them(cloud: Cloud, table: Table) -> None:
    entry = table.add("10.9.0.0/16")

    def code(params: dict[str, object], **who: str) -> str:
        with pytest.raises(ApiError) as caught:
            cloud.call("DeleteRouteEntry", params, version=VPC, **who)
        return caught.value.code

    here = {"RouteTableId": table.id}
    gone = "InvalidRouteEntry.NotFound"
    assert code(here) == "MissingParameter"
    assert code({**here, "DestinationCidrBlock": "10.8.0.0/16"}) == gone
    assert code({**here, "DestinationCidrBlock": "172.16.0.0/20"}) == gone  # the system's own
    assert code({**here, "DestinationCidrBlock": "10.9.0.0/16", "NextHopId": "i-other"}) == gone
    assert code({"RouteEntryId": entry}, account_id=cloud.add_account()) == gone
    assert code({"RouteEntryId": entry, "DestinationCidrBlock": "10.8.0.0/16"}) == gone
    assert code({"RouteEntryId": entry, "RouteTableId": "vtb-none"}) == "InvalidRouteTableId.NotFound"
    cloud.call("DeleteRouteEntry", {"RouteEntryId": entry}, version=VPC)
    assert code({"RouteEntryId": entry}) == gone


def test_another_account_s_table_is_nobody_s(cloud: Cloud, table: Table) -> None:
    other = cloud.add_account()
    for action in ("DescribeRouteEntryList", "CreateRouteEntry"):
        params = {"RouteTableId": table.id, "DestinationCidrBlock": "10.0.0.0/8", "NextHopType": "Host"}
        with pytest.raises(ApiError) as caught:
            cloud.call(action, params, version=VPC, account_id=other)
        assert caught.value.code == "InvalidRouteTableId.NotFound"
    assert cloud.call("DescribeRouteTableList", version=VPC, account_id=other)["TotalCount"] == 0
    assert cloud.call("DescribeRouteTableList", {"RouteTableName": "x"}, version=VPC)["TotalCount"] == 0


def test_a_vpc_with_routes_can_be_deleted_once_it_is_empty(cloud: Cloud) -> None:
    made = cloud.call("CreateVpc", {"CidrBlock": "192.168.0.0/16"})
    params = {"RouteTableId": made["RouteTableId"], "DestinationCidrBlock": "10.0.0.0/8", "NextHopType": "Host"}
    cloud.call("CreateRouteEntry", params)
    cloud.call("DeleteVpc", {"VpcId": made["VpcId"]})
    assert cloud.call("DescribeRouteTableList", version=VPC)["TotalCount"] == 0
