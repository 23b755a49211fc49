"""Private addresses and interfaces (SPEC N2): no collisions, however many ask at once."""

from __future__ import annotations

import ipaddress
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core import addresses
from agent.core.errors import ApiError
from agent.services import vswitch
from agent.store.schema import NetworkInterface
from tests.support.cloud import Cloud


def small_vswitch(cloud: Cloud, cidr: str = "172.16.100.0/28") -> str:
    vpc_id, _ = cloud.default_vswitch()
    return cloud.call("CreateVSwitch", {"VpcId": vpc_id, "ZoneId": "local-a", "CidrBlock": cidr})["VSwitchId"]


def test_the_lowest_free_address_is_given(cloud: Cloud) -> None:
    vswitch_id = small_vswitch(cloud)
    cloud.add_instance(vswitch_id, [], ip="172.16.100.2")
    cloud.add_instance(vswitch_id, [])
    cloud.add_instance(vswitch_id, [])
    assert [one.ip for one in cloud.interfaces()] == ["172.16.100.1", "172.16.100.2", "172.16.100.3"]


def test_a_full_vswitch_says_so(cloud: Cloud) -> None:
    vswitch_id = small_vswitch(cloud, "172.16.100.0/29")
    for _ in range(4):
        cloud.add_instance(vswitch_id, [])
    with pytest.raises(ApiError) as caught:
        cloud.add_instance(vswitch_id, [])
    assert caught.value.code == "QuotaExceeded.PrivateIpAddress"
    [shown] = cloud.call("DescribeVSwitches", {"VSwitchId": vswitch_id})["VSwitches"]["VSwitch"]
    assert shown["AvailableIpAddressCount"] == 0


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ("nonsense", "InvalidPrivateIpAddress.Malformed"),
        ("172.16.101.1", "InvalidPrivateIpAddress"),
        ("172.16.100.0", "InvalidPrivateIpAddress"),
        ("172.16.100.13", "InvalidPrivateIpAddress"),  # the gateway
        ("172.16.100.15", "InvalidPrivateIpAddress"),
        ("172.16.100.1", "InvalidIPAddress.AlreadyUsed"),
    ],
)
def test_an_address_that_cannot_be_had(cloud: Cloud, wanted: str, code: str) -> None:
    vswitch_id = small_vswitch(cloud)
    cloud.add_instance(vswitch_id, [])
    with pytest.raises(ApiError) as caught:
        cloud.add_instance(vswitch_id, [], ip=wanted)
    assert caught.value.code == code


def test_many_at_once_get_different_addresses_macs_and_taps(cloud: Cloud) -> None:
    vswitch_id = small_vswitch(cloud)
    threads = [threading.Thread(target=cloud.add_instance, args=(vswitch_id, [])) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = cloud.interfaces()
    for values in ({one.ip for one in made}, {one.mac for one in made}, {one.tap for one in made}):
        assert len(values) == 12


def test_a_tap_name_fits_linux_and_begins_with_the_prefix(make_cloud) -> None:
    cloud: Cloud = make_cloud(prefix="e9")
    _, vswitch_id = cloud.default_vswitch()
    cloud.add_instance(vswitch_id, [])
    [made] = cloud.interfaces()
    assert made.tap.startswith("e9")
    assert 14 <= len(made.tap) <= 15


def test_memberships_keep_their_order(cloud: Cloud) -> None:
    vpc_id, vswitch_id = cloud.default_vswitch()
    groups = [cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"] for _ in range(3)]
    cloud.add_instance(vswitch_id, [groups[2], groups[0], groups[1]])
    with cloud.store.read() as session:
        [made] = session.query(NetworkInterface)
        assert [one.group_id for one in made.memberships] == [groups[2], groups[0], groups[1]]


@given(st.integers(16, 29), st.integers(0, 255))
def test_reserved_addresses_are_never_usable(length: int, third: int) -> None:
    block = ipaddress.ip_network(f"10.0.{third}.0/{length}", strict=False)
    gateway = addresses.gateway(str(block))
    for reserved in (block[0], block[-1], block[-2], gateway):
        assert not addresses.is_usable(str(block), str(reserved))
    assert addresses.is_usable(str(block), str(block[1]))
    assert addresses.usable_count(str(block)) == block.num_addresses - 4
    assert vswitch.PREFIX_LENGTHS[0] <= length <= vswitch.PREFIX_LENGTHS[-1]
