"""A VPC's namespace is closed where there is no filter: what its `raw` chain has not marked is not routed.

A namespace without nftables' rules would let everybody reach everybody: one that is being built, or whose rules
somebody deleted. So two rules of its routing, which looks at the mark, stand before the table of routes.
"""

from __future__ import annotations

import socket

from pyroute2 import IPRoute

# A packet's way back is looked up with its mark, too, or it would seem to come from nowhere.
SYSCTLS: dict[str, str | int] = {"ipv4/conf/all/src_valid_mark": 1}
_OWN, _UNMARKED = 10, 20  # priorities
_MAIN = 254


def ensure(ip: IPRoute) -> None:
    """Put up what is missing. Every packet that may pass must be marked already."""
    present = {rule.get_attr("FRA_PRIORITY") or 0 for rule in ip.get_rules(family=socket.AF_INET)}
    if _OWN not in present:
        ip.rule("add", priority=_OWN, iifname="lo", table=_MAIN)  # the router's own packets
    if _UNMARKED not in present:
        ip.rule("add", priority=_UNMARKED, fwmark=0, fwmask=0xFFFFFFFF, action="blackhole")
