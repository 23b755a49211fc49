"""A namespace that plays the host, with VPCs on it, and one that plays the rest of the world."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from agent.core.specs import ForwardSpec, PortSpec, PublicSpec
from agent.drivers.network import netns
from tests.net.vpc_lab import Guest, Lab

WORLD, HOST = "203.0.113.1", "203.0.113.2"


@dataclass
class Stage:
    host: netns.Namespace
    world: Guest
    lab: Lab

    @property
    def here(self) -> Guest:
        """The host as somebody who sends and listens."""
        return Guest(PortSpec("", "", "", "", HOST, 24, "", ""), (), self.host)

    def network(
        self, *publics: tuple[str, Guest], forwards: tuple[ForwardSpec, ...] = (), vpc: str = "vpc-a", **more: object
    ) -> None:
        """Bind these public addresses of a VPC's guests and forward these ports, and no others."""
        bound = tuple(PublicSpec(address, guest.ip) for address, guest in publics)
        spec = replace(self.lab.vpcs[vpc], publics=bound, forwards=forwards, **more)  # type: ignore[arg-type]
        self.lab.vpcs[vpc] = spec
        self.lab.driver.ensure_vpc(spec)

    def on_host(self, *command: str) -> str:
        line = ["ip", "netns", "exec", str(self.host.name), *command]
        return subprocess.run(line, capture_output=True, text=True, check=True, timeout=20).stdout


def make_namespace(name: str) -> netns.Namespace:
    netns.create(name)
    namespace = netns.Namespace(name)
    namespace.run(lambda: namespace.ip.link("set", index=1, state="up"))
    return namespace


def join(host: netns.Namespace, world: netns.Namespace) -> None:
    def on_host() -> None:
        with (netns.RUN_DIR / str(world.name)).open("rb") as there:
            host.ip.link("add", ifname="wan0", kind="veth", peer={"ifname": "eth0", "net_ns_fd": there.fileno()})
        index = host.ip.link_lookup(ifname="wan0")[0]
        host.ip.addr("add", index=index, address=HOST, prefixlen=24)
        host.ip.link("set", index=index, state="up")
        host.ip.route("add", dst="0.0.0.0/0", gateway=WORLD)

    def in_world() -> None:
        index = world.ip.link_lookup(ifname="eth0")[0]
        world.ip.addr("add", index=index, address=WORLD, prefixlen=24)
        world.ip.link("set", index=index, state="up")

    host.run(on_host)
    world.run(in_world)


@contextmanager
def staged(uplink: str) -> Iterator[Stage]:
    tag = f"{random.randrange(1 << 32):08x}"
    host, world = make_namespace(f"host-{tag}"), make_namespace(f"world-{tag}")
    try:
        join(host, world)
        lab = Lab(uplink=uplink, host=host.name)
        try:
            player = Guest(PortSpec("", "", "", "", WORLD, 24, "", ""), (), world)
            yield Stage(host, player, lab)
        finally:
            lab.close()
    finally:
        for namespace in (host, world):
            namespace.close()
            netns.remove(str(namespace.name))
