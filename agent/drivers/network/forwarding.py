"""Whether the host lets guests out and others in: tried with packets that end before they leave the host.

For a moment there is a VPC more, of which only the way to the host is made. A packet from it towards the outside,
and one that comes in by the uplink towards a public address of it, are followed by the kernel's trace. Both have
documentation addresses and are dropped at the end of postrouting at the latest.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute, NetlinkError, protocols

from agent.core.specs import PublicSpec, VpcSpec
from agent.drivers.network import expressions as x
from agent.drivers.network import links, netns, trace
from agent.drivers.network.dhcp import checksum
from agent.drivers.network.ruleset import Chain, Hook, Table
from agent.drivers.network.tables import KernelTables
from agent.drivers.network.uplink import Uplinks

OUTSIDE, PUBLIC, PRIVATE = "203.0.113.77", "198.51.100.77", "192.0.2.77"  # RFC 5737
_LINK = (1 << 14) - 1  # the last number that a pair can have
_PORT = 9  # discard
_INGRESS, _CLASS = 0xFFFF0000, 0x10010
_END = "end"


@dataclass(frozen=True)
class Way:
    """`known` False: it could not be found out, `why` says what is in the way of that. `end` None: it is free."""

    known: bool
    end: trace.End | None = None
    why: str = ""


@contextlib.contextmanager
def _place(prefix: str, host: netns.Namespace, uplinks: Uplinks) -> Iterator[netns.Namespace]:
    """A namespace with a pair to the host, and the table that traces and ends the packets."""
    name = f"{prefix}-probe"
    remove_left(prefix, host)
    netns.create(name)
    namespace = netns.Namespace(name)
    tables = host.run(KernelTables)
    spec = VpcSpec("probe", _LINK, "192.0.2.0/24", (), nat=("192.0.2.0/24",), publics=(PublicSpec(PUBLIC, PRIVATE),))
    try:
        uplinks.ensure(spec, namespace, lambda ends: None)
        tables.apply((_table(prefix),))
        yield namespace
    finally:
        tables.remove(x.NFPROTO_INET, f"{prefix}_probe")
        tables.close()
        uplinks.disconnect(namespace)
        namespace.close()
        netns.remove(name)


def remove_left(prefix: str, host: netns.Namespace) -> None:
    """Take away what a killed agent may have left of a try."""
    netns.remove(f"{prefix}-probe")
    host.run(lambda: links.delete(host.ip, f"{prefix}-probe0"))
    tables = host.run(KernelTables)
    with contextlib.closing(tables):
        if tables.chains(x.NFPROTO_INET, f"{prefix}_probe"):
            tables.remove(x.NFPROTO_INET, f"{prefix}_probe")


def _table(prefix: str) -> Table:
    probes = [
        (x.ipv4(), x.header("ip daddr", x.ip4(address), address), x.protocol("udp"), x.header("th dport", port, "9"))
        for address, port in ((OUTSIDE, struct.pack("!H", _PORT)), (PUBLIC, struct.pack("!H", _PORT)))
    ]
    chains = {
        "begin": Chain(tuple(x.rule(*probe, x.trace()) for probe in probes), Hook(0, -400)),
        _END: Chain(tuple(x.rule(*probe, x.drop()) for probe in probes), Hook(4, 1000)),
    }
    return Table(x.NFPROTO_INET, f"{prefix}_probe", {}, chains)


def ways(prefix: str, host: netns.Namespace, uplinks: Uplinks, interface: str) -> tuple[Way, Way]:
    """(out, in) of guests by `interface`, which exists. Raises OSError or DriverError when nothing can be tried."""
    with _place(prefix, host, uplinks) as place:
        outwards = _judged(prefix, trace.follow(host, lambda: place.run(_send_out)))
        try:
            with _injector(prefix, host, interface) as inject:
                return outwards, _judged(prefix, trace.follow(host, inject))
        except NetlinkError as error:  # this kernel has no redirecting
            return outwards, Way(False, why=f"a packet cannot be made to come in by {interface}: {error}")


def _judged(prefix: str, end: trace.End | None) -> Way:
    if end is None:
        return Way(False, why="a packet vanished, and not in nftables: by a route, rp_filter or the older iptables")
    return Way(True, None if (end.table, end.chain) == (f"{prefix}_probe", _END) else end)


def _send_out() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"", (OUTSIDE, _PORT))


# ------------------------------------------------------------------------------------- from the outside


@contextlib.contextmanager
def _injector(prefix: str, host: netns.Namespace, interface: str) -> Iterator[Callable[[], None]]:
    """Makes a packet come in by `interface`: what leaves one end of a pair is handed to it at the other end."""
    near, far = f"{prefix}-probe0", f"{prefix}-probe1"
    ip = host.ip

    def make() -> socket.socket:
        links.delete(ip, near)
        ip.link("add", ifname=near, kind="veth", peer={"ifname": far})
        for name in (near, far):
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
            ip.link("set", index=links.required(ip, name), state="up")
        _redirect(ip, links.required(ip, far), links.required(ip, interface))
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sock.bind((near, 0))
        return sock

    try:
        with contextlib.closing(host.run(make)) as sock:
            address = host.run(lambda: ip.get_links(links.required(ip, far))[0].get_attr("IFLA_ADDRESS"))
            frame = _frame(address)

            def inject() -> None:
                sock.send(frame)

            yield inject
    finally:
        host.run(lambda: links.delete(ip, near))


def _redirect(ip: IPRoute, far: int, interface: int) -> None:
    ip.tc("add", "ingress", far, _INGRESS)
    action = {"kind": "mirred", "direction": "ingress", "action": "redirect", "ifindex": interface}
    match = {"protocol": protocols.ETH_P_ALL, "prio": 1, "keys": ["0x0/0x0+0"], "target": _CLASS}
    ip.tc("add-filter", "u32", far, parent=_INGRESS, action=action, **match)


def _frame(to: str) -> bytes:
    """An Ethernet frame of somebody outside for the public address."""
    udp = struct.pack("!HHHH", _PORT, _PORT, 8, 0)
    source, target = socket.inet_aton(OUTSIDE), socket.inet_aton(PUBLIC)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, socket.IPPROTO_UDP, 0, source, target)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return (x.mac(to) + x.mac("02:00:00:00:00:01") + b"\x08\0" + head + udp).ljust(60, b"\0")
