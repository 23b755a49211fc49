"""The host's own table about the ways between VPCs and the rest of the world (SPEC N3-N5): pure.

    prerouting, output  a forwarded port of the host goes to the VPC's end of a pair; `output`: for the host's own
                        processes, which may use 127.0.0.1, too
    forward             between the pairs, and between them and the interface that leads out, and nothing else
    input               answers only: guests do not reach the host
    snat                out: the host's address for whoever has none that the outside knows; in: the host's end of the
                        pair for whoever the guest could not answer otherwise

Other tables are never touched; one that drops forwarded packets by default has to let `<prefix>-up*` pass by itself.
Without a way out (uplink `none`) only the host itself reaches guests, and nothing is forwarded.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from agent.core.addresses import PRIVATE_POOL
from agent.drivers.network import expressions as x
from agent.drivers.network import set_elements as e
from agent.drivers.network.flows import Flow
from agent.drivers.network.nat import Ends
from agent.drivers.network.ruleset import Chain, Hook, NfSet, Table, elements

RESTORE = "restore_forwarding_"  # chains without rules: interfaces that did not forward before we came
PAIR_GROUP = 25443  # interface group of the host's ends of all pairs, of every agent on it
PORTS, ADDRESSED = "ports", "addressed"  # maps of the forwarded ports


class HostPort(NamedTuple):
    """A port of the host (`address` empty: of all its own) that leads to a port of a VPC's end."""

    protocol: str
    address: str
    port: int
    inside_port: int


@dataclass(frozen=True)
class Pair:
    """What the host knows of one VPC. `name` is that of the host's end."""

    name: str
    ends: Ends
    cidr: str
    publics: tuple[str, ...] = ()
    ports: tuple[HostPort, ...] = ()


def host_table(
    prefix: str, interface: str | None, pairs: Iterable[Pair], restore: Iterable[str], *, closed: bool = False
) -> Table:
    """`interface` leads out (None: nothing does for now); `closed`: nothing may. Of `pairs` that have the same port of
    the host the last one counts: the others are about to lose it."""
    pairs = list(pairs)
    outgoing = Chain(_to_ports(), Hook(3, -100, kind="nat"))
    incoming = Chain((_not_loopback(), *_to_ports()), Hook(0, -100, kind="nat"))
    restore = set(restore)
    forward = _closed(prefix) if closed else (*_guard(prefix, interface, restore), *_forward(prefix, interface))
    chains = {
        "output": outgoing,
        **({} if closed else {"prerouting": incoming}),
        "input": Chain(_input(prefix), Hook(1, -10)),
        "forward": Chain(forward, Hook(2, -10)),
        "snat": Chain(_snat(prefix, None if closed else interface, pairs), Hook(4, 100, kind="nat")),
        **{f"{RESTORE}{name}": Chain(()) for name in restore},
    }
    return Table(x.NFPROTO_INET, prefix, _sets(pairs), chains)


def _sets(pairs: list[Pair]) -> dict[str, NfSet]:
    publics = [(pair, address) for pair in pairs for address in pair.publics]
    ends = [(pair, pair.ends.inside) for pair in pairs]
    private = [(pair, address) for pair, address in publics if ipaddress.ip_address(address) in PRIVATE_POOL]
    by_interface, alone = ("ifname", "ipv4_addr"), ("ipv4_addr",)
    return {
        "ends": NfSet(by_interface, elements(e.tuple_element(pair.name, a) for pair, a in ends + publics)),
        "insides": NfSet(by_interface, elements(e.tuple_element(pair.name, a) for pair, a in ends)),
        "publics": NfSet(alone, elements(e.address_element(address) for _, address in publics)),
        # What nobody on the host's networks could answer.
        "unknown": NfSet(alone, elements(e.address_element(address) for _, address in ends + private)),
        **_port_maps(pairs),
    }


def _port_maps(pairs: list[Pair]) -> dict[str, NfSet]:
    of_all, of_one = {}, {}
    for pair in pairs:
        for port in pair.ports:
            key, to = (port.protocol, str(port.port)), (pair.ends.inside, str(port.inside_port))
            if port.address:
                of_one[port.address, *key] = to
            else:
                of_all[key] = to
    target = ("ipv4_addr", "inet_service")
    keys = ("inet_proto", "inet_service")
    return {
        PORTS: NfSet(keys, elements(e.mapped_element(*item) for item in of_all.items()), data=target),
        ADDRESSED: NfSet(
            ("ipv4_addr", *keys), elements(e.mapped_element(*item) for item in of_one.items()), data=target
        ),
    }


def from_element(key: bytes, value: bytes) -> tuple[str, HostPort]:
    """Of an element of one of the two maps, as the kernel has it: the VPC's end and the port that leads there."""
    address, key = (socket.inet_ntoa(key[:4]), key[4:]) if len(key) > 8 else ("", key)
    number, port = struct.unpack("!B3xH2x", key)
    protocol = next(name for name, known in x.PROTOCOLS.items() if known == number)
    inside, inside_port = struct.unpack("!4sH2x", value)
    return socket.inet_ntoa(inside), HostPort(protocol, address, port, inside_port)


def outdated(pairs: Iterable[Pair]) -> Callable[[Flow], bool]:
    """Of a flow of the host: whether a forwarded port led it where that leads no more, or does now and did not."""
    pairs = list(pairs)
    ports = {
        (x.PROTOCOLS[port.protocol], port.address, port.port): (pair.ends.inside, port.inside_port)
        for pair in pairs
        for port in pair.ports
    }
    insides = {pair.ends.inside for pair in pairs}

    def is_outdated(flow: Flow) -> bool:
        address, port = flow.destination
        leads = ports.get((flow.protocol, address, port)) or ports.get((flow.protocol, "", port))
        if flow.destination == flow.answering:
            return leads is not None and not flow.seen_reply
        return flow.answering.address in insides and address not in insides and leads != flow.answering

    return is_outdated


# ------------------------------------------------------------------------------------- chains


def _from_vpc(prefix: str) -> x.Part:
    return x.interface("iifname", f"{prefix}-up*")


def _to_vpc(prefix: str) -> x.Part:
    return x.interface("oifname", f"{prefix}-up*")


def _to_ports() -> tuple[x.Rule, ...]:
    return (
        x.rule(x.ipv4(), x.destination_by_port(ADDRESSED, address=True)),
        x.rule(x.ipv4(), x.local_address("daddr"), x.destination_by_port(PORTS)),
    )


def _not_loopback() -> x.Rule:
    """Who sends to 127.0.0.1 from outside is refused only after this, by where it leads then."""
    return x.rule(x.ipv4(), x.header_within("ip daddr", "127.0.0.0/8"), x.accept())


def _input(prefix: str) -> tuple[x.Rule, ...]:
    return (
        x.rule(_from_vpc(prefix), x.state("established", "related"), x.accept()),
        x.rule(_from_vpc(prefix), x.drop()),
    )


def _closed(prefix: str) -> tuple[x.Rule, ...]:
    return x.rule(_from_vpc(prefix), x.drop()), x.rule(_to_vpc(prefix), x.drop())


def _guard(prefix: str, interface: str | None, restore: set[str]) -> tuple[x.Rule, ...]:
    """A host that forwarded nothing before we came leads nobody on to its other networks now."""
    if interface not in restore:
        return ()
    elsewhere = x.interface("oifname", f"{prefix}-up*", equal=False), x.group("oifgroup", PAIR_GROUP, equal=False)
    return (x.rule(x.interface("iifname", str(interface)), *elsewhere, x.drop()),)


def _forward(prefix: str, interface: str | None) -> tuple[x.Rule, ...]:
    from_vpc, to_vpc = _from_vpc(prefix), _to_vpc(prefix)
    others = x.interface("iifname", f"{prefix}-up*", equal=False)
    elsewhere = x.interface("oifname", interface, equal=False) if interface is not None else None
    return (
        # At every packet, so that an address that was unbound is dead at once.
        x.rule(from_vpc, x.ipv4(), x.interface_with("iifname", "ip saddr", "ends", inverted=True), x.drop()),
        x.rule(to_vpc, x.ipv4(), x.interface_with("oifname", "ip daddr", "ends", inverted=True), x.drop()),
        *(x.rule(others, to_vpc, x.ipv4(), x.header_in("ip saddr", ours), x.drop()) for ours in ("publics", "unknown")),
        x.rule(from_vpc, x.ipv4(), x.header_within("ip daddr", "169.254.0.0/16"), x.drop()),
        x.rule(to_vpc, x.state("established", "related"), x.accept()),
        x.rule(to_vpc, x.status("dnat"), x.accept()),
        x.rule(to_vpc, x.ipv4(), x.header_in("ip daddr", "publics"), x.accept()),
        x.rule(to_vpc, x.drop()),
        x.rule(from_vpc, *([elsewhere] if elsewhere else []), x.drop()),
    )


def _snat(prefix: str, interface: str | None, pairs: list[Pair]) -> tuple[x.Rule, ...]:
    rules = [
        # The host's own processes, 127.0.0.1 included.
        x.rule(_to_vpc(prefix), x.ipv4(), x.local_address("saddr"), x.masquerade()),
        # A guest that uses a port of the host which leads back into its own VPC.
        x.rule(x.ipv4(), x.interface_with("oifname", "ip saddr", "insides"), x.masquerade()),
        # Whoever has an address that means a guest to the VPC.
        *(
            x.rule(x.interface("oifname", pair.name), x.ipv4(), x.header_within("ip saddr", pair.cidr), x.masquerade())
            for pair in sorted(pairs, key=lambda pair: pair.name)
        ),
    ]
    if interface is not None:
        out = x.interface("oifname", interface)
        rules.append(x.rule(out, x.ipv4(), x.header_in("ip saddr", "unknown"), x.masquerade()))
    return tuple(rules)
