"""The part of a VPC's filter that is the same for all: what every packet goes through (SPEC F5, F7): pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from agent.core.addresses import METADATA_ADDRESS, NAME_SERVER
from agent.core.specs import Direction, MemberSpec
from agent.drivers.network import expressions as x
from agent.drivers.network import set_elements as e
from agent.drivers.network.ruleset import Chain, Hook, NfSet, Table, elements

TABLE = "vpc"
PORT_GROUP = 100  # interface group of every port
_SEEN = 1  # mark of ARP packets that the filter has seen: any but 0, see router.py

_SENDER = ("ifname", "ether_addr", "ipv4_addr")


def senders(members: Iterable[MemberSpec], *further: str) -> NfSet:
    """The addresses that each port sends from, and `further` ones."""
    return NfSet(_SENDER, elements(e.sender_element(m.tap, m.mac, ip) for m in members for ip in (*m.ips, *further)))


def forwarders(members: Iterable[MemberSpec]) -> NfSet:
    """The networks that ports are the next hop to: packets from there come through them."""
    items = [
        e.forward_element(member.tap, member.mac, str(network))
        for member in members
        if member.forwards
        for network in ipaddress.collapse_addresses(map(ipaddress.IPv4Network, member.forwards))
    ]
    return NfSet(_SENDER, elements(items), interval=True)


def base_chains(generation: int) -> dict[str, Chain]:
    """`raw` first: the kernel deletes them in this order, and without `raw` nothing is routed."""
    return {
        "raw": Chain(_raw(generation), Hook(0, -300)),
        "out": Chain(_out(generation), Hook(2, 0, drop=True)),
        "in": Chain(_in(generation), Hook(2, 10, drop=True)),
        "mark": Chain(_marking(generation), Hook(2, 20, drop=True)),
        "input": Chain(_input(), Hook(1, 0, drop=True)),
    }


def _raw(generation: int) -> tuple[x.Rule, ...]:
    from_port = x.group("iifgroup", PORT_GROUP)
    as_itself, for_others = (x.sender_not_in("ether saddr", "ip saddr", name) for name in ("senders", "forwarders"))
    return (
        x.rule(from_port, x.ipv4(equal=False), x.drop()),
        x.rule(from_port, as_itself, for_others, x.counter(), x.drop()),
        # Only the router answers DHCP: a guest's answer to another one would reach it by its address.
        x.rule(from_port, x.protocol("udp"), _port("udp sport", 67), _port("udp dport", 68), x.counter(), x.drop()),
        # A packet without it is not routed. `mark` copies it to the flow: one that saw the old rules on its way, and
        # then new ones, marks nothing new.
        x.rule(x.set_packet_mark(generation)),
    )


def _port(key: str, number: int) -> x.Part:
    return x.header(key, number.to_bytes(2, "big"), str(number))


def _out(generation: int) -> tuple[x.Rule, ...]:
    from_port, to_port = x.group("iifgroup", PORT_GROUP), x.group("oifgroup", PORT_GROUP)
    original, reply = x.direction(x.ORIGINAL), x.direction(x.REPLY)
    return (
        x.rule(x.state("invalid"), x.drop()),
        x.rule(x.state("established", "related"), x.flow_mark(generation), x.accept()),
        *(_mail(way) for way in (x.ORIGINAL, x.REPLY)),
        x.rule(original, x.dispatch("iifname", "egress")),
        x.rule(reply, x.dispatch("oifname", "egress")),
        x.rule(original, from_port, x.drop()),
        x.rule(reply, to_port, x.drop()),
        x.rule(x.state("established", "related", "new"), x.accept()),
    )


def _mail(way: int) -> x.Rule:
    """Mail leaves only where the host's owner allows it, whatever the groups say (F5)."""
    here, there = ("iif", "oif") if way == x.ORIGINAL else ("oif", "iif")
    return x.rule(
        x.direction(way),
        x.group(f"{here}group", PORT_GROUP),
        x.group(f"{there}group", PORT_GROUP, equal=False),
        x.flow_protocol("tcp"),
        x.flow_port(Direction.EGRESS, 25, 25),
        x.interface_in(f"{here}name", "smtp_allowed", inverted=True),
        x.counter(),
        x.drop(),
    )


def _in(generation: int) -> tuple[x.Rule, ...]:
    from_port, to_port = x.group("iifgroup", PORT_GROUP), x.group("oifgroup", PORT_GROUP)
    original, reply = x.direction(x.ORIGINAL), x.direction(x.REPLY)
    return (
        x.rule(x.state("invalid"), x.drop()),
        x.rule(x.state("established", "related"), x.flow_mark(generation), x.accept()),
        x.rule(original, x.dispatch("oifname", "ingress")),
        x.rule(reply, x.dispatch("iifname", "ingress")),
        x.rule(original, to_port, x.drop()),
        x.rule(reply, from_port, x.drop()),
        x.rule(x.state("established", "related", "new"), x.accept()),
    )


def _marking(generation: int) -> tuple[x.Rule, ...]:
    """A packet that came while the rules changed was perhaps let out by the old ones and in by the new ones: the new
    ones have to let it out as well."""
    passed = x.rule(x.packet_mark(generation), x.set_flow_mark_from_packet(), x.accept())
    return passed, *_out(generation)


def _input() -> tuple[x.Rule, ...]:
    """What may reach the router: ping, metadata, DNS, answers. DHCP is taken from the link before this."""
    from_port = x.group("iifgroup", PORT_GROUP)
    return (
        x.rule(x.state("invalid"), x.drop()),
        # Who asks is told by the address: the next hop to a network, which may have that of a guest that is off, is
        # served as itself only.
        x.rule(from_port, x.sender_not_in("ether saddr", "ip saddr", "senders"), x.counter(), x.drop()),
        x.rule(x.state("established", "related"), x.accept()),
        x.rule(x.interface("iifname", "lo"), x.accept()),
        x.rule(from_port, x.protocol("icmp"), x.header("icmp type", b"\x08", "echo-request"), x.accept()),
        x.rule(
            from_port,
            x.ipv4(),
            x.header("ip daddr", x.ip4(METADATA_ADDRESS), METADATA_ADDRESS),
            x.protocol("tcp"),
            x.header("tcp dport", b"\0\x50", "80"),
            x.accept(),
        ),
        *(
            x.rule(
                from_port,
                x.ipv4(),
                x.header("ip daddr", x.ip4(NAME_SERVER), NAME_SERVER),
                x.protocol(protocol),
                x.header(f"{protocol} dport", b"\0\x35", "53"),
                x.accept(),
            )
            for protocol in ("udp", "tcp")
        ),
    )


def arp_table(members: Iterable[MemberSpec]) -> Table:
    """Ports speak ARP only for themselves (F7); 0.0.0.0 is what a guest probes its own address with. The next hop to a
    network may have addresses there, which it asks with."""
    members = tuple(members)
    sets = {"senders": senders(members, "0.0.0.0")}
    if any(member.forwards for member in members):
        sets["forwarders"] = forwarders(members)
    from_port = x.group("iifgroup", PORT_GROUP)
    forged = (
        x.rule(from_port, *(x.sender_not_in(link, "arp saddr ip", name) for name in sets), x.counter(), x.drop())
        for link in ("arp saddr ether", "ether saddr")
    )
    chain = Chain((*forged, x.rule(x.set_packet_mark(_SEEN))), Hook(0, 0))
    return Table(x.NFPROTO_ARP, TABLE, sets, {"input": chain})
