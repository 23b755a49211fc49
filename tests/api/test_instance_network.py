"""Public addresses and bandwidth of instances over the API (SPEC N3, N6, I8)."""

from __future__ import annotations

from typing import Any

import pytest

from agent.api.edge.registry import VPC
from agent.core.errors import ApiError
from agent.jobs.translate_network import port_spec, vpc_spec
from agent.store.schema import Instance, Vpc
from tests.support.cloud import Cloud

RUN = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small"}


@pytest.fixture
def ready(make_cloud) -> Cloud:
    cloud: Cloud = make_cloud(public_addresses=["203.0.113.8/30"], minimum_disk_gib={"system": 1})
    cloud.add_image()
    cloud.default_vswitch()
    return cloud


def code_of(cloud: Cloud, action: str, **params: object) -> str:
    with pytest.raises(ApiError) as caught:
        cloud.call(action, params)
    return caught.value.code


def only(cloud: Cloud, **params: object) -> dict[str, Any]:
    [found] = cloud.call("DescribeInstances", params)["Instances"]["Instance"]
    return found


def stopped(cloud: Cloud, **params: object) -> str:
    instance_id: str = cloud.call("CreateInstance", {**RUN, **params})["InstanceId"]
    with cloud.store.write() as session:
        session.get_one(Instance, instance_id).status = "Stopped"
    return instance_id


def limits(cloud: Cloud) -> tuple[int, int]:
    """(in, out) of the only port, in kbit/s, as its driver is told."""
    with cloud.store.read() as session:
        [instance] = session.query(Instance)
        port = port_spec(instance, instance.interfaces[0])
        return port.inbound_kbit, port.outbound_kbit


def publics(cloud: Cloud) -> list[str]:
    """As the router is told."""
    with cloud.store.read() as session:
        return [one.address for vpc in session.query(Vpc) for one in vpc_spec(session, vpc).publics]


def test_an_instance_comes_with_an_address_where_bandwidth_is_asked_for(ready: Cloud) -> None:
    ready.call(
        "RunInstances", {**RUN, "Amount": 2, "InternetMaxBandwidthOut": 20, "InternetChargeType": "PayByBandwidth"}
    )
    rows = ready.call("DescribeInstances")["Instances"]["Instance"]
    assert {ip for row in rows for ip in row["PublicIpAddress"]["IpAddress"]} == {"203.0.113.8", "203.0.113.9"}
    assert {(r["InternetMaxBandwidthIn"], r["InternetMaxBandwidthOut"], r["InternetChargeType"]) for r in rows} == {
        (20, 20, "PayByBandwidth")
    }
    assert rows[0]["EipAddress"]["AllocationId"] == ""
    ip = rows[0]["PublicIpAddress"]["IpAddress"][0]
    assert only(ready, PublicIpAddresses=f'["{ip}"]')["InstanceId"] == rows[0]["InstanceId"]
    assert ready.call("DescribeInstances", {"InternetChargeType": "PayByTraffic"})["TotalCount"] == 0
    assert ready.call("DescribeEipAddresses", version=VPC)["TotalCount"] == 0
    assert code_of(ready, "RunInstances", **RUN, Amount=3, InternetMaxBandwidthOut=1) == "ReserveIpFail"
    assert ready.call("DescribeInstances")["TotalCount"] == 2


def test_an_instance_that_is_only_created_gets_its_address_when_asked_for(ready: Cloud) -> None:
    instance_id = stopped(ready, InternetMaxBandwidthOut=5)
    assert only(ready)["PublicIpAddress"] == {"IpAddress": []}
    assert limits(ready) == (0, 0), "without an address nothing is limited"
    given = ready.call("AllocatePublicIpAddress", {"InstanceId": instance_id, "IpAddress": "203.0.113.10"})
    assert given["IpAddress"] == "203.0.113.10"
    assert publics(ready) == ["203.0.113.10"]
    assert limits(ready) == (10 * 1024, 5 * 1024)
    assert ready.runner.waited == [job.id for job in ready.jobs("instance.network")]
    assert code_of(ready, "AllocatePublicIpAddress", InstanceId=instance_id) == "AllocatedAlready"
    allocation_id = ready.call("AllocateEipAddress", version=VPC)["AllocationId"]
    both = {"AllocationId": allocation_id, "InstanceId": instance_id}
    assert code_of(ready, "AssociateEipAddress", **both) == "InvalidAssociation.Duplicated"
    assert code_of(ready, "ReleasePublicIpAddress", PublicIpAddress="203.0.113.9") == "InvalidIpAddress.NotFound"
    ready.call("ReleasePublicIpAddress", {"InstanceId": instance_id, "PublicIpAddress": "203.0.113.10"})
    assert (publics(ready), only(ready)["PublicIpAddress"]) == ([], {"IpAddress": []})
    ready.call("AssociateEipAddress", both)
    assert limits(ready) == (5 * 1024, 5 * 1024), "an EIP has its own bandwidth"
    assert code_of(ready, "AllocatePublicIpAddress", InstanceId=instance_id) == "AllocatedAlready"


def test_bandwidth_changes_live(ready: Cloud) -> None:
    instance_id = stopped(ready)

    def change(**params: object) -> None:
        ready.call("ModifyInstanceNetworkSpec", {"InstanceId": instance_id, **params})

    assert code_of(ready, "AllocatePublicIpAddress", InstanceId=instance_id) == "InvalidOperation.NoPublicBandwidth"
    change(InternetMaxBandwidthOut=3)
    assert (ready.jobs("instance.network"), publics(ready)) == ([], []), "no address, nothing to do"
    change(AllocatePublicIp=True, NetworkChargeType="PayByBandwidth")
    assert (publics(ready), limits(ready)) == (["203.0.113.8"], (10 * 1024, 3 * 1024))
    change(AllocatePublicIp=True, InternetMaxBandwidthOut=200, InternetMaxBandwidthIn=1)
    assert (publics(ready), limits(ready)) == (["203.0.113.8"], (1024, 200 * 1024))
    row = only(ready)
    assert (row["InternetMaxBandwidthIn"], row["InternetMaxBandwidthOut"]) == (1, 200)
    assert row["InternetChargeType"] == "PayByBandwidth"
    change(InternetMaxBandwidthOut=0)
    assert (publics(ready), limits(ready)) == ([], (0, 0))
    ready.call("ModifyInstanceSpec", {"InstanceId": instance_id, "InternetMaxBandwidthOut": 7})
    assert only(ready)["InternetMaxBandwidthOut"] == 7


def test_bandwidth_that_is_refused(ready: Cloud) -> None:
    instance_id = stopped(ready)
    for params, code in (
        ({"InternetMaxBandwidthOut": 201}, "InvalidInternetMaxBandwidthOut.ValueNotSupported"),
        ({"InternetMaxBandwidthOut": -1}, "InvalidInternetMaxBandwidthOut.ValueNotSupported"),
        ({"InternetMaxBandwidthIn": 0}, "InvalidInternetMaxBandwidthIn.ValueNotSupported"),
        ({"NetworkChargeType": "x"}, "InvalidNetworkChargeType.ValueNotSupported"),
        ({"AllocatePublicIp": True}, "InvalidOperation.NoPublicBandwidth"),
        ({"StartTime": "2026-12-01T00:00Z"}, "UnsupportedParameter"),
        ({"InstanceId": "i-x"}, "InvalidInstanceId.NotFound"),
    ):
        assert code_of(ready, "ModifyInstanceNetworkSpec", **{"InstanceId": instance_id, **params}) == code, params
