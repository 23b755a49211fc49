"""What the router of a VPC routes for its table, pure (SPEC N1)."""

from __future__ import annotations

from agent.core.specs import PublicSpec, RouteSpec, VpcSpec
from agent.drivers.network.routes import CLOSED_METRIC, CUSTOM_METRIC, Route, WayOut, custom, own_way


def test_an_entry_leads_to_its_next_hop_or_nowhere() -> None:
    office, home = RouteSpec("10.9.0.0/16", "tap1", "192.168.0.2"), RouteSpec("192.168.178.0/24")
    closed = {Route("10.9.0.0/16", CLOSED_METRIC), Route("192.168.178.0/24", CLOSED_METRIC)}
    assert custom((), {"tap1": 7}, WayOut(3, "100.127.0.5")) == set()
    assert custom((office, home), {}, None) == closed
    by_hop = Route("10.9.0.0/16", CUSTOM_METRIC, 7, "192.168.0.2")
    assert custom((office, home), {"tap1": 7}, None) == closed | {by_hop}
    by_host = Route("192.168.178.0/24", CUSTOM_METRIC, 3, "100.127.0.5")
    assert custom((office, home), {}, WayOut(3, "100.127.0.5")) == closed | {by_host}


def test_only_a_default_route_by_an_instance_has_exceptions() -> None:
    def exceptions(*routes: RouteSpec) -> set[str]:
        publics = (PublicSpec("203.0.113.7", "192.168.0.1"),)
        return own_way(VpcSpec("vpc-a", 1, "192.168.0.0/16", (), routes=routes, publics=publics))

    assert exceptions() == exceptions(RouteSpec("10.0.0.0/8", "tap1", "192.168.0.2")) == set()
    assert exceptions(RouteSpec("0.0.0.0/0")) == set()
    assert exceptions(RouteSpec("0.0.0.0/0", "tap1", "192.168.0.2")) == {"192.168.0.1", "192.168.0.2"}
