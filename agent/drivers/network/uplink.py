"""The way out of a VPC, where the host's owner allows one (SPEC N5).

A veth pair leads from the VPC's namespace to the host. The VPC translates its guests' addresses to its end of
the pair, the host translates that to its own address: two VPCs with the same addresses stay apart. The host's
own table `inet <prefix>` lets guests out through the uplink interface only, nobody in, and keeps them off the
host itself and off link-local addresses (where clouds keep their metadata). Other tables are never touched;
one that drops forwarded packets by default has to let `<prefix>-up*` pass by itself.

Each pair has a /30 by the VPC's `link` number, from the first of `RANGES` of which the host routes nothing.
"""

from __future__ import annotations

import ipaddress
import threading
from pathlib import Path

from agent.core.errors import DriverError
from agent.core.specs import VpcSpec
from agent.drivers.network import expressions as x
from agent.drivers.network import links, netns
from agent.drivers.network.routes import EVERYWHERE, SYSTEM_METRIC
from agent.drivers.network.ruleset import Chain, Hook, NfSet, Table, elements
from agent.drivers.network.tables import KernelTables

INSIDE = "up0"  # the VPC's end
RANGES = tuple(ipaddress.IPv4Network(cidr) for cidr in ("100.127.0.0/16", "100.126.0.0/16", "198.18.0.0/16"))
_RESTORE = "restore_forwarding_"  # chains without rules: interfaces that did not forward before we came


def end_points(link: int, taken: list[ipaddress.IPv4Network]) -> tuple[str, str]:
    """The host's and the VPC's address of pair `link`, not in a network of `taken`; ValueError if there is none."""
    for whole in RANGES:
        first = int(whole.network_address) + 4 * link
        pair = ipaddress.IPv4Network((first, 30))
        if pair.subnet_of(whole) and not any(pair.overlaps(other) for other in taken):
            return str(pair[1]), str(pair[2])
    raise ValueError(f"no free uplink addresses for VPC number {link} in {', '.join(map(str, RANGES))}")


def host_table(prefix: str, interface: str | None, insides: list[str], restore: frozenset[str]) -> Table:
    """The host's own table. `interface` leads out (None: nothing does for now), `insides` are the VPCs' ends."""
    from_vpc, to_vpc = x.interface("iifname", f"{prefix}-up*"), x.interface("oifname", f"{prefix}-up*")
    answers = x.state("established", "related")
    forward = [
        x.rule(from_vpc, x.ipv4(), x.header_within("ip daddr", "169.254.0.0/16"), x.drop()),
        x.rule(to_vpc, answers, x.accept()),
        x.rule(to_vpc, x.drop()),
    ]
    chains = {
        "input": Chain((x.rule(from_vpc, answers, x.accept()), x.rule(from_vpc, x.drop())), Hook(1, -10)),
        **{f"{_RESTORE}{name}": Chain(()) for name in restore},
    }
    if interface is None:
        forward.append(x.rule(from_vpc, x.drop()))
    else:
        forward.append(x.rule(from_vpc, x.interface("oifname", interface, equal=False), x.drop()))
        translate = x.rule(
            x.interface("oifname", interface), x.ipv4(), x.header_in("ip saddr", "uplinks"), x.masquerade()
        )
        chains["snat"] = Chain((translate,), Hook(4, 100, kind="nat"))
    chains["forward"] = Chain(tuple(forward), Hook(2, -10))
    sets = {"uplinks": NfSet(("ipv4_addr",), elements(map(x.address_element, insides)))}
    return Table(x.NFPROTO_INET, prefix, sets, chains)


class Uplinks:
    """All pairs of this host. `mode`: none | auto | an interface of the host."""

    def __init__(self, prefix: str, mode: str, host: netns.Namespace) -> None:
        self._prefix = prefix
        self._mode = mode
        self._host = host
        self._lock = threading.Lock()
        self._tables = host.run(KernelTables)
        self._removed = False  # with mode none: what another mode may have left is gone

    @property
    def inside(self) -> str | None:
        """The name of the interface by which VPCs go out, if they may."""
        return None if self._mode == "none" else INSIDE

    def close(self) -> None:
        self._tables.close()

    def ensure(self, spec: VpcSpec, vpc: netns.Namespace) -> None:
        with self._lock:
            if self._mode == "none":
                vpc.run(lambda: links.delete(vpc.ip, INSIDE))
                if not self._removed:
                    self._remove_table()
                    self._removed = True
                return
            self._connect(spec, vpc)
            if self._apply() is None and self._mode != "auto":
                raise DriverError(
                    f"uplink interface {self._mode} does not exist on the host; "
                    "name another in the agent's configuration",
                    transient=True,
                )

    def disconnect(self, vpc: netns.Namespace) -> None:
        """Without its pair the VPC has no way out."""
        with self._lock:
            vpc.run(lambda: links.delete(vpc.ip, INSIDE))
            if self._mode != "none":
                self._apply()

    def remove_all(self) -> None:
        """No pair is left, nor the host's table."""
        with self._lock:
            self._host.run(self._delete_pairs)
            self._remove_table()

    # --------------------------------------------------------------------------------- a pair

    def _name(self, spec: VpcSpec) -> str:
        return f"{self._prefix}-up{spec.link}"

    def _connect(self, spec: VpcSpec, vpc: netns.Namespace) -> None:
        name = self._name(spec)
        whole = vpc.run(lambda: links.index(vpc.ip, INSIDE)) and self._host.run(
            lambda: links.index(self._host.ip, name)
        )
        if not whole:
            vpc.run(lambda: links.delete(vpc.ip, INSIDE))
            self._host.run(lambda: self._create(name, vpc))
        outside, inside = self._host.run(lambda: self._address(name, spec.link))
        self._host.sysctl({f"ipv6/conf/{name}/disable_ipv6": 1, f"ipv4/conf/{name}/forwarding": 1})

        def set_inside() -> None:
            index = links.required(vpc.ip, INSIDE)
            vpc.ip.addr("replace", index=index, address=inside, prefixlen=30)
            vpc.ip.link("set", index=index, state="up")
            vpc.ip.route("replace", dst=EVERYWHERE, gateway=outside, priority=SYSTEM_METRIC)

        vpc.run(set_inside)

    def _create(self, name: str, vpc: netns.Namespace) -> None:
        links.delete(self._host.ip, name)
        with (netns.RUN_DIR / str(vpc.name)).open("rb") as inside:
            peer = {"ifname": INSIDE, "net_ns_fd": inside.fileno()}
            self._host.ip.link("add", ifname=name, kind="veth", peer=peer)

    def _address(self, name: str, link: int) -> tuple[str, str]:
        """Keep the pair's addresses if it has them: live flows are translated to them."""
        ip = self._host.ip
        index = links.required(ip, name)
        present = links.addresses(ip, index)
        if present:
            pair = ipaddress.IPv4Network(f"{present[0][0]}/30", strict=False)
            ends = str(pair[1]), str(pair[2])
        else:
            ends = end_points(link, links.routed(ip, but=index))
        ip.addr("replace", index=index, address=ends[0], prefixlen=30)
        ip.link("set", index=index, state="up")
        return ends

    def _delete_pairs(self) -> None:
        for link in self._pairs():
            links.delete(self._host.ip, link.name)

    def _pairs(self) -> list[links.Link]:
        return [link for link in links.all(self._host.ip) if link.name.startswith(f"{self._prefix}-up")]

    # --------------------------------------------------------------------------------- the host's table

    def _apply(self) -> str | None:
        """Make the table fit the pairs there are and the interface that leads out now, which is returned."""
        interface = self._interface()
        restore = self._left_to_restore()
        if interface is not None:
            forwarding = Path("/proc/sys/net/ipv4/conf", interface, "forwarding")
            if self._host.run(lambda: forwarding.read_text().strip()) == "0":
                restore |= {interface}
        insides = self._host.run(self._insides)
        wanted = host_table(self._prefix, interface, insides, frozenset(restore))
        self._tables.apply((wanted,))
        # Only this interface and the pairs forward, and only once the table says what.
        if interface is not None:
            self._host.sysctl({f"ipv4/conf/{interface}/forwarding": 1})
        return interface

    def _insides(self) -> list[str]:
        found = []
        for link in self._pairs():
            for address, _ in links.addresses(self._host.ip, link.number):
                found.append(str(ipaddress.IPv4Address(address) + 1))
        return found

    def _interface(self) -> str | None:
        """The interface that leads out, None while there is none."""
        if self._mode == "auto":
            return self._host.run(lambda: links.default_interface(self._host.ip))
        return self._mode if self._host.run(lambda: links.index(self._host.ip, self._mode)) is not None else None

    def _left_to_restore(self) -> set[str]:
        names = self._tables.chains(x.NFPROTO_INET, self._prefix)
        return {name.removeprefix(_RESTORE) for name in names if name.startswith(_RESTORE)}

    def _remove_table(self) -> None:
        if not self._tables.chains(x.NFPROTO_INET, self._prefix):
            return
        for interface in self._left_to_restore():
            path = Path("/proc/sys/net/ipv4/conf", interface, "forwarding")
            if self._host.run(path.exists):
                self._host.sysctl({f"ipv4/conf/{interface}/forwarding": 0})
        self._tables.remove(x.NFPROTO_INET, self._prefix)
