"""Two guests with a router between them that filters in one way or another, and what gets through it."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agent.core.specs import FilterSpec, MemberSpec, RuleSpec
from tests.net.vpc_lab import Guest, Lab, rule, serving
from tests.support.throughput import tcp_mbit

RULES = 100  # of each group, and in the lists of each instance
GROUPS = 100  # as many as an account may have
PORT = 5001
_AT_ONCE = 100
_RESET = struct.pack("ii", 1, 0)  # a close says so at once, and leaves nothing to wait for


def rules_of(number: int) -> tuple[RuleSpec, ...]:
    """A group's. The last one allows PORT; the others are of networks that nobody here has."""
    others = (
        rule(protocol="tcp", ports=(6000 + 10 * one, 6005 + 10 * one), cidr=f"10.{number % 250}.{one}.0/24")
        for one in range(RULES - 1)
    )
    return *others, rule(protocol="tcp", ports=(PORT, PORT), cidr="192.168.0.0/16")


def group_of(number: int) -> str:
    return f"sg-{number}"


def members(count: int, groups: int) -> tuple[MemberSpec, ...]:
    """Instances that the filter knows and nobody has started."""
    made = []
    for n in range(count):
        mac, ip = f"00:16:3f:00:{n // 256:02x}:{n % 256:02x}", f"192.168.{8 + n // 250}.{n % 250 + 1}"
        made.append(MemberSpec(f"away{n}", mac, (ip,), (group_of(n % groups),)))
    return tuple(made)


@dataclass(frozen=True)
class Path:
    """From a client to a server through one router."""

    name: str
    client: Guest
    server: Guest

    def connections(self, seconds: float) -> float:
        """TCP connections a second, one after the other, each made, accepted and reset."""
        with serving(self.server, PORT) as listener:
            return self.client.ns.run(lambda: _rate(lambda: self._connect(listener), 1, seconds))

    def _connect(self, listener: socket.socket) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.connect((self.server.ip, PORT))
            listener.accept()[0].close()

    def segments(self, seconds: float) -> float:
        """Small TCP segments a second there and back on one connection, which is one flow all the time."""
        with self._connected() as (near, far):
            return self.client.ns.run(lambda: _rate(lambda: _echo(near, far), 2, seconds))

    def mbit(self, seconds: float) -> float:
        """Mbit/s of one TCP connection with large segments, as guests send them."""
        with self._connected() as (near, far):
            return tcp_mbit(near, far, seconds)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[tuple[socket.socket, socket.socket]]:
        with serving(self.server, PORT) as listener, self.client.socket(socket.AF_INET, socket.SOCK_STREAM) as near:
            near.connect((self.server.ip, PORT))
            far, _ = listener.accept()
            with far:
                for sock in (near, far):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                yield near, far


def _echo(near: socket.socket, far: socket.socket) -> None:
    near.send(b"x")
    far.recv(1)
    far.send(b"y")
    near.recv(1)


def _rate(action: Callable[[], None], counts: int, seconds: float) -> float:
    """`counts` of each call, per second: of the best of short times, in which the host did nothing else. The kernel
    does a packet's whole way in the call that sends it, on its CPU."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    began = before = time.perf_counter()
    best = math.inf
    while before - began < seconds:
        for _ in range(_AT_ONCE):
            action()
        now = time.perf_counter()
        best, before = min(best, now - before), now
    return _AT_ONCE * counts / best


# ------------------------------------------------------------------------------------- ways to filter


def ours(lab: Lab, count: int) -> Path:
    """The product's filter with that many instances in the VPC, the last but one of which are the two."""
    vpc, (client, server) = _pair(lab, f"ours at {count:,}")
    groups = min(GROUPS, count)
    spec = FilterSpec(
        vpc,
        {group_of(n): rules_of(n) for n in range(groups)} | {client.groups[0]: (), server.groups[0]: rules_of(0)},
        (client.member(), server.member(), *members(max(0, count - 2), groups)),
    )
    lab.driver.apply_filter(spec)
    return Path(f"our layout, {count:,} instances", client, server)


def unfiltered(lab: Lab, name: str, tables: str) -> Path:
    """A router of the product whose own rules gave way to `tables`, for nft. The lab has a driver that
    knows of none of its routers."""
    vpc, (client, server) = _pair(lab, name)
    lab.restart()
    script = tables.replace("SERVER", server.port.tap).replace("CLIENT", client.port.tap)
    for line in (["sysctl", "-qw", "net.ipv4.conf.all.src_valid_mark=0"], ["ip", "rule", "del", "priority", "20"]):
        lab.in_router(*line, vpc=vpc)
    command = ["ip", "netns", "exec", f"{lab.prefix}-{vpc}", "nft", "-f", "-"]
    subprocess.run(command, input=f"flush ruleset\n{script}", text=True, check=True, timeout=300)
    return Path(name, client, server)


TRACKED = """
table inet tracked {
  chain forward { type filter hook forward priority 0; policy drop; ct state established,related,new accept; }
}
"""


def linear(count: int) -> str:
    """Chains as iptables has them: one list that looks for the packet's instance among all, in both directions, then
    the list of its rules. The two of interest are in the middle, as others are on average."""
    taps = [f"away{n}" for n in range(max(0, count - 2))]
    taps[len(taps) // 2 : len(taps) // 2] = ["CLIENT", "SERVER"]
    answers = "ct state established,related accept"
    own = [f"    ip saddr {r.cidr} tcp dport {r.ports[0]}-{r.ports[1]} accept" for r in rules_of(0) if r.ports]
    lines = ["table inet linear {"]
    for tap in taps:
        lines += [f"  chain in_{tap} {{", f"    {answers}", *own, "    drop", "  }"]
        lines += [f"  chain out_{tap} {{", f"    {answers}", "    return", "  }"]
    lines.append("  chain forward { type filter hook forward priority 0; policy drop;")
    for way, match in (("out", "iifname"), ("in", "oifname")):
        lines += [f'    {match} "{tap}" jump {way}_{tap}' for tap in taps]
    return "\n".join([*lines, "  }", "}"]) + "\n"


def _pair(lab: Lab, name: str) -> tuple[str, tuple[Guest, Guest]]:
    vpc = lab.vpc(f"vpc-{len(lab.vpcs)}")
    lab.rules = {"sg-server": (rule(),)}
    pair = lab.guest("192.168.0.1", "sg-client", vpc=vpc), lab.guest("192.168.0.2", "sg-server", vpc=vpc)
    return vpc, pair
