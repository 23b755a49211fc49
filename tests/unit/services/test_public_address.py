"""The pool of public addresses (SPEC N3): which there are, and that nobody gets one twice."""

from __future__ import annotations

import threading

import pytest

from agent.config import Config, ConfigError
from agent.core.errors import ApiError
from agent.services import public_address
from agent.store.schema import PublicAddress
from tests.support.cloud import Cloud

HOST = ["127.0.0.1/8", "192.168.7.10/24", "10.9.9.9/32"]


def test_what_may_be_given_away() -> None:
    def given(*blocks: str, host: list[str] = HOST) -> list[str]:
        return list(public_address.candidates(Config(public_addresses=blocks), host))

    assert given("192.168.7.0/29") == [f"192.168.7.{n}" for n in range(1, 8)], "the network's own address never"
    assert given("192.168.7.248/29") == [f"192.168.7.{n}" for n in range(248, 255)], "nor its broadcast"
    assert given("192.168.7.8/30") == ["192.168.7.8", "192.168.7.9", "192.168.7.11"], "nor the host's"
    assert given("203.0.113.7", "198.51.100.0/31") == ["203.0.113.7", "198.51.100.0", "198.51.100.1"]
    assert (given()[0], len(given())) == ("100.125.0.1", 254)
    assert given(host=["100.125.0.200/25"])[-1] == "100.125.0.127", "a pool nobody configured is not another's LAN"


@pytest.mark.parametrize(
    "text", ["x", "10.0.0.1/8", "127.0.0.0/24", "224.0.0.1", "169.254.1.0/24", "0.0.0.0", "10.0.0.0/8"]
)
def test_pools_that_cannot_be(text: str) -> None:
    with pytest.raises(ConfigError, match="public_addresses"):
        public_address.check(Config(public_addresses=(text,)))


def test_many_at_once_get_different_addresses_until_none_is_left(make_cloud) -> None:
    cloud: Cloud = make_cloud(public_addresses=["203.0.113.0/30"])
    codes: list[str] = []

    def attempt() -> None:
        try:
            with cloud.caller() as caller:
                public_address.take(caller, None)
        except ApiError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == ["ReserveIpFail"] * 2
    with cloud.store.read() as session:
        assert sorted(row.ip for row in session.query(PublicAddress)) == [f"203.0.113.{n}" for n in range(4)]


def test_a_chosen_address_is_of_the_pool_and_free(make_cloud) -> None:
    cloud: Cloud = make_cloud(public_addresses=["203.0.113.0/30"])
    with cloud.caller() as caller:
        assert public_address.take(caller, None, ip="203.0.113.2").ip == "203.0.113.2"
        for ip, code in (
            ("203.0.113.2", "InvalidIPAddress.AlreadyUsed"),
            ("203.0.113.9", "InvalidIpAddress.NotFound"),
            ("here", "InvalidIpAddress.Malformed"),
        ):
            with pytest.raises(ApiError) as caught:
                public_address.take(caller, None, ip=ip)
            assert caught.value.code == code
