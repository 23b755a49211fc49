from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from agent.drivers.network.uplink import end_points


def test_each_vpc_has_a_pair_of_its_own() -> None:
    assert end_points(1, []) == ("100.127.0.5", "100.127.0.6")
    assert end_points(300, []) == ("100.127.4.177", "100.127.4.178")


def test_what_the_host_routes_is_avoided() -> None:
    assert end_points(1, [IPv4Network("100.127.0.0/24")]) == ("100.126.0.5", "100.126.0.6")
    assert end_points(100, [IPv4Network("100.127.0.0/24")]) == ("100.127.1.145", "100.127.1.146")
    assert end_points(1, [IPv4Network("100.64.0.0/10")]) == ("198.18.0.5", "198.18.0.6")


def test_it_says_when_there_is_none_left() -> None:
    with pytest.raises(ValueError, match="no free uplink addresses for VPC number 20000"):
        end_points(20000, [])
