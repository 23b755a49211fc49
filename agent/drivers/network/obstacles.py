"""What on the host keeps guests and the outside apart, told to its owner (SPEC N5): rules of others are only read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from pyroute2.netlink.nfnetlink import nftsocket as nft

from agent.drivers.network.nfnl import NfSocket, attributes, number, string

_FAMILIES = {1: "inet", 2: "ip"}
_TABLE, _NAME, _HOOK, _POLICY = 1, 3, 4, 5  # attributes of a chain
_EXPRESSIONS = 4  # of a rule
_HOOK_NUMBER, _FORWARD, _DROP = 1, 2, 0

# By a chain that only this firewall has: its name, and what lets packets from and to VPCs pass there.
_KNOWN = {
    "DOCKER-USER": (
        "Docker",
        "iptables -I DOCKER-USER -i {prefix}-up+ -j ACCEPT; iptables -I DOCKER-USER -o {prefix}-up+ -j ACCEPT",
    ),
    "ufw-user-forward": ("ufw", "ufw route allow in on {prefix}-up1; ufw route allow out on {prefix}-up1"),
}
_FIREWALLD = "firewall-cmd --permanent --zone=trusted --add-interface={prefix}-up1; firewall-cmd --reload"


class Base(NamedTuple):
    """A chain, and whether it is one that drops forwarded packets which no rule of it accepts."""

    table: str
    name: str
    drops: bool


def find(prefix: str) -> list[str]:
    """One line for each thing, in the calling thread's namespace. `prefix`: that of our own names."""
    mentioned = f"{prefix}-up".encode()
    with closing(NfSocket()) as nf:
        chains = [chain for family in _FAMILIES for chain in _chains(nf, family)]
        rules = {name: nf.everywhere(nft.NFT_MSG_GETRULE, family) for family, name in _FAMILIES.items()}
    # Where a rule speaks of VPCs, somebody has thought of them.
    settled = {
        f"{family} {string(rule[_TABLE])}"
        for family, found in rules.items()
        for rule in found
        if mentioned in rule.get(_EXPRESSIONS, b"")
    }
    return [line.format(prefix=prefix) for line in describe([c for c in chains if c.table not in settled])]


def describe(chains: list[Base]) -> Iterator[str]:
    """Of each table that keeps packets, whose it is and what to do."""
    for table in dict.fromkeys(chain.table for chain in chains):
        of_table = [chain for chain in chains if chain.table == table]
        known = next((_KNOWN[chain.name] for chain in of_table if chain.name in _KNOWN), None)
        dropping = next((chain for chain in of_table if chain.drops), None)
        if dropping and known:
            yield f"{known[0]} drops packets between guests and the outside; to let them pass: {known[1]}"
        elif dropping:
            yield (
                f"chain {dropping.name} of table {table} drops packets between guests and the outside; let it accept "
                "those from and to {prefix}-up*"
            )
        elif table == "inet firewalld":
            yield (
                "firewalld refuses packets between guests and the outside unless their interfaces are in a zone that "
                f"forwards; to let those of a VPC pass: {_FIREWALLD}"
            )


def _chains(nf: NfSocket, family: int) -> Iterator[Base]:
    for values in nf.everywhere(nft.NFT_MSG_GETCHAIN, family):
        hook = dict(attributes(values[_HOOK])) if _HOOK in values else {}
        drops = bool(hook) and number(hook[_HOOK_NUMBER]) == _FORWARD and number(values[_POLICY]) == _DROP
        yield Base(f"{_FAMILIES[family]} {string(values[_TABLE])}", string(values[_NAME]), drops)
