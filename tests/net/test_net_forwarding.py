"""What stands between guests and the world, tried with packets (`ecsctl host check`), beside others' firewalls."""

from __future__ import annotations

import subprocess

import pytest
from stage import Stage

from agent.core.specs import HostCheck
from agent.drivers.network import netns

pytestmark = pytest.mark.net

# As the programs write them, but for what has nothing to do with forwarding.
LIBVIRT = """
table ip libvirt_network {
    chain guest_input { oifname "virbr0" ct state established,related accept
        oifname "virbr0" reject
    }
    chain forward { type filter hook forward priority 0; policy accept
        jump guest_input
    }
}
"""
OWN = """
table inet house {
    chain inwards { type filter hook forward priority 5; policy accept
        ct state established accept
        iifname "wan0" drop
    }
}
"""


def check(stage: Stage, **vpcs: str) -> dict[str, HostCheck]:
    return {found.subject: found for found in stage.lab.driver.check_host(vpcs)}


def load(stage: Stage, rules: str) -> None:
    line = ["ip", "netns", "exec", str(stage.host.name), "nft", "-f", "-"]
    subprocess.run(line, input=rules, text=True, check=True, timeout=20)


def everything(stage: Stage) -> str:
    """What a try must leave as it was."""
    spaces = sorted(name for name in netns.names() if name.startswith(stage.lab.prefix))
    listed = [("nft", "-s", "list", "ruleset"), ("ip", "-o", "link"), ("ip", "route"), ("sysctl", "net.ipv4.conf")]
    return "".join(stage.on_host(*line) for line in listed) + repr(spaces)


def test_a_host_without_a_firewall_is_no_obstacle_and_stays_as_it_is(stage: Stage) -> None:
    load(stage, LIBVIRT)
    before = everything(stage)
    found = check(stage, lab="10.0.0.0/8")
    assert {subject: one.state for subject, one in found.items()} == dict.fromkeys(
        ("uplink", "out", "in", "addresses"), "ok"
    )
    assert everything(stage) == before


def test_a_rule_of_the_owner_that_keeps_others_out_can_be_mended_as_told(stage: Stage) -> None:
    load(stage, OWN)
    found = check(stage)
    assert (found["out"].state, found["in"].state) == ("ok", "problem")
    assert "inwards of the table inet house, by its rule with handle" in found["in"].what
    commands = found["in"].advice.split("`")[1]
    stage.on_host("sh", "-c", commands)
    assert check(stage)["in"].state == "ok"


def test_what_has_the_same_addresses_as_a_vpc_is_named(stage: Stage) -> None:
    found = check(stage, lab="203.0.113.0/24")["addresses"]
    assert found.state == "unknown"
    assert found.what == "203.0.113.0/24 of wan0 is also in lab (203.0.113.0/24)"


@pytest.mark.parametrize("stage", ["wan7", "none"], indirect=True)
def test_without_an_interface_nothing_is_tried(stage: Stage) -> None:
    found = check(stage)
    assert set(found) == {"uplink", "addresses"}
    assert found["uplink"].state == ("problem" if stage.lab.uplink == "wan7" else "ok")


def test_packets_that_vanish_elsewhere_are_not_called_free(stage: Stage) -> None:
    stage.on_host("ip", "route", "add", "blackhole", "203.0.113.77/32")
    found = check(stage)
    assert found["out"].state == "unknown"
    assert "vanished" in found["out"].what
