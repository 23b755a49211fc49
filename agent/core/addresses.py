"""Which addresses of a VSwitch are whose (SPEC N2), pure.

As with the provider, the first and the last three addresses of a block are the system's; the gateway is the
third-last, so `192.168.0.253` in 192.168.0.0/24.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

NAME_SERVER = "100.100.2.136"  # of guests, at every VPC's router, as the provider has it
METADATA_ADDRESS = "100.100.100.200"  # of every VPC's router, as the provider has it (SPEC I11)
# Of the cards by which instances of the classic network reach the outside (SPEC N4): their public addresses need not
# be of one network, so it is in none of them.
INTERNET_GATEWAY = "100.100.100.253"
# Public addresses where none of the host's networks are configured: only the host and its guests reach them.
PRIVATE_POOL = ipaddress.IPv4Network("100.125.0.0/24")


def gateway(cidr: str) -> str:
    """The router's address in a VSwitch."""
    return str(ipaddress.IPv4Network(cidr)[-3])


def is_usable(cidr: str, address: str) -> bool:
    """Whether an instance may have `address` in the VSwitch `cidr`."""
    block, wanted = ipaddress.IPv4Network(cidr), ipaddress.IPv4Address(address)
    return wanted in block and block[0] < wanted < block[-3]


def usable(cidr: str) -> Iterator[str]:
    """All addresses instances may have, in order."""
    block = ipaddress.IPv4Network(cidr)
    for number in range(int(block[0]) + 1, int(block[-3])):
        yield str(ipaddress.IPv4Address(number))


def usable_count(cidr: str) -> int:
    """How many addresses instances may have."""
    return max(0, ipaddress.IPv4Network(cidr).num_addresses - 4)
