"""The network driver (protocol Network): all VPCs of a host."""

from __future__ import annotations

import dataclasses
import functools
import socket
import threading
from collections.abc import Callable, Mapping

from agent.core.errors import DriverError
from agent.core.specs import FilterSpec, FlowDecision, FlowSpec, HostCheck, PortEvent, PortSpec, VpcSpec
from agent.drivers.network import forwarding, host_check, host_facts, links, netns, responder, tap
from agent.drivers.network.failures import explained
from agent.drivers.network.router import Router
from agent.drivers.network.strangers import Strangers
from agent.drivers.network.uplink import Uplinks


class NetworkDriver:
    """Routers and ports on this host whose names begin with `prefix`; nothing else is touched.

    `uplink` is `none`, `auto` (the interface of the host's default route) or an interface. `dns` and `domain`
    are told to guests whose port names no servers. `host_netns` names the namespace that plays the host, None: the
    agent's. Calls may come from any thread; those of one VPC follow each other.
    """

    def __init__(
        self, prefix: str, uplink: str, dns: tuple[str, ...], host_netns: str | None = None, domain: str = ""
    ) -> None:
        self._prefix = prefix
        self._dns, self._domain = dns, domain
        with explained(f"enter the host's network namespace {host_netns or ''}".rstrip()):
            self._host = netns.Namespace(host_netns)
            self._uplinks = Uplinks(prefix, uplink, self._host)
        self._lock = threading.RLock()  # of the routers
        self._checking = threading.Lock()  # there is one place to try packets from
        self._routers: dict[str, Router] = {}
        self._responder = responder.Responder()
        self._strangers = Strangers()
        self._strangers_callback: Callable[[str, str, bool], None] = lambda vpc_id, what, repaired: None
        self._uplinks.watch(self._strangers, functools.partial(self._undo, "", self._uplinks.repair))
        self._router_callback: Callable[[str, bool], None] = lambda vpc_id, present: None

    def close(self) -> None:
        """Stop answering DHCP and let go of the namespaces; everything in the kernel stays as it is."""
        self._responder.close()
        self._strangers.close()
        with self._lock:
            for router in self._routers.values():
                router.close()
            self._routers.clear()
        self._uplinks.close()
        self._host.close()

    # --------------------------------------------------------------------------------- VPCs

    def ensure_vpc(self, spec: VpcSpec) -> None:
        with explained(f"set up the router of {spec.vpc_id}"):
            with self._lock:
                netns.create(self._namespace(spec.vpc_id))
                router = self._router(spec.vpc_id)
            router.ensure(spec)
            try:
                self._uplinks.ensure(spec, router.namespace, functools.partial(router.translate, spec))
            finally:  # what leads to instances does not depend on the host's interface
                router.ensure_routes(spec)
            self._listen_for_dhcp(spec.vpc_id, router)
        self._router_callback(spec.vpc_id, True)

    def remove_vpc(self, vpc_id: str) -> None:
        self._router_callback(vpc_id, False)
        with explained(f"remove the router of {vpc_id}"), self._lock:
            self._responder.forget(vpc_id)
            if vpc_id in self._routers or netns.exists(self._namespace(vpc_id)):  # somebody may have taken its name
                router = self._router(vpc_id)
                self._uplinks.disconnect(router.namespace)
                for port in router.ports():
                    router.remove(port)
                self._strangers.forget(self._namespace(vpc_id))
                router.close()
                del self._routers[vpc_id]
            netns.remove(self._namespace(vpc_id))

    def remove_all(self) -> None:
        """Every namespace, tap, pair and table of this prefix: the product leaves the host."""
        for vpc_id in self.list_vpcs():
            self.remove_vpc(vpc_id)
        with explained("remove the taps and the uplink from the host"):
            for name in self._host.run(self._own_taps):
                self._host.run(functools.partial(links.delete, self._host.ip, name))
            self._uplinks.remove_all()
            forwarding.remove_left(self._prefix, self._host)

    def list_vpcs(self) -> set[str]:
        head = f"{self._prefix}-"
        return {name.removeprefix(head) for name in netns.names() if name.startswith(f"{head}vpc-")}

    def apply_filter(self, spec: FilterSpec) -> None:
        with explained(f"change the filter of {spec.vpc_id}"):
            self._router(spec.vpc_id).apply(spec)

    def explain(self, vpc_id: str, flow: FlowSpec) -> list[FlowDecision]:
        with explained(f"explain the filter of {vpc_id}"):
            return self._router(vpc_id).explain(flow)

    def on_stranger(self, callback: Callable[[str, str, bool], None]) -> None:
        self._strangers_callback = callback

    def _undo(self, vpc_id: str, repair: Callable[[], None], what: str) -> None:
        try:
            with explained(f"repair the tables of {vpc_id or 'the host'}"):
                repair()
        except DriverError as error:
            self._strangers_callback(vpc_id, f"{what}: {error}", False)
        else:
            self._strangers_callback(vpc_id, what, True)

    # --------------------------------------------------------------------------------- ports

    def create_tap(self, port: PortSpec) -> None:
        """A tap that a domain has open already, here or in its VPC, stays: the call was made before."""
        with explained(f"create tap {port.tap} of {port.instance_id}"):
            wired = self._wired(port.vpc_id, port.tap)
            if wired is not None:
                if wired.attached:
                    return
                self._unwire(port.vpc_id, port.tap)
            self._host.run(lambda: self._create_tap(port))

    def _create_tap(self, port: PortSpec) -> None:
        ip = self._host.ip
        present = links.find(ip, port.tap)
        if present is not None:
            if not present.alias.startswith(f"{self._prefix}:"):
                raise DriverError(f"there is a link {port.tap} on the host that is not of this agent; remove it")
            if present.attached:
                return
            links.delete(ip, port.tap)

        def prepare() -> None:
            index = links.index(ip, port.tap)
            ip.link("set", index=index, mtu=port.mtu, ifalias=self._alias(port))
            # Nothing of the host may speak to the guest while the tap is still here.
            self._host.sysctl({f"ipv6/conf/{port.tap}/disable_ipv6": 1})

        tap.create(port.tap, prepare)

    def wire_port(self, port: PortSpec) -> None:
        with explained(f"wire {port.tap} of {port.instance_id} into {port.vpc_id}"):
            router = self._router(port.vpc_id)
            if self._wired(port.vpc_id, port.tap) is None:
                self._move(port)
            self._know(port)
            router.wire(port)

    def _move(self, port: PortSpec) -> None:
        def move() -> None:
            index = links.index(self._host.ip, port.tap)
            if index is None:
                raise DriverError(f"tap {port.tap} of {port.instance_id} does not exist; start the instance again")
            with (netns.RUN_DIR / self._namespace(port.vpc_id)).open("rb") as namespace:
                self._host.ip.link("set", index=index, net_ns_fd=namespace.fileno())

        self._host.run(move)

    def remove_port(self, vpc_id: str, tap: str) -> None:
        with explained(f"remove tap {tap} from {vpc_id}"):
            self._responder.drop(vpc_id, tap)
            self._unwire(vpc_id, tap)

            def remove() -> None:
                present = links.find(self._host.ip, tap)
                if present is not None and present.alias.startswith(f"{self._prefix}:"):
                    links.delete(self._host.ip, tap)

            self._host.run(remove)

    def list_taps(self) -> dict[str, str | None]:
        with explained("list the taps of the host"):
            found: dict[str, str | None] = dict.fromkeys(self._host.run(self._own_taps))
            for vpc_id in self.list_vpcs():
                found.update(dict.fromkeys(self._router(vpc_id).ports(), vpc_id))
            return found

    def limit_port(self, port: PortSpec) -> None:
        with explained(f"limit the bandwidth of {port.instance_id} in {port.vpc_id}"):
            self._router(port.vpc_id).limit(port)

    def is_wired(self, port: PortSpec) -> bool:
        with explained(f"look for {port.tap} of {port.instance_id} in {port.vpc_id}"):
            return self._wired(port.vpc_id, port.tap) is not None

    def adopt_ports(self, vpc_id: str, ports: list[PortSpec]) -> None:
        for port in ports:
            self._know(port)
        with explained(f"take over the ports of {vpc_id}"):
            router = self._router(vpc_id)
            router.limit_all(ports)
            self._listen_for_dhcp(vpc_id, router)

    # --------------------------------------------------------------------------------- the host

    def host_addresses(self) -> list[str]:
        with explained("read the addresses of the host"):
            return self._host.run(lambda: host_facts.addresses(self._host.ip))

    def port_taken(self, protocol: str, address: str, port: int) -> bool:
        with explained(f"look at the host's port {port}"):
            return self._host.run(lambda: host_facts.port_taken(protocol, address, port))

    # --------------------------------------------------------------------------------- traffic of the router

    def dial(self, vpc_id: str, ip: str, port: int, timeout: float) -> socket.socket:
        """The guest sees the gateway of its VSwitch as the other end. `timeout` in seconds."""
        with explained(f"reach into {vpc_id}"):
            router = self._router(vpc_id)
        return router.connect(ip, port, timeout)

    def on_router(self, callback: Callable[[str, bool], None]) -> None:
        self._router_callback = callback

    def listen(self, vpc_id: str, address: str, port: int) -> socket.socket:
        """A listening TCP socket on an address of the VPC's router, for its services."""
        with explained(f"listen on {address}:{port} in {vpc_id}"):
            return self._router(vpc_id).listen(address, port)

    def receive(self, vpc_id: str, address: str, port: int) -> socket.socket:
        """A UDP socket on an address of the VPC's router, for its services."""
        with explained(f"receive on {address}:{port} in {vpc_id}"):
            return self._router(vpc_id).bound(socket.SOCK_DGRAM, address, port)

    def note(self, tap_or_ip: str, what: str, vpc_id: str | None = None) -> None:
        """Add to the history of a port, named by its tap or, with `vpc_id`, by its address there."""
        if vpc_id is None:
            self._responder.note(tap_or_ip, what)
        elif (port := self._responder.port_at(vpc_id, tap_or_ip)) is not None:
            self._responder.note(port.tap, what)

    def port_history(self, tap: str) -> list[PortEvent]:
        return self._responder.history(tap)

    # --------------------------------------------------------------------------------- the host

    def check_host(self, vpcs: Mapping[str, str]) -> list[HostCheck]:
        """Raises DriverError only for what is wrong with the agent's own hold of the network."""
        with explained("look at the host's network"), self._checking:
            return list(host_check.checks(self._prefix, self._host, self._uplinks, vpcs))

    # --------------------------------------------------------------------------------- inside

    def _namespace(self, vpc_id: str) -> str:
        return f"{self._prefix}-{vpc_id}"

    def _alias(self, port: PortSpec) -> str:
        """Says on the link itself whose it is, wherever it is moved."""
        return f"{self._prefix}:{port.vpc_id}:{port.instance_id}"

    def _own_taps(self) -> list[str]:
        return [link.name for link in links.all(self._host.ip) if link.alias.startswith(f"{self._prefix}:")]

    def _router(self, vpc_id: str) -> Router:
        with self._lock:
            if vpc_id not in self._routers:
                if not netns.exists(self._namespace(vpc_id)):
                    raise DriverError(f"VPC {vpc_id} has no router on this host; set it up first")
                router = Router(self._namespace(vpc_id))
                try:
                    router.watch(self._strangers, functools.partial(self._undo, vpc_id, router.repair))
                except BaseException:
                    router.close()
                    raise
                self._routers[vpc_id] = router
            return self._routers[vpc_id]

    def _wired(self, vpc_id: str, tap: str) -> links.Link | None:
        if not netns.exists(self._namespace(vpc_id)):
            return None
        namespace = self._router(vpc_id).namespace
        return namespace.run(lambda: links.find(namespace.ip, tap))

    def _unwire(self, vpc_id: str, tap: str) -> None:
        if netns.exists(self._namespace(vpc_id)):
            self._router(vpc_id).remove(tap)

    def _know(self, port: PortSpec) -> None:
        self._responder.add(port if port.dns else dataclasses.replace(port, dns=self._dns, domain=self._domain))

    def _listen_for_dhcp(self, vpc_id: str, router: Router) -> None:
        with self._lock:
            if not self._responder.watches(vpc_id):
                self._responder.watch(vpc_id, router.namespace.run(responder.open_socket))
