"""Rows about networks as what the driver is told of routers and ports."""

from __future__ import annotations

from agent.core import ids
from agent.core.specs import ForwardSpec, PublicSpec, RouteSpec
from agent.jobs.translate_network import port_spec, vpc_spec
from agent.store.schema import (
    Instance,
    NetworkInterface,
    PortForward,
    PublicAddress,
    RouteEntry,
    SecondaryAddress,
    Vpc,
    VSwitch,
)
from tests.support.cloud import START, Cloud

SECONDARY = "172.16.0.77"


def public(
    cloud: Cloud, ip: str, kind: str, bandwidth: int, interface: NetworkInterface, private_ip: str | None = None
):
    return PublicAddress(
        id=ids.new_id("eip"),
        account_id=cloud.account_id,
        kind=kind,
        ip=ip,
        bandwidth_mbps=bandwidth,
        interface_id=interface.id,
        private_ip=private_ip,
        created_at=START,
    )


def forwarded(cloud: Cloud, interface: NetworkInterface) -> PortForward:
    return PortForward(
        id=ids.new_id("portforward"),
        account_id=cloud.account_id,
        protocol="udp",
        host_port=5353,
        interface_id=interface.id,
        port=53,
        created_at=START,
    )


def test_the_router_is_told_everything_that_hangs_on_it_and_nothing_of_another(cloud: Cloud) -> None:
    vpc_id, vswitch_id = cloud.default_vswitch()
    cloud.add_instance(vswitch_id, [])
    other = cloud.call("CreateVpc", {"CidrBlock": "172.16.0.0/12"})["VpcId"]
    [interface] = cloud.interfaces()
    routes = (("10.8.0.0/16", "Instance", interface.id), ("10.9.0.0/16", "Host", None))
    with cloud.store.write() as session:
        session.add_all(
            RouteEntry(
                id=ids.new_id("routeentry"),
                vpc_id=vpc_id,
                cidr=cidr,
                next_hop_type=kind,
                interface_id=hop,
                created_at=START,
            )
            for cidr, kind, hop in routes
        )
        session.add(public(cloud, "203.0.113.1", "eip", 5, interface))
        session.add(public(cloud, "203.0.113.2", "eip", 5, interface, SECONDARY))
        session.add(forwarded(cloud, interface))
    with cloud.store.read() as session:
        spec = vpc_spec(session, session.get_one(Vpc, vpc_id))
        beside = vpc_spec(session, session.get_one(Vpc, other))
    assert (spec.cidr, spec.gateways, spec.nat) == ("172.16.0.0/16", ("172.16.15.253",), ("172.16.0.0/20",))
    assert set(spec.routes) == {RouteSpec("10.8.0.0/16", interface.tap, interface.ip), RouteSpec("10.9.0.0/16")}
    assert spec.publics == (PublicSpec("203.0.113.1", interface.ip), PublicSpec("203.0.113.2", SECONDARY))
    assert spec.forwards == (ForwardSpec("udp", "", 5353, interface.ip, 53),)
    assert (beside.nat, beside.routes, beside.publics, beside.forwards) == ((), (), (), ())
    with cloud.store.write() as session:
        session.get_one(VSwitch, vswitch_id).nat = False
    with cloud.store.read() as session:
        assert vpc_spec(session, session.get_one(Vpc, vpc_id)).nat == ()


def test_a_port_has_the_bandwidth_of_all_its_public_addresses(cloud: Cloud) -> None:
    _, vswitch_id = cloud.default_vswitch()
    instance_id = cloud.add_instance(vswitch_id, [])
    [interface] = cloud.interfaces()

    def limits() -> tuple[int, int]:
        with cloud.store.read() as session:
            port = port_spec(session.get_one(Instance, instance_id), session.get_one(NetworkInterface, interface.id))
            return port.inbound_kbit, port.outbound_kbit

    with cloud.store.write() as session:
        instance = session.get_one(Instance, instance_id)
        instance.internet_in_mbps, instance.internet_out_mbps = 20, 3
        session.add(
            SecondaryAddress(vpc_id=interface.vpc_id, ip=SECONDARY, interface_id=interface.id, created_at=START)
        )
    assert limits() == (0, 0), "without a public address nothing is limited"
    with cloud.store.write() as session:
        session.add(public(cloud, "203.0.113.1", "public", 0, interface))
    assert limits() == (20 * 1024, 3 * 1024)
    with cloud.store.write() as session:
        session.add(public(cloud, "203.0.113.2", "eip", 5, interface, SECONDARY))
    assert limits() == (25 * 1024, 8 * 1024)
    with cloud.store.read() as session:
        port = port_spec(session.get_one(Instance, instance_id), session.get_one(NetworkInterface, interface.id))
    assert (port.secondary_ips, port.prefix_length, port.gateway) == ((SECONDARY,), 20, "172.16.15.253")
