"""The route table of a VPC, and further addresses of its ports (SPEC N1, N2)."""

from __future__ import annotations

import dataclasses

import pytest
from frames import raw_udp_arrives
from stage import WORLD, Stage
from vpc_lab import Flow, Guest, Lab, expect, ping, rule, serving, tcp, until

from agent.core.specs import RouteSpec

pytestmark = pytest.mark.net

PUBLIC = "203.0.113.77"  # in the network of the host and the world
OFFICE, IN_OFFICE = "10.50.0.0/16", "10.50.0.1"


def route(lab: Lab, *routes: RouteSpec) -> None:
    """The VPC's route table from now on, as a sync of it makes it."""
    lab.vpcs["vpc-a"] = dataclasses.replace(lab.vpcs["vpc-a"], routes=routes)
    lab.driver.ensure_vpc(lab.vpcs["vpc-a"])
    lab.apply()


def by(guest: Guest, cidr: str) -> RouteSpec:
    return RouteSpec(cidr, guest.port.tap, guest.ip)


def forwarding(guest: Guest, *addresses: str) -> None:
    """The guest routes, and has `addresses` of the network behind it itself."""
    guest.ns.sysctl({"ipv4/ip_forward": 1, "ipv4/conf/all/rp_filter": 0, "ipv4/conf/eth0/send_redirects": 0})
    for address in addresses:
        guest.sh("ip", "address", "add", f"{address}/32", "dev", "lo")


@pytest.fixture
def pair(lab: Lab) -> tuple[Guest, Guest]:
    lab.vpc()
    lab.rules["sg-a"] = (rule(),)
    return lab.guest("192.168.0.1", "sg-a"), lab.guest("192.168.0.2", "sg-a")


def test_a_network_behind_an_instance(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    one, hop = pair
    forwarding(hop, IN_OFFICE)
    expect(False, ping, one, IN_OFFICE)
    route(lab, by(hop, OFFICE))
    expect(True, ping, one, IN_OFFICE)
    with serving(hop, 80):
        expect(True, tcp, one, IN_OFFICE, 80)
    assert "from" not in lab.in_router("ip", "rule").replace("from all", "")  # no default route, no exceptions
    hop.sh("ip", "route", "replace", one.ip, "via", hop.port.gateway, "src", IN_OFFICE, "onlink", "dev", "eth0")
    with serving(one, 81) as listener:
        expect(True, tcp, hop, one.ip, 81)
        accepted, (seen, _) = listener.accept()
        accepted.close()
    assert seen == IN_OFFICE
    route(lab)
    expect(False, ping, one, IN_OFFICE)
    assert "10.50" not in lab.in_router("ip", "route")


def test_the_next_hop_may_send_from_its_networks_and_from_nowhere_else(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    one, hop = pair
    lab.guest("192.168.0.3", "sg-a")
    route(lab, by(hop, OFFICE))
    expect(True, raw_udp_arrives, hop, "10.50.7.7", one)
    for source in ("10.51.0.1", "192.168.0.3", "192.168.0.99"):
        expect(False, raw_udp_arrives, hop, source, one)
    route(lab, by(hop, "0.0.0.0/0"))
    expect(True, raw_udp_arrives, hop, "8.8.8.8", one)
    for source in ("192.168.0.3", "192.168.0.253", "127.0.0.1"):
        expect(False, raw_udp_arrives, hop, source, one)


def test_the_router_serves_the_next_hop_as_itself_only(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    """Or it would get what metadata is for a guest that is off."""
    _, hop = pair
    route(lab, by(hop, "192.168.0.0/16"))
    router, off = hop.port.gateway, "192.168.0.99"
    hop.sh("ip", "address", "add", f"{off}/32", "dev", "lo")
    expect(True, ping, hop, router)
    hop.sh("ip", "route", "replace", router, "src", off, "dev", "eth0")
    expect(False, ping, hop, router)


def test_a_hop_that_is_away_is_a_dead_end(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    one, hop = pair
    forwarding(hop, IN_OFFICE)
    route(lab, by(hop, OFFICE))
    expect(True, ping, one, IN_OFFICE)
    lab.driver.remove_port("vpc-a", hop.port.tap)
    assert f"unreachable {OFFICE}" in lab.in_router("ip", "route")
    lab.relink(hop)
    expect(True, ping, one, IN_OFFICE)


def test_a_change_of_the_table_interrupts_nothing_else(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    one, hop = pair
    forwarding(hop, IN_OFFICE)
    route(lab, by(hop, OFFICE))
    flow = Flow(one, hop, 8000)
    try:
        for number in range(4):
            route(lab, by(hop, OFFICE), by(hop, f"10.6{number}.0.0/16"))
            lab.restart().ensure_vpc(lab.vpcs["vpc-a"])
            until(flow.moves, "the flow goes on")
            expect(True, ping, one, IN_OFFICE)
    finally:
        flow.close()
    assert lab.in_router("ip", "route").count("10.6") == 2  # by the hop, and nowhere


def test_further_addresses_live(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    further = "192.168.0.50"
    two.sh("ip", "address", "add", f"{further}/24", "dev", "eth0")
    expect(False, ping, one, further)
    flow = Flow(one, two, 8000)
    try:
        lab.assign(two, further)
        until(flow.moves, "the flow goes on")
        expect(True, ping, one, further)
        expect(True, raw_udp_arrives, two, further, one)
        lab.assign(two)
        until(flow.moves, "the flow goes on")
    finally:
        flow.close()
    expect(False, ping, one, further)
    expect(False, raw_udp_arrives, two, further, one)
    assert further not in lab.in_router("ip", "route") + lab.in_router("ip", "neigh")
    one.sh("ip", "address", "add", f"{further}/24", "dev", "eth0")
    lab.assign(one, further)
    expect(True, ping, two, further)


# ------------------------------------------------------------------------------ with an uplink


@pytest.fixture
def gateway_vpc(stage: Stage) -> tuple[Guest, Guest]:
    stage.lab.vpc()
    stage.lab.rules["sg-a"] = (rule(),)
    return stage.lab.guest("192.168.0.1", "sg-a"), stage.lab.guest("192.168.0.2", "sg-a")


def test_an_instance_that_translates_for_others(stage: Stage, gateway_vpc: tuple[Guest, Guest]) -> None:
    """It is the default route of the others, and has the system's itself: what it sends does not come back to it."""
    one, hop = gateway_vpc
    forwarding(hop)
    hop.sh("nft", "add table ip n; add chain ip n c { type nat hook postrouting priority 100; }")
    hop.sh("nft", "add rule ip n c ip saddr != 192.168.0.2 counter masquerade")
    route(stage.lab, by(hop, "0.0.0.0/0"))
    expect(True, ping, hop, WORLD)
    expect(True, ping, one, WORLD)
    with serving(stage.world, 443):
        expect(True, tcp, one, WORLD, 443)
    assert "packets 0" not in hop.sh("nft", "list", "chain", "ip", "n", "c").stdout
    expect(True, ping, one, hop.ip)
    stage.lab.driver.remove_port("vpc-a", hop.port.tap)
    expect(False, ping, one, WORLD)  # not by the uplink instead
    route(stage.lab)
    expect(True, ping, one, WORLD)


def test_the_host_s_networks_beside_a_default_route_by_an_instance(
    stage: Stage,
    gateway_vpc: tuple[Guest, Guest],
) -> None:
    one, hop = gateway_vpc
    route(stage.lab, by(hop, "0.0.0.0/0"))
    expect(False, ping, one, WORLD)
    route(stage.lab, by(hop, "0.0.0.0/0"), RouteSpec("203.0.113.0/24"))
    expect(True, ping, one, WORLD)
    route(stage.lab, by(hop, "0.0.0.0/0"))
    expect(False, ping, one, WORLD)


def test_a_public_address_is_a_way_of_its_own(stage: Stage, gateway_vpc: tuple[Guest, Guest]) -> None:
    """In both directions, whatever the default route of the VPC is."""
    one, hop = gateway_vpc
    stage.network((PUBLIC, one))
    route(stage.lab, by(hop, "0.0.0.0/0"))
    with serving(stage.world, 443) as listener, serving(one, 80):
        expect(True, tcp, one, WORLD, 443)
        accepted, (seen, _) = listener.accept()
        accepted.close()
        assert seen == PUBLIC
        expect(True, tcp, stage.world, PUBLIC, 80)
        expect(True, ping, one, hop.ip)
        expect(False, tcp, stage.lab.guest("192.168.0.3", "sg-a"), WORLD, 443)
        stage.network()
        expect(False, tcp, one, WORLD, 443)
    assert "iif lo lookup 100" not in stage.lab.in_router("ip", "rule").replace(f"from {hop.ip} iif lo lookup 100", "")


@pytest.mark.parametrize("stage", ["none"], indirect=True)
def test_without_an_uplink_the_host_is_no_next_hop(stage: Stage, gateway_vpc: tuple[Guest, Guest]) -> None:
    one, _ = gateway_vpc
    route(stage.lab, RouteSpec("203.0.113.0/24"), RouteSpec("0.0.0.0/0"))
    expect(False, ping, one, WORLD)
    assert "via" not in stage.lab.in_router("ip", "route")
