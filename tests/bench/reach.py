"""When a guest answers SSH, seen from its VPC's router: no part of the product is between."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing

from agent.drivers.network.netns import Namespace
from tests.support.agent import AgentProcess
from tests.support.waiting import wait_for

ATTEMPT_SECONDS = 0.5  # a SYN that came too early is sent again only after a second
LIMIT_SECONDS = 400.0


def wait_banner(agent: AgentProcess, instance_id: str) -> None:
    """Return as soon as the guest says its SSH banner."""
    found = agent.instance(instance_id)
    assert found
    vpc_id, address = found["VpcAttributes"]["VpcId"], found["VpcAttributes"]["PrivateIpAddress"]["IpAddress"][0]
    namespace = wait_for("the VPC's namespace", lambda: _namespace(f"{agent.prefix}-{vpc_id}"), every=0.05)
    with closing(namespace):
        wait_for(
            f"the SSH banner of {instance_id}",
            lambda: says_banner(
                lambda: namespace.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)), (address, 22)
            ),
            LIMIT_SECONDS,
            every=0.05,
        )


def _namespace(name: str) -> Namespace | None:
    try:
        return Namespace(name)
    except FileNotFoundError:
        return None


def says_banner(make_socket: Callable[[], socket.socket], address: tuple[str, int]) -> bool:
    """One attempt; an open port alone proves nothing."""
    with make_socket() as connection:
        connection.settimeout(ATTEMPT_SECONDS)
        try:
            connection.connect(address)
            connection.settimeout(10)
            return connection.recv(64).startswith(b"SSH-")
        except OSError:
            return False
