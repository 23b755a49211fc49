"""A VPC's router: what is in its namespace, and the filter that guards it (SPEC N1, N2)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable

from agent.core.addresses import METADATA_ADDRESS, NAME_SERVER
from agent.core.errors import DriverError
from agent.core.specs import FilterSpec, FlowDecision, FlowSpec, PortSpec, VpcSpec
from agent.drivers.network import fence, flows, links, nat, netns, routes, shaping
from agent.drivers.network.base_chains import PORT_GROUP, TABLE
from agent.drivers.network.explain import explain
from agent.drivers.network.expressions import NFPROTO_INET
from agent.drivers.network.filter import Compiler
from agent.drivers.network.strangers import Strangers
from agent.drivers.network.tables import KernelTables

ROUTER_MAC = "ee:ff:ff:ff:ff:ff"  # of each tap's router side; the links are separate, so one address does
ATTEMPT_SECONDS = 1.0  # in which a guest that is up answers a SYN
_PERMANENT = 0x80  # neighbour state
_LINK_SCOPE = 253

_NAMESPACE_SYSCTLS: dict[str, str | int] = {
    "ipv6/conf/all/disable_ipv6": 1,
    "ipv6/conf/default/disable_ipv6": 1,
    "ipv4/ip_forward": 1,
    "ipv4/conf/all/rp_filter": 1,
    "ipv4/conf/default/rp_filter": 1,
    "ipv4/conf/all/accept_redirects": 0,
    "ipv4/conf/default/accept_redirects": 0,
    "ipv4/conf/all/send_redirects": 0,
    "ipv4/conf/default/send_redirects": 0,
    "ipv4/conf/all/accept_source_route": 0,
    "ipv4/conf/default/accept_source_route": 0,
    "ipv4/icmp_echo_ignore_broadcasts": 1,
}
# Exists only once something tracks connections. 1 would let the next packet of a flow that was cut make it anew.
_TRACKING_SYSCTLS: dict[str, str | int] = {"netfilter/nf_conntrack_tcp_loose": 0}


class Router:
    """The namespace of one VPC, which must exist. Its methods may be called from any thread."""

    def __init__(self, namespace: str) -> None:
        self.namespace = netns.Namespace(namespace)
        try:
            self._tables = self.namespace.run(KernelTables)
            self._nat = self.namespace.run(KernelTables)
        except BaseException:
            self.namespace.close()
            raise
        self._compiler = Compiler()
        self._spec: FilterSpec | None = None  # applied last
        self._applying = threading.Lock()
        self._leading: object = None  # public addresses and forwarded ports that hold, once they were applied
        self._pair: int | None = None  # the number of its link, seen last
        # kbit/s to and from the ports there are, by tap; only the namespace's thread uses it
        self._limits: dict[str, tuple[int, int]] = {}
        self._vpc: VpcSpec | None = None  # whose custom routes were made last

    def close(self) -> None:
        """Let go of the namespace; it goes on working."""
        self._tables.close()
        self._nat.close()
        self.namespace.close()

    # --------------------------------------------------------------------------------- the router itself

    def ensure(self, spec: VpcSpec) -> None:
        """Everything but the uplink. The filter comes first and is closed: no port works before it is known."""
        if not self._tables.chains(NFPROTO_INET, TABLE):
            self._tables.forget()
            self.apply(self._spec or FilterSpec(spec.vpc_id))
        if self._spec is not None:
            self._close_without_filter()
        self.namespace.sysctl(_NAMESPACE_SYSCTLS | _TRACKING_SYSCTLS)
        self.namespace.run(lambda: self._ensure_addresses(spec))

    def _ensure_addresses(self, spec: VpcSpec) -> None:
        ip = self.namespace.ip
        loopback = links.required(ip, "lo")
        ip.link("set", index=loopback, state="up")
        wanted = {*spec.gateways, METADATA_ADDRESS, NAME_SERVER}
        present = {address for address, _ in links.addresses(ip, loopback) if not address.startswith("127.")}
        for address in sorted(wanted - present):
            ip.addr("replace", index=loopback, address=address, prefixlen=32)
        for address in sorted(present - wanted):
            ip.addr("del", index=loopback, address=address, prefixlen=32)
        # An address of the VPC that no port has leads nowhere, least of all out.
        ip.route("replace", dst=spec.cidr, type="unreachable", priority=routes.SYSTEM_METRIC)

    def ensure_routes(self, spec: VpcSpec) -> None:
        """The custom ones; after the uplink, by which some lead."""

        def apply() -> None:
            self._vpc = spec
            routes.apply(self.namespace.ip, spec)

        self.namespace.run(apply)

    # --------------------------------------------------------------------------------- filter

    def apply(self, spec: FilterSpec) -> None:
        """At one moment; the first call of a fresh driver takes over whatever filter the namespace has."""
        with self._applying:
            self._tables.apply(self._compiler.compile(spec))
            if self._spec is None:
                self._close_without_filter()
            self._spec = spec

    def watch(self, strangers: Strangers, changed: Callable[[str], None]) -> None:
        """Call `changed` with what somebody else did to the tables, until `strangers` forgets the namespace."""
        strangers.watch(self.namespace, (self._tables, self._nat), changed)

    def repair(self) -> None:
        """The tables were changed by somebody else. Flows that passed meanwhile are examined again."""
        with self._applying:
            if self._spec is not None:
                self._tables.forget()
                self._compiler.renew()
                self._tables.apply(self._compiler.compile(self._spec))
                self._close_without_filter()
        self._nat.restore()

    def _close_without_filter(self) -> None:
        self.namespace.sysctl(fence.SYSCTLS)
        self.namespace.run(lambda: fence.ensure(self.namespace.ip))

    def explain(self, flow: FlowSpec) -> list[FlowDecision]:
        """What the filter as the kernel has it says of a flow."""
        tables = self._tables.applied()
        if tables is None:
            raise DriverError("the filter is being set up; try again", transient=True)
        [table] = (one for one in tables if (one.family, one.name) == (NFPROTO_INET, TABLE))
        return explain(table, flow, nat.INSIDE)

    def translate(self, spec: VpcSpec, ends: nat.Ends | None) -> None:
        """Translate addresses as wanted; `ends` are those of the pair to the host."""
        if not self._nat.chains(NFPROTO_INET, nat.TABLE):
            self._nat.forget()
        self._nat.apply((nat.translate(spec, ends), shaping.table()))
        leading = spec.publics, spec.forwards, ends
        if leading != self._leading:
            self.namespace.run(lambda: flows.forget(nat.outdated(spec, ends)))
            self._leading = leading
        pair = self.namespace.run(lambda: links.index(self.namespace.ip, nat.INSIDE))
        if pair != self._pair:
            self._pair = pair
            self.limit_all()

    # --------------------------------------------------------------------------------- ports

    def wire(self, port: PortSpec) -> None:
        """Make the link `port.tap`, which is in the namespace, a routed one; up at the very end."""
        self.namespace.run(lambda: self._wire(port))

    def _wire(self, port: PortSpec) -> None:
        ip = self.namespace.ip
        index = links.index(ip, port.tap)
        if index is None:
            raise DriverError(f"link {port.tap} of {port.instance_id} is not in namespace {self.namespace.name}")
        ip.link("set", index=index, group=PORT_GROUP, mtu=port.mtu)
        # libvirt gives a tap an address of its own choice when it opens it. The kernel forgets a link's neighbours
        # whenever one is set, the same as well.
        if ip.get_links(index)[0].get_attr("IFLA_ADDRESS") != ROUTER_MAC:
            ip.link("set", index=index, address=ROUTER_MAC)
        self.namespace.sysctl(
            {
                f"ipv4/conf/{port.tap}/proxy_arp": 1,
                f"ipv4/neigh/{port.tap}/proxy_delay": 0,
                f"ipv4/conf/{port.tap}/rp_filter": 1,
                f"ipv4/conf/{port.tap}/send_redirects": 0,
            }
        )
        ip.link("set", index=index, state="up")
        self._route_to(port, index)
        if self._vpc and any(route.tap == port.tap for route in self._vpc.routes):
            routes.apply(ip, self._vpc)
        self.limit(port)

    def _route_to(self, port: PortSpec, index: int) -> None:
        """Every address of the guest by its link, and none that it has no more."""
        ip, addresses = self.namespace.ip, {port.ip, *port.secondary_ips}
        for address in sorted(addresses):
            ip.route("replace", dst=f"{address}/32", oif=index, scope=_LINK_SCOPE, prefsrc=port.gateway)
            ip.neigh("replace", dst=address, lladdr=port.mac, ifindex=index, state=_PERMANENT)
        for address in self._routed_to(index) - addresses:
            ip.route("del", dst=f"{address}/32", oif=index, scope=_LINK_SCOPE)
            # Deleted is only what is there: the kernel may have forgotten it when the link was down.
            ip.neigh("replace", dst=address, lladdr=port.mac, ifindex=index, state=_PERMANENT)
            ip.neigh("del", dst=address, ifindex=index)

    def _routed_to(self, index: int) -> set[str]:
        """The addresses of the guest behind a port, as the routes have them."""
        found = self.namespace.ip.get_routes(family=socket.AF_INET, oif=index, scope=_LINK_SCOPE)
        return {message.get_attr("RTA_DST") for message in found if message["dst_len"] == 32}

    def limit(self, port: PortSpec) -> None:
        """Let the bandwidth of `port` hold from now on, or from when its link is here."""
        self.namespace.run(lambda: self._limit(port))

    def limit_all(self, ports: Iterable[PortSpec] = ()) -> None:
        """The same for all `ports` at once, and for those known before whose classes went with the pair."""
        self.namespace.run(lambda: self._limit_all(ports))

    def _limit_all(self, ports: Iterable[PortSpec]) -> None:
        self._limits.update({port.tap: (port.inbound_kbit, port.outbound_kbit) for port in ports})
        if not self._limits:
            return
        ip = self.namespace.ip
        numbers = {link.name: link.number for link in links.all(ip) if link.name in self._limits}
        limited = shaping.inbound_limited(ip), shaping.outbound_limited(ip, numbers.values())
        for tap, number in numbers.items():
            for held, wanted, limit in zip(
                limited, self._limits[tap], (shaping.limit_inbound, shaping.limit_outbound), strict=True
            ):
                if wanted or number in held:
                    limit(ip, number, wanted)

    def _limit(self, port: PortSpec) -> None:
        self._limits[port.tap] = port.inbound_kbit, port.outbound_kbit
        ip = self.namespace.ip
        number = links.index(ip, port.tap)
        if number is not None:
            shaping.limit_inbound(ip, number, port.inbound_kbit)
            shaping.limit_outbound(ip, number, port.outbound_kbit)

    def remove(self, tap: str) -> None:
        """The link is gone, and its class at the pair."""
        self.namespace.run(lambda: self._remove(tap))

    def _remove(self, tap: str) -> None:
        self._limits.pop(tap, None)
        index = links.index(self.namespace.ip, tap)
        if index is not None:
            shaping.limit_outbound(self.namespace.ip, index, 0)
            links.delete(self.namespace.ip, tap)

    def ports(self) -> set[str]:
        return self.namespace.run(
            lambda: {link.name for link in links.all(self.namespace.ip) if link.group == PORT_GROUP}
        )

    # --------------------------------------------------------------------------------- sockets

    def connect(self, address: str, port: int, timeout: float) -> socket.socket:
        """A TCP connection from the gateway, which is the source address in the port's route.

        A guest that is just coming up misses the first SYN, and the kernel repeats it after ever longer pauses; so a
        new attempt begins every second.
        """
        end, left = time.monotonic() + timeout, timeout
        while True:
            try:
                return self._attempt(address, port, min(left, ATTEMPT_SECONDS))
            except TimeoutError:
                left = end - time.monotonic()
                if left <= 0:
                    raise

    def _attempt(self, address: str, port: int, timeout: float) -> socket.socket:
        """Only making the socket is work for the namespace's thread; the waiting is the caller's."""
        connection = self.namespace.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        try:
            connection.settimeout(timeout)
            connection.connect((address, port))
            connection.settimeout(None)
        except BaseException:
            connection.close()
            raise
        return connection

    def listen(self, address: str, port: int) -> socket.socket:
        """A listening TCP socket of the router."""
        listener = self.bound(socket.SOCK_STREAM, address, port)
        listener.listen(128)
        return listener

    def bound(self, kind: int, address: str, port: int) -> socket.socket:
        """A socket of that kind (`socket.SOCK_…`) on an address of the router."""
        made = self.namespace.run(lambda: socket.socket(socket.AF_INET, kind))
        try:
            if kind == socket.SOCK_STREAM:  # for UDP it would let two answer
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address, port))
        except BaseException:
            made.close()
            raise
        return made
