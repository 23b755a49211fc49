"""Ports of the host that lead to instances, over the API."""

from __future__ import annotations

import pytest

from agent.api.edge.registry import HOST
from agent.config import Config, ConfigError
from agent.core.errors import ApiError
from agent.core.specs import ForwardSpec
from agent.jobs.translate_network import vpc_spec
from agent.services import port_forward
from agent.store.schema import Vpc
from tests.support.cloud import Cloud


def create(cloud: Cloud, account_id: str = "", **params: object) -> str:
    wanted = {"HostPort": 8080, "Port": 80, **params}
    return cloud.call("CreatePortForward", wanted, version=HOST, account_id=account_id)["PortForwardId"]


def code_of(cloud: Cloud, **params: object) -> str:
    with pytest.raises(ApiError) as caught:
        create(cloud, **params)  # type: ignore[arg-type]
    return caught.value.code


def forwards(cloud: Cloud) -> list[ForwardSpec]:
    with cloud.store.read() as session:
        return [one for vpc in session.query(Vpc) for one in vpc_spec(session, vpc).forwards]


def test_a_port_leads_to_an_instance_until_it_is_given_back(cloud: Cloud) -> None:
    vpc_id, vswitch_id = cloud.default_vswitch()
    instance_id = cloud.add_instance(vswitch_id, [])
    forward_id = create(cloud, InstanceId=instance_id, Description="the shop")
    udp = create(cloud, InstanceId=instance_id, Protocol="UDP", HostAddress="127.0.0.1")
    [ip] = [interface.ip for interface in cloud.interfaces()]
    assert sorted(forwards(cloud), key=lambda one: one.protocol) == [
        ForwardSpec("tcp", "", 8080, ip, 80),
        ForwardSpec("udp", "127.0.0.1", 8080, ip, 80),
    ]
    assert {job.resource_id for job in cloud.jobs("vpc.sync")} == {vpc_id}
    assert len(cloud.runner.waited) == 2
    listed = cloud.call("DescribePortForwards", {"InstanceId": instance_id, "Protocol": "tcp"}, version=HOST)
    [shown] = listed["PortForwards"]["PortForward"]
    assert shown == {
        "PortForwardId": forward_id,
        "Protocol": "tcp",
        "HostAddress": "",
        "HostPort": 8080,
        "InstanceId": instance_id,
        "PrivateIpAddress": ip,
        "Port": 80,
        "Description": "the shop",
        "CreationTime": "2026-11-23T07:35:12Z",
    }
    cloud.call("DeletePortForward", {"PortForwardId": forward_id}, version=HOST)
    left = cloud.call("DescribePortForwards", {"HostPort": 8080}, version=HOST)["PortForwards"]["PortForward"]
    assert [one["PortForwardId"] for one in left] == [udp]
    with pytest.raises(ApiError) as caught:
        cloud.call("DeletePortForward", {"PortForwardId": forward_id}, version=HOST)
    assert caught.value.code == "InvalidPortForwardId.NotFound"


def test_ports_that_are_refused(make_cloud) -> None:
    cloud: Cloud = make_cloud(quotas={"port_forwards": 2})
    _, vswitch_id = cloud.default_vswitch()
    instance_id = cloud.add_instance(vswitch_id, [])
    cloud.network.taken.add(("tcp", 8800))
    create(cloud, InstanceId=instance_id)
    create(cloud, InstanceId=instance_id, HostPort=8081, HostAddress="192.168.7.10")
    for params, code in (
        ({"HostPort": 0}, "InvalidHostPort.ValueNotSupported"),
        ({"HostPort": 65536}, "InvalidHostPort.ValueNotSupported"),
        ({"Port": 0}, "InvalidPort.ValueNotSupported"),
        ({"Protocol": "gre"}, "InvalidParameter"),
        ({"HostPort": 8800}, "InvalidHostPort.InUse"),
        ({}, "InvalidHostPort.InUse"),
        ({"HostAddress": "127.0.0.1"}, "InvalidHostPort.InUse"),
        ({"HostPort": 8081}, "InvalidHostPort.InUse"),
        ({"HostPort": 8082, "HostAddress": "192.168.7.11"}, "InvalidHostAddress.NotFound"),
        ({"HostPort": 8082, "HostAddress": "here"}, "InvalidHostAddress.Malformed"),
        ({"HostPort": 8082, "InstanceId": "i-x"}, "InvalidInstanceId.NotFound"),
        ({"HostPort": 8081, "HostAddress": "127.0.0.1"}, "QuotaExceed.PortForward"),
    ):
        assert code_of(cloud, **{"InstanceId": instance_id, **params}) == code, params


def test_low_ports_are_for_the_hosts_owner(make_cloud) -> None:
    cloud: Cloud = make_cloud(port_forwards="all")
    _, vswitch_id = cloud.default_vswitch()
    create(cloud, InstanceId=cloud.add_instance(vswitch_id, []), HostPort=443)
    theirs = cloud.add_account()
    for port, code in ((1023, "InvalidHostPort.ValueNotSupported"), (1024, "InvalidInstanceId.NotFound")):
        assert code_of(cloud, InstanceId="i-x", HostPort=port, account_id=theirs) == code


def test_the_hosts_owner_decides_who_may_have_ports(make_cloud) -> None:
    for setting, code in (("owner", "Forbidden.RAM"), ("all", "InvalidInstanceId.NotFound")):
        cloud: Cloud = make_cloud(port_forwards=setting)
        assert code_of(cloud, InstanceId="i-x", account_id=cloud.add_account()) == code
    with pytest.raises(ConfigError, match="port_forwards"):
        port_forward.check(Config(port_forwards="some"))
