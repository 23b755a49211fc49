"""The ways in and out of VPCs (SPEC N3, N5).

A veth pair leads from a VPC's namespace to the host. The VPC translates its guests' addresses to their public ones or
to its end of the pair (nat.py), the host translates what the outside does not know to its own address
(host_table.py): two VPCs with the same addresses stay apart. A VPC has a pair while it needs one.

With the uplink `none` there is no way out: the VPC has no default route and the host forwards nothing. A pair then
only lets the host itself reach guests by their public addresses and forwarded ports.

Each pair has a /30 by the VPC's `link` number, from the first of `RANGES` of which the host routes nothing. What the
kernel has says which pairs there are and what leads to them, so a fresh agent goes on where the former one stopped.

The host's interfaces belong to others, who change them any time. Whatever depends on them follows by `Changes` alone,
and differs afterwards only where it was not right.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from pyroute2 import IPRoute

from agent.core.specs import VpcSpec
from agent.drivers.network import expressions as x
from agent.drivers.network import flows, links, nat, netns, proxies
from agent.drivers.network.changes import Changes
from agent.drivers.network.host_table import (
    ADDRESSED,
    PAIR_GROUP,
    PORTS,
    RESTORE,
    HostPort,
    Pair,
    from_element,
    host_table,
    outdated,
)
from agent.drivers.network.nat import INSIDE, Ends
from agent.drivers.network.routes import EVERYWHERE, SYSTEM_METRIC, way_out
from agent.drivers.network.strangers import Strangers
from agent.drivers.network.tables import KernelTables

log = logging.getLogger(__name__)

NONE, AUTO = "none", "auto"
RANGES = tuple(ipaddress.IPv4Network(cidr) for cidr in ("100.127.0.0/16", "100.126.0.0/16", "198.18.0.0/16"))


def end_points(link: int, taken: list[ipaddress.IPv4Network]) -> Ends:
    """The addresses of pair `link`, not in a network of `taken`; ValueError if there are none."""
    for whole in RANGES:
        first = int(whole.network_address) + 4 * link
        pair = ipaddress.IPv4Network((first, 30))
        if pair.subnet_of(whole) and not any(pair.overlaps(other) for other in taken):
            return Ends(str(pair[1]), str(pair[2]))
    raise ValueError(f"no free uplink addresses for VPC number {link} in {', '.join(map(str, RANGES))}")


class Uplinks:
    """All pairs of this host. `mode`: none | auto | an interface of the host."""

    def __init__(self, prefix: str, mode: str, host: netns.Namespace) -> None:
        self._prefix = prefix
        self.mode = mode
        self._host = host
        self._lock = threading.Lock()
        self._tables = host.run(KernelTables)
        self._pairs: dict[str, Pair] | None = None  # None: the kernel was not asked yet
        self._ports: set[tuple[str, HostPort]] | None = None  # that were led on last
        self._contested: set[str] = set()
        self._way = ""  # as the log has it
        self._changes = host.run(lambda: Changes(self._follow))

    def close(self) -> None:
        self._changes.close()
        self._tables.close()

    def watch(self, strangers: Strangers, changed: Callable[[str], None]) -> None:
        """Call `changed` with what somebody else did to the host's table of ours."""
        strangers.watch(self._host, (self._tables,), changed)

    def repair(self) -> None:
        """The host's table was changed by somebody else."""
        with self._lock:
            self._tables.restore()

    def ensure(self, spec: VpcSpec, vpc: netns.Namespace, translate: Callable[[Ends | None], None]) -> None:
        """The pair of a VPC as it needs one. `translate` makes the VPC translate addresses; it comes before anything
        passes by the pair."""
        with self._lock:
            if not self._wanted(spec):
                self._disconnect(vpc)
                translate(None)
                return
            ends = self._connect(spec, vpc)
            translate(ends)
            ports = (
                HostPort(f.protocol, f.host_address, f.host_port, port)
                for f, port in nat.inside_ports(spec.forwards).items()
            )
            publics = tuple(public.address for public in spec.publics)
            pairs = self._known()
            pairs.pop(self._name(spec), None)  # who was told last has an address that another one is about to lose
            pairs[self._name(spec)] = Pair(self._name(spec), ends, spec.cidr, publics, tuple(ports))
            self._apply()
            self._open(vpc, ends)

    def disconnect(self, vpc: netns.Namespace) -> None:
        """Without its pair the VPC has no way in or out."""
        with self._lock:
            self._disconnect(vpc)

    def remove_all(self) -> None:
        """No pair is left, nor anything that led to one."""
        with self._lock:
            self._host.run(self._delete_pairs)
            self._pairs = {}
            self._apply()

    def _follow(self) -> None:
        """The host's links, addresses or routes changed. A look that finds all as it is to be does nothing."""
        with self._lock:
            if self._known():
                self._apply()

    def contested(self) -> set[str]:
        """Public addresses of ours that lead to guests of another agent on this host."""
        with self._lock:
            return self._contested

    # --------------------------------------------------------------------------------- a pair

    def _name(self, spec: VpcSpec) -> str:
        return f"{self._prefix}-up{spec.link}"

    def _wanted(self, spec: VpcSpec) -> bool:
        return bool(spec.publics or spec.forwards) or (self.mode != NONE and nat.leads_out(spec))

    def _connect(self, spec: VpcSpec, vpc: netns.Namespace) -> Ends:
        """A pair that is up and has addresses, and leads nowhere yet."""
        name = self._name(spec)
        whole = vpc.run(lambda: links.index(vpc.ip, INSIDE)) and self._host.run(
            lambda: links.index(self._host.ip, name)
        )
        if not whole:
            vpc.run(lambda: links.delete(vpc.ip, INSIDE))
            self._host.run(lambda: self._create(name, vpc))
        self._host.sysctl({f"ipv6/conf/{name}/disable_ipv6": 1})
        ends = self._host.run(lambda: self._address(name, spec))

        def set_inside() -> None:
            index = links.required(vpc.ip, INSIDE)
            vpc.ip.addr("replace", index=index, address=ends.inside, prefixlen=30)
            vpc.ip.link("set", index=index, state="up")

        vpc.run(set_inside)
        return ends

    def _create(self, name: str, vpc: netns.Namespace) -> None:
        links.delete(self._host.ip, name)
        with (netns.RUN_DIR / str(vpc.name)).open("rb") as inside:
            peer = {"ifname": INSIDE, "net_ns_fd": inside.fileno()}
            self._host.ip.link("add", ifname=name, kind="veth", peer=peer)

    def _address(self, name: str, spec: VpcSpec) -> Ends:
        """Keep the pair's addresses if it has them: live flows are translated to them."""
        ip = self._host.ip
        index = links.required(ip, name)
        ends = _ends(ip, index) or end_points(spec.link, links.routed(ip, but=index))
        ip.addr("replace", index=index, address=ends.outside, prefixlen=30)
        ip.link("set", index=index, state="up", group=PAIR_GROUP, ifalias=f"{spec.vpc_id} {spec.cidr}")
        return ends

    def _open(self, vpc: netns.Namespace, ends: Ends) -> None:
        """The way out, which is the last that is made."""

        def route() -> None:
            if self.mode != NONE:
                vpc.ip.route("replace", dst=EVERYWHERE, gateway=ends.outside, priority=SYSTEM_METRIC)
            elif way_out(vpc.ip):
                vpc.ip.route("del", dst=EVERYWHERE, priority=SYSTEM_METRIC)

        vpc.run(route)

    def _disconnect(self, vpc: netns.Namespace) -> None:
        vpc.run(lambda: links.delete(vpc.ip, INSIDE))
        self._apply()

    def _delete_pairs(self) -> None:
        proxies.publish(self._host.ip, (), self._prefix, None)
        for link in self._own_links():
            links.delete(self._host.ip, link.name)

    def _own_links(self) -> list[links.Link]:
        return [link for link in links.all(self._host.ip) if link.name.startswith(f"{self._prefix}-up")]

    # --------------------------------------------------------------------------------- the host

    def _apply(self) -> None:
        """Make the host fit the pairs there are and the interface that leads out now."""
        pairs, interface = self._present(), self.interface()
        closed = self.mode == NONE
        restore = self._to_restore(interface if pairs else None)
        if pairs:
            self._tables.apply((host_table(self._prefix, interface, pairs, restore, closed=closed),))
        elif self._tables.chains(x.NFPROTO_INET, self._prefix):
            self._tables.remove(x.NFPROTO_INET, self._prefix)
        ports = {(pair.name, port) for pair in pairs for port in pair.ports}
        if ports != self._ports:
            self._host.run(lambda: flows.forget(outdated(pairs)))
            self._ports = ports
        # Only this interface and the pairs forward, and only once the table says what.
        if interface is not None and pairs:
            self._host.sysctl({f"ipv4/conf/{interface}/forwarding": 1})
        for pair in pairs:
            # So that a flow of 127.0.0.1 can go by the pair; nothing but answers comes in by it.
            self._host.sysctl(
                {
                    f"ipv4/conf/{pair.name}/forwarding": 0 if closed else 1,
                    f"ipv4/conf/{pair.name}/route_localnet": 1 if pair.ports else 0,
                }
            )
        before = self._contested
        self._contested = self._host.run(lambda: proxies.publish(self._host.ip, pairs, self._prefix, interface))
        for address in sorted(self._contested - before):
            log.warning("%s already leads to a guest of another agent; give each its own `public_addresses`", address)
        if pairs and self.mode != NONE:
            self._say(interface)

    def _say(self, interface: str | None) -> None:
        """That there is none is no error: it may come any time."""
        way = interface or f"nothing yet (uplink {self.mode})"
        if way != self._way:
            log.info("guests reach the outside by %s", way)
            self._way = way

    def _present(self) -> list[Pair]:
        """All pairs; one that vanished, with its VPC's namespace, is forgotten."""
        names = {link.name for link in self._host.run(self._own_links)}
        known = self._known()
        self._pairs = {name: pair for name, pair in known.items() if name in names}
        return list(self._pairs.values())

    def _to_restore(self, interface: str | None) -> set[str]:
        """Interfaces that did not forward before we came, `interface` if that is one. Others do as before again.

        Where the host forwards as a whole by now, that is somebody else's wish: it stays as it is.
        """
        if self._forwards("all"):
            return set()
        names = self._tables.chains(x.NFPROTO_INET, self._prefix)
        changed = {name.removeprefix(RESTORE) for name in names if name.startswith(RESTORE)}
        for name in changed - {interface}:
            if self._host.run(_forwarding(name).exists):
                self._host.sysctl({f"ipv4/conf/{name}/forwarding": 0})
        if interface is None:
            return set()
        return changed & {interface} if self._forwards(interface) else {interface}

    def _forwards(self, interface: str) -> bool:
        return self._host.run(_forwarding(interface).read_text).strip() == "1"

    def interface(self) -> str | None:
        """The interface that leads out, None while there is none."""
        if self.mode == NONE:
            return None
        if self.mode == AUTO:
            return self._host.run(lambda: links.default_interface(self._host.ip))
        return self.mode if self._host.run(lambda: links.index(self._host.ip, self.mode)) is not None else None

    def _known(self) -> dict[str, Pair]:
        if self._pairs is None:
            self._pairs = self._host.run(self._left)
        return self._pairs

    def _left(self) -> dict[str, Pair]:
        """The pairs that a former agent left, with what leads to them."""
        ports = self._left_ports()
        found = {}
        for link in self._own_links():
            ends = _ends(self._host.ip, link.number)
            if ends is not None and " " in link.alias:
                publics = proxies.published(self._host.ip, link.number)
                cidr = link.alias.split()[1]
                found[link.name] = Pair(link.name, ends, cidr, publics, tuple(ports.get(ends.inside, ())))
        return found

    def _left_ports(self) -> dict[str, list[HostPort]]:
        found: dict[str, list[HostPort]] = {}
        for name in (PORTS, ADDRESSED):
            for key, value in self._tables.elements(x.NFPROTO_INET, self._prefix, name):
                inside, port = from_element(key, value)
                found.setdefault(inside, []).append(port)
        return found


def _forwarding(interface: str) -> Path:
    return Path("/proc/sys/net/ipv4/conf", interface, "forwarding")


def _ends(ip: IPRoute, index: int | None) -> Ends | None:
    """The addresses of a pair of which `index` is one end, if it has any."""
    present = links.addresses(ip, index) if index is not None else []
    if not present:
        return None
    pair = ipaddress.IPv4Network(f"{present[0][0]}/30", strict=False)
    return Ends(str(pair[1]), str(pair[2]))
