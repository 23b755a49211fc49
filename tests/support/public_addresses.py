"""Public addresses of a test's agent on this host: a pool that no other test has, and what the host has of them."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator

from pyroute2 import IPRoute

MAIN_TABLE = 254


@contextlib.contextmanager
def own_pool() -> Iterator[str]:
    """A block of eight addresses. What is sent to one that leads nowhere does not leave the host."""
    block = f"100.125.{1 + secrets.randbelow(254)}.{8 * secrets.randbelow(32)}/29"
    with IPRoute() as ip:
        ip.route("add", dst=block, type="unreachable", priority=9999)
        try:
            yield block
        finally:
            ip.route("del", dst=block, type="unreachable", priority=9999)


def routed(prefix: str) -> set[str]:
    """The public addresses that the host leads to the VPCs of an agent."""
    with IPRoute() as ip:
        pairs = {link["index"] for link in ip.get_links() if link.get_attr("IFLA_IFNAME").startswith(f"{prefix}-up")}
        routes = ip.get_routes(family=socket.AF_INET, table=MAIN_TABLE)
        return {
            route.get_attr("RTA_DST")
            for route in routes
            if route.get_attr("RTA_OIF") in pairs and route["dst_len"] == 32
        }
