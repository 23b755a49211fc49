"""What stands between guests and the world on this host, and what to do about it (`ecsctl host check`)."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from agent.core.errors import DriverError
from agent.core.specs import HostCheck
from agent.drivers.network import forwarding, links, netns, trace
from agent.drivers.network.tables import KernelTables
from agent.drivers.network.uplink import RANGES, Uplinks

OK, PROBLEM, UNKNOWN = "ok", "problem", "unknown"
_FAMILIES = {"inet": 1, "ip": 2, "netdev": 5, "bridge": 7}
_LEGACY = Path("/proc/net/ip_tables_names")


def checks(prefix: str, host: netns.Namespace, uplinks: Uplinks, vpcs: Mapping[str, str]) -> Iterator[HostCheck]:
    """One after the other. `vpcs`: address blocks by what people call them."""
    interface = uplinks.interface()
    yield _uplink(uplinks.mode, interface)
    if interface is not None:
        yield from _ways(prefix, host, uplinks, interface)
    yield from _overlaps(host, prefix, vpcs)
    if contested := sorted(uplinks.contested()):
        what = f"{', '.join(contested)}: another agent on this host has led them to its guests first"
        yield HostCheck("public addresses", PROBLEM, what, "give each agent other `public_addresses`")


def _uplink(mode: str, interface: str | None) -> HostCheck:
    if mode == "none":
        what = "none, as configured: guests reach nothing outside, and only this host reaches their public addresses"
        return HostCheck("uplink", OK, what, "for a way out set `uplink` in the agent's configuration")
    if interface is None:
        missing = "the host has no default route" if mode == "auto" else f"the host has no interface {mode}"
        return HostCheck("uplink", PROBLEM, missing, "bring it up, or set `uplink` to another interface")
    return HostCheck("uplink", OK, f"{interface} ({mode})" if mode == "auto" else interface)


def _ways(prefix: str, host: netns.Namespace, uplinks: Uplinks, interface: str) -> Iterator[HostCheck]:
    try:
        found = forwarding.ways(prefix, host, uplinks, interface)
    except (OSError, DriverError) as error:
        yield HostCheck("forwarding", UNKNOWN, f"it cannot be tried: {error}")
        return
    free = f"guests get out by {interface}", f"guests' public addresses are reached by {interface}"
    for subject, way, text in zip(("out", "in"), found, free, strict=True):
        if way.end is not None:
            chains = host.run(functools.partial(_chains, way.end))
            yield HostCheck(subject, PROBLEM, f"packets are dropped by {way.end}", advice(prefix, way.end, chains))
        elif way.known:
            yield HostCheck(subject, OK, text)
        else:
            yield HostCheck(subject, UNKNOWN, way.why, _legacy(prefix))


def _chains(end: trace.End) -> set[str]:
    """All chains of the table, by which its author is known."""
    with contextlib.closing(KernelTables()) as tables:
        return tables.chains(_FAMILIES.get(end.family, 0), end.table)


def advice(prefix: str, end: trace.End, chains: Iterable[str]) -> str:
    """What lets guests pass there, said in the words of the program that made the table."""
    chains, ours = set(chains), f"{prefix}-up"
    if end.family == "ip" and "DOCKER-USER" in chains:
        return (
            f"Docker drops what it does not know: `iptables -I DOCKER-USER -i {ours}+ -j ACCEPT; "
            f"iptables -I DOCKER-USER -o {ours}+ -j ACCEPT`, at each boot after Docker's start"
        )
    if any(chain.startswith("ufw-") for chain in chains):
        return (
            f"ufw drops what it does not know: put `-A ufw-before-forward -i {ours}+ -j ACCEPT` and `-A "
            f"ufw-before-forward -o {ours}+ -j ACCEPT` before COMMIT in /etc/ufw/before.rules, then `ufw reload`"
        )
    if end.table == "firewalld":
        policy = "firewall-cmd --permanent --policy=guests"
        return (
            "firewalld drops what no zone lets pass: `"
            f"firewall-cmd --permanent --zone=trusted --add-interface={ours}+; "
            f"firewall-cmd --permanent --new-policy=guests; {policy} --add-ingress-zone=ANY; "
            f"{policy} --add-egress-zone=trusted; {policy} --set-target=ACCEPT; firewall-cmd --reload`"
        )
    rule = f"nft insert rule {end.family} {end.table} {end.chain}"
    return f"let them pass there: `{rule} iifname '{ours}*' accept; {rule} oifname '{ours}*' accept`"


def _legacy(prefix: str) -> str:
    if _LEGACY.exists() and _LEGACY.read_text().strip():
        return (
            f"look at `iptables-legacy -S FORWARD`, and let pass what has `-i {prefix}-up+` or `-o {prefix}-up+`: "
            "its rules cannot be followed"
        )
    return ""


def _overlaps(host: netns.Namespace, prefix: str, vpcs: Mapping[str, str]) -> Iterator[HostCheck]:
    """Networks that guests cannot reach because they have the same addresses, and those of the pairs."""
    networks = host.run(lambda: _networks(host, prefix))
    blocks = {name: ipaddress.IPv4Network(cidr) for name, cidr in vpcs.items()}
    shared = [
        f"{network} of {interface} is also in {name} ({cidr})"
        for name, cidr in blocks.items()
        for network, interface in networks
        if network.overlaps(cidr)
    ]
    if shared:
        hint = "guests of that VPC cannot reach that network; give the VPC another block if they have to"
        yield HostCheck("addresses", UNKNOWN, "; ".join(shared), hint)
    elif all(any(network.overlaps(whole) for network, _ in networks) for whole in RANGES):
        yield HostCheck(
            "addresses", PROBLEM, f"the host routes all of {', '.join(map(str, RANGES))}", "free one of them"
        )
    else:
        yield HostCheck("addresses", OK, "no network of the host has addresses of a VPC")


def _networks(host: netns.Namespace, prefix: str) -> list[tuple[ipaddress.IPv4Network, str]]:
    """Those the host is on, its own pairs and the loopback aside."""
    return [
        (ipaddress.IPv4Network(f"{address}/{length}", strict=False), link.name)
        for link in links.all(host.ip)
        if link.name != "lo" and not link.name.startswith(f"{prefix}-up")
        for address, length in links.addresses(host.ip, link.number)
    ]
