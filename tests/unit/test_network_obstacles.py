"""What of other firewalls keeps packets of guests, as told to the host's owner."""

from __future__ import annotations

from agent.drivers.network.obstacles import Base, describe


def test_a_chain_that_nobody_knows_is_named() -> None:
    lines = list(
        describe([Base("inet own", "fwd", True), Base("inet own", "input", False), Base("ip nat", "x", False)])
    )
    assert lines == [
        "chain fwd of table inet own drops packets between guests and the outside; let it accept those from and to "
        "{prefix}-up*"
    ]


def test_docker_that_drops_nothing_is_no_obstacle() -> None:
    assert list(describe([Base("ip filter", "FORWARD", False), Base("ip filter", "DOCKER-USER", False)])) == []
