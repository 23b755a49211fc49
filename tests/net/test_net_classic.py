"""The classic network's two cards (SPEC N4): real DHCP clients on both, and rules of the NIC type of each."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from vpc_lab import Guest, Lab, expect, ping, serving, tcp, until

from agent.core.addresses import INTERNET_GATEWAY
from agent.core.specs import INTERNET, INTRANET, Direction, FilterSpec, MemberSpec, RuleSpec, Verdict, VpcSpec
from agent.drivers.network import netns

pytestmark = pytest.mark.net

CLASSIC = "vpc-classic"
GATEWAY = "10.168.255.253"
SCRIPT = Path(__file__).parents[2] / "images/tiny_x64/files/etc/udhcpc.script"


class Card(Guest):
    """One of the cards of a machine."""

    def member(self) -> MemberSpec:
        return dataclasses.replace(super().member(), nic_type=self.port.nic_type)


class Classic:
    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        lab.vpcs[CLASSIC] = VpcSpec(CLASSIC, 1, "10.168.0.0/16", (GATEWAY, INTERNET_GATEWAY))
        lab.driver.ensure_vpc(lab.vpcs[CLASSIC])
        self._script = directory / "script"  # that of our image; it must not write the host's resolv.conf
        self._script.write_text(SCRIPT.read_text().replace("/etc/resolv.conf", str(directory / "resolv.conf")))
        self._script.chmod(0o755)

    def machine(self, group: str, intranet: str, public: str = "") -> Card:
        """Its intranet's card; both are configured by DHCP."""
        name = f"{self.lab.prefix}-guest{len(self.lab.guests)}"
        netns.create(name)
        cards = [self._card(name, "eth0", group, intranet)]
        if public:
            cards.append(self._card(name, "eth1", group, public))
        self.lab.apply(CLASSIC)
        for number, card in enumerate(cards):
            self.lab.driver.wire_port(card.port)
            client = card.sh(
                *("busybox", "udhcpc", "-n", "-q", "-i", f"eth{number}", "-s", str(self._script)),
                *("-O", "staticroutes", "-O", "mtu"),
            )
            assert client.returncode == 0, client.stderr
        return cards[0]

    def _card(self, namespace: str, name: str, group: str, ip: str) -> Card:
        port = self.lab.new_port(ip, CLASSIC)
        if name == "eth1":
            port = dataclasses.replace(port, nic_type=INTERNET, prefix_length=32, gateway=INTERNET_GATEWAY)
        else:
            port = dataclasses.replace(port, prefix_length=16, default_route=False)
        card = Card(port, (group,), netns.Namespace(namespace))
        self.lab.guests.append(card)

        def link() -> None:
            ip = card.ns.ip
            with (netns.RUN_DIR / f"{self.lab.prefix}-{CLASSIC}").open("rb") as router:
                peer = {"ifname": port.tap, "net_ns_fd": router.fileno()}
                ip.link("add", ifname=name, kind="veth", address=port.mac, peer=peer)
            for one in ("lo", name):
                ip.link("set", index=ip.link_lookup(ifname=one)[0], state="up")
            card.ns.sysctl({"ipv6/conf/all/disable_ipv6": 1})

        card.ns.run(link)
        return card


@pytest.fixture
def classic(lab: Lab, tmp_path: Path) -> Iterator[Classic]:
    return Classic(lab, tmp_path)


def _rule(nic_type: str, port: int, verdict: Verdict = Verdict.ACCEPT, way: Direction = Direction.INGRESS) -> RuleSpec:
    return RuleSpec(way, verdict, 1, "tcp", (port, port), "0.0.0.0/0", nic_type=nic_type)


def test_the_default_route_goes_by_the_internet_s_card(classic: Classic) -> None:
    both = classic.machine("sg-a", "10.168.0.1", "203.0.113.1")
    intranet = classic.machine("sg-a", "10.168.0.2")
    routes = both.sh("ip", "-4", "route").stdout.splitlines()
    assert [line.split()[:5] for line in routes if line.startswith("default")] == [
        ["default", "via", INTERNET_GATEWAY, "dev", "eth1"]
    ]
    assert any(line.startswith("100.100.100.200 via 10.168.255.253 dev eth0") for line in routes)
    assert "default" not in intranet.sh("ip", "-4", "route").stdout
    assert "203.0.113.1/32" in both.sh("ip", "-4", "addr", "show", "dev", "eth1").stdout


def test_each_card_has_the_rules_of_its_nic_type(classic: Classic) -> None:
    ours = (_rule(INTERNET, 22), _rule(INTRANET, 80))
    classic.lab.rules = {"sg-a": ours, "sg-b": ()}
    one = classic.machine("sg-a", "10.168.0.1", "203.0.113.1")
    same = classic.machine("sg-a", "10.168.0.2", "203.0.113.2")
    stranger = classic.machine("sg-b", "10.168.0.3", "203.0.113.3")
    with serving(one, 22), serving(one, 80):
        expect(True, tcp, stranger, "203.0.113.1", 22)
        expect(False, tcp, stranger, "203.0.113.1", 80)
        expect(True, tcp, stranger, "10.168.0.1", 80)
        expect(False, tcp, stranger, "10.168.0.1", 22)
        expect(True, tcp, same, "10.168.0.1", 22)  # members, on the intranet
        expect(False, tcp, same, "203.0.113.1", 80)  # but not on the internet
    expect(False, ping, stranger, "10.168.0.1")
    # What goes out is judged by the card that it goes out by.
    closed = (*ours, _rule(INTERNET, 22, Verdict.DROP, Direction.EGRESS))
    classic.lab.apply(CLASSIC, sg_a=closed, sg_b=(_rule(INTERNET, 22), _rule(INTRANET, 22)))
    with serving(stranger, 22):
        expect(True, tcp, one, "10.168.0.3", 22)
        expect(False, tcp, one, "203.0.113.3", 22)


def test_a_public_address_is_no_member_s(classic: Classic) -> None:
    """A group named in a rule stands for its members' intranet addresses (SPEC F2)."""
    peer = RuleSpec(Direction.INGRESS, Verdict.ACCEPT, 1, "tcp", (22, 22), peer_group="sg-b")
    by_public = dataclasses.replace(peer, nic_type=INTERNET)
    classic.lab.rules = {"sg-a": (peer, by_public), "sg-b": ()}
    one = classic.machine("sg-a", "10.168.0.1", "203.0.113.1")
    other = classic.machine("sg-b", "10.168.0.3", "203.0.113.3")
    with serving(one, 22):
        expect(True, tcp, other, "10.168.0.1", 22)
        expect(False, tcp, other, "203.0.113.1", 22)


def test_a_card_cannot_use_the_other_one_s_address(classic: Classic) -> None:
    classic.lab.rules = {"sg-a": (_rule(INTRANET, 80), _rule(INTERNET, 80))}
    one = classic.machine("sg-a", "10.168.0.1", "203.0.113.1")
    other = classic.machine("sg-a", "10.168.0.2", "203.0.113.2")
    one.sh("ip", "route", "replace", "203.0.113.2", "via", GATEWAY, "dev", "eth0", "src", "203.0.113.1")
    with serving(other, 80):
        expect(True, tcp, one, "10.168.0.2", 80)
        expect(False, tcp, one, "203.0.113.2", 80)


def test_the_agent_takes_over_what_is_there(classic: Classic) -> None:
    lab = classic.lab
    one = classic.machine("sg-a", "10.168.0.1", "203.0.113.1")
    spec: FilterSpec = lab.spec(CLASSIC)
    driver = lab.restart()
    driver.ensure_vpc(lab.vpcs[CLASSIC])
    driver.adopt_ports(CLASSIC, [card.port for card in lab.guests])
    driver.apply_filter(spec)
    with one.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("", 8000))
        listener.listen()
        for card in lab.guests:  # from the gateway of each
            driver.dial(CLASSIC, card.ip, 8000, 5).close()
            _, (peer, _) = listener.accept()
            assert peer == card.port.gateway
    until(lambda: one.sh("busybox", "udhcpc", "-n", "-q", "-i", "eth1", "-s", "/bin/true").returncode == 0, "a lease")
