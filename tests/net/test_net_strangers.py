"""Somebody else changes the tables of a VPC: they are as before at once, and who did it is told."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable

import pytest
from stage import HOST, Stage
from vpc_lab import Flow, Guest, Lab, expect, ping, rule, serving, tcp, tcp_between, until

from agent.core.errors import DriverError
from agent.core.specs import ForwardSpec
from agent.drivers.network import netns, strangers

pytestmark = pytest.mark.net

PUBLIC = "203.0.113.50"
RULES = tuple(rule(protocol="tcp", ports=(80 + n, 80 + n)) for n in range(40))  # an interval set
CONTENT = [
    "flush ruleset",
    "delete table inet vpc",
    "delete table arp vpc",
    "flush chain inet vpc raw",
    "flush chain inet vpc in",
    "insert rule inet vpc in accept",
    "add rule inet vpc s_sg-s_i_1_accept accept",
    "flush set inet vpc m_sg-s",
    "add element inet vpc smtp_allowed { strange }",
    "flush set inet vpc INTERVALS",
]
SHAPE = [
    "chain inet vpc in { policy accept; }",
    "flush chain inet vpc in; delete chain inet vpc in; add chain inet vpc in { type filter hook forward priority 7; }",
    "add table inet vpc { flags dormant; }",
    "add chain inet vpc strange { type filter hook forward priority -5; policy drop; }",
    "add set inet vpc strange { type ipv4_addr; }",
    "add counter inet vpc strange",
]


def listing(lab: Lab) -> list[str]:
    return listed(lab.in_router)


def listed(run: Callable[..., str]) -> list[str]:
    """All tables as nft shows them, the generation aside, which is a new one after a repair."""
    text = run("nft", "-s", "list", "ruleset")
    tokens = re.sub(r"0x[0-9a-f]{8}", "GENERATION", text).replace(",", " ").split("\n")
    return sorted(token for line in tokens for token in [line.strip()] if token)


@pytest.fixture
def told(lab: Lab) -> list[tuple[str, str, bool]]:
    return tell(lab)


def tell(lab: Lab) -> list[tuple[str, str, bool]]:
    """What its driver will have told."""
    told: list[tuple[str, str, bool]] = []
    lab.driver.on_stranger(lambda *what: told.append(what))
    return told


@pytest.fixture
def pair(lab: Lab) -> tuple[Guest, Guest]:
    """A client, and a server whose ports from 80 on are open."""
    lab.vpc()
    lab.rules["sg-s"] = RULES
    return lab.guest("192.168.0.1", "sg-c"), lab.guest("192.168.0.2", "sg-s")


@pytest.mark.parametrize("damages", [CONTENT, SHAPE], ids=["content", "shape"])
def test_every_damage_is_repaired_and_told(
    lab: Lab, pair: tuple[Guest, Guest], told: list[tuple[str, str, bool]], damages: list[str]
) -> None:
    before = listing(lab)
    intervals = next(line.split()[1] for line in before if line.startswith("set s_sg-s"))
    flow = Flow(*pair, 80)
    try:
        for number, damage in enumerate(damages, 1):
            lab.in_router("nft", damage.replace("INTERVALS", intervals))
            until(lambda: len(told) >= number, f"repaired: {damage}")  # noqa: B023
            until(lambda: listing(lab) == before, f"as before: {damage}")
            until(flow.moves, f"what is allowed goes on: {damage}")
        expect(False, tcp_between, *pair, 79)
        expect(True, tcp_between, *pair, 81)
    finally:
        flow.close()
    assert {(vpc, repaired) for vpc, _, repaired in told} == {("vpc-a", True)}


def test_translations_and_the_host_s_table_are_repaired_too(stage: Stage) -> None:
    told = tell(stage.lab)
    stage.lab.vpc()
    guest = stage.lab.guest("192.168.0.1", "sg-a")
    stage.lab.apply(sg_a=(rule(),))
    forward = ForwardSpec("tcp", "", 8080, guest.ip, 80)
    stage.network((PUBLIC, guest), forwards=(forward,))
    flow = Flow(guest, stage.world, 8)
    try:
        for vpc, run in (("vpc-a", stage.lab.in_router), ("", stage.on_host)):
            before = listed(run)
            tables = [line.removeprefix("table ").removesuffix(" {") for line in before if line.startswith("table ")]
            for table in (one for one in tables if not one.endswith(" vpc")):
                for damage in (f"flush table {table}", f"delete table {table}", f"add chain {table} strange"):
                    count = len(told) + 1
                    run("nft", damage)
                    until(lambda: len(told) >= count, f"repaired: {damage}")  # noqa: B023
                    until(lambda: listed(run) == before, f"as before: {damage}")  # noqa: B023
                    assert told[-1][::2] == (vpc, True)
        assert len(told) >= 9
        until(flow.moves, "what is allowed goes on")
        expect(True, ping, stage.world, PUBLIC)
        with serving(guest, 80):
            expect(True, tcp, stage.world, HOST, 8080)
    finally:
        flow.close()


def test_tables_of_others_and_our_own_changes_are_no_concern(
    lab: Lab, pair: tuple[Guest, Guest], told: list[tuple[str, str, bool]]
) -> None:
    lab.in_router("nft", "add table inet other; add chain inet other vpc; add rule inet other vpc accept")
    lab.apply(sg_s=RULES[1:], sg_c=(rule(),))
    lab.driver.ensure_vpc(lab.vpcs["vpc-a"])
    lab.in_router("nft", "flush chain inet vpc input")
    lab.in_router("nft", "delete table inet vpc")
    until(lambda: len(told) == 2, "the changes that concern us are told")
    assert re.fullmatch(r"nft \(process \d+\) deleted a rule of chain input of table vpc", told[0][1])
    assert re.fullmatch(r"nft \(process \d+\) deleted table vpc", told[1][1])
    assert "other" in lab.in_router("nft", "list", "tables")


def test_there_is_no_open_moment_when_everything_is_deleted(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    """A namespace without tables routes nothing, so it does not matter how long a repair takes."""
    client, server = pair
    stop, seen = threading.Event(), 0
    with server.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("", 5000))
        receiver.settimeout(0.01)

        def hammer() -> None:
            with client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                while not stop.is_set():
                    sender.sendto(b"x", (server.ip, 5000))

        thread = threading.Thread(target=hammer)
        thread.start()
        try:
            for _ in range(8):
                lab.in_router("nft", "flush ruleset")
                try:
                    seen += len(receiver.recv(10))
                except TimeoutError:
                    continue
        finally:
            stop.set()
            thread.join()
    assert seen == 0


def test_nothing_passes_while_nobody_repairs(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    client, server = pair
    lab.apply(sg_s=(rule(),))
    expect(True, ping, client, server.ip)
    lab.driver.close()
    lab.in_router("nft", "flush ruleset")
    expect(False, ping, client, server.ip)
    expect(False, tcp_between, server, client, 80)
    lab.driver = lab.new_driver()
    lab.apply()
    expect(True, ping, client, server.ip)


def test_a_flow_that_got_in_through_a_hole_ends_with_it(lab: Lab, pair: tuple[Guest, Guest]) -> None:
    lab.driver.on_stranger(lambda *what: None)
    lab.driver.close()  # while no agent runs a hole can stay open
    lab.in_router("nft", "insert rule inet vpc in accept")
    flow = Flow(*pair, 7000)
    try:
        until(flow.moves, "it goes")
        lab.driver = lab.new_driver()
        lab.apply()
        until(lambda: not flow.moves(), "it stops")
    finally:
        flow.close()


def test_what_cannot_be_understood_does_not_end_the_watch(
    lab: Lab, pair: tuple[Guest, Guest], told: list[tuple[str, str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    understood, seen = strangers.describe, []

    def describe(notices: list[strangers.Notice], ours: set[tuple[int, str]]) -> str:
        seen.append(notices)
        if len(seen) == 1:
            raise KeyError(1)
        return understood(notices, ours)

    monkeypatch.setattr(strangers, "describe", describe)
    lab.in_router("nft", "add", "table", "inet", "strange")
    until(lambda: seen, "it is looked at")
    lab.in_router("nft", "flush", "chain", "inet", "vpc", "raw")
    until(lambda: told, "it is told")


def test_who_comes_too_late_may_try_again(lab: Lab) -> None:
    lab.vpc()
    place = netns.Namespace(f"{lab.prefix}-vpc-a")
    place.close()
    with pytest.raises(DriverError, match="was just closed") as failure:
        place.run(lambda: None)
    assert failure.value.transient
