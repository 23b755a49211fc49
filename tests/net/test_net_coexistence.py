"""Beside the rules of others on the host (SPEC N3, N5): ours work where those let packets be forwarded, theirs stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from stage import HOST, WORLD, Stage
from vpc_lab import Guest, expect, rule, serving, tcp

from agent.core.specs import ForwardSpec, HostCheck

pytestmark = pytest.mark.net

PUBLIC = "203.0.113.50"
RULES = Path(__file__).parent / "firewalls"


class Firewall(NamedTuple):
    """`advice`: part of what the host's owner is told to do. `allow`: the rule, made for both directions, that this
    comes to. `before`: which of `WAYS` work without it."""

    name: str
    advice: str
    allow: str
    before: frozenset[str]


OUT, IN, PORT, LOCAL = "out", "in", "port", "local"
WAYS = frozenset({OUT, IN, PORT, LOCAL})
FIREWALLS = (
    Firewall("docker", "DOCKER-USER -i", 'insert rule ip filter DOCKER-USER {} "{}-up*" accept', frozenset({LOCAL})),
    Firewall("libvirt", "", "", WAYS),
    Firewall("ufw", "ufw reload", 'insert rule ip filter ufw-before-forward {} "{}-up*" accept', frozenset({LOCAL})),
    Firewall(
        "firewalld",
        "firewall-cmd",
        'add rule inet firewalld filter_FORWARD_POLICIES {} "{}-up*" accept',
        frozenset({PORT, LOCAL}),
    ),
)


@pytest.mark.parametrize("firewall", FIREWALLS, ids=lambda firewall: firewall.name)
def test_beside_each_other(stage: Stage, firewall: Firewall) -> None:
    stage.on_host("nft", "-f", str(RULES / f"{firewall.name}.nft"))
    theirs = rules(stage)
    stage.lab.vpc()
    guest = stage.lab.guest("192.168.0.1", "sg-a")
    stage.lab.apply(sg_a=(rule(),))
    stage.network((PUBLIC, guest), forwards=(ForwardSpec("tcp", "", 8080, guest.ip, 80),))
    assert rules(stage, but=stage.lab.prefix) == theirs
    told = checked(stage)
    assert [firewall.advice in told[way].advice for way in (OUT, IN)] == [True, True], told
    assert {told[way].state for way in (OUT, IN)} == {"problem" if firewall.allow else "ok"}
    assert working(stage, guest, WAYS - firewall.before) == set()
    for way in ("iifname", "oifname") if firewall.allow else ():
        stage.on_host("nft", firewall.allow.format(way, stage.lab.prefix))
    allowed = rules(stage, but=stage.lab.prefix)
    with serving(guest, 80), serving(stage.world, 80):
        for client, address, port in ways(stage, guest).values():
            expect(True, tcp, client, address, port)
    assert {checked(stage)[way].state for way in (OUT, IN)} == {"ok"}
    stage.lab.restart().remove_all()
    assert rules(stage) == allowed


def checked(stage: Stage) -> dict[str, HostCheck]:
    return {found.subject: found for found in stage.lab.driver.check_host({})}


def ways(stage: Stage, guest: Guest) -> dict[str, tuple[Guest, str, int]]:
    return {
        OUT: (guest, WORLD, 80),
        IN: (stage.world, PUBLIC, 80),
        PORT: (stage.world, HOST, 8080),
        LOCAL: (stage.here, "127.0.0.1", 8080),
    }


def working(stage: Stage, guest: Guest, wanted: frozenset[str]) -> set[str]:
    with serving(guest, 80), serving(stage.world, 80):
        return {name for name, way in ways(stage, guest).items() if name in wanted and reached(*way)}


def reached(client: Guest, address: str, port: int) -> bool:
    """A firewall may refuse instead of dropping."""
    try:
        return tcp(client, address, port)
    except OSError:
        return False


def rules(stage: Stage, but: str = "") -> list[Any]:
    """All tables of the host without those called `but`, and without counts and handles."""
    listing = json.loads(stage.on_host("nft", "-j", "list", "ruleset"))["nftables"]
    kept = [strip(entry) for entry in listing if "metainfo" not in entry]
    return [entry for entry in kept if not {"table", "name"} & {key for key, name in fields(entry) if name == but}]


def fields(entry: dict[str, dict[str, Any]]) -> list[tuple[str, Any]]:
    return [field for body in entry.values() for field in body.items()]


def strip(value: Any) -> Any:
    if isinstance(value, list):
        return [strip(item) for item in value]
    if isinstance(value, dict):
        return {key: strip(item) for key, item in value.items() if key not in ("handle", "packets", "bytes")}
    return value
