"""`ecsctl security-group explain`: what it asks and how it says it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, listing


def side(role: str, verdict: str, because: str, **more: Any) -> dict[str, Any]:
    name, address = ("web", "192.168.0.3") if role == "sender" else ("db", "192.168.0.4")
    told = {"Role": role, "InstanceName": name, "Address": address, "Verdict": verdict, "Because": because}
    return told | {"SecurityGroupRuleId": "", "Trail": {"Step": [f"in 3: {because}"]}} | more


def explanation(verdict: str, *sides: dict[str, Any], sources: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"Verdict": verdict, "Sources": {"Source": list(sources)}, "Sides": {"Side": list(sides)}}


RULE = 'rule of "db" at priority 5: Drop TCP 3306/3306 from 0.0.0.0/0'
BETWEEN = explanation("Drop", side("sender", "Accept", "no rule forbids it"), side("receiver", "Drop", RULE))
FROM_OUTSIDE = [
    explanation("Accept", side("receiver", "Accept", RULE), sources=("10.0.0.0/8", "1.1.1.1", "2.2.2.2", "3.3.3.3")),
    explanation("Drop", side("receiver", "Drop", "no rule of its groups lets it in")),
]


def answer(*found: dict[str, Any], notes: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"RequestId": "R", "Explanations": {"Explanation": list(found)}, "Notes": {"Note": list(notes)}}


@pytest.fixture
def site(peer: Peer) -> Peer:
    web, db = recorded.instance(recorded.WEB, "web"), recorded.instance(recorded.DATABASE, "db")
    peer.answers["DescribeInstances"] = listing("Instances.Instance", [web, db])
    peer.answers["ExplainSecurityGroups"] = answer(BETWEEN, notes=("db is Stopped.",))
    return peer


def test_between_instances(site: Peer, ecsctl, golden) -> None:
    arguments = ("security-group", "explain", "--from", "web", "--to", "db", "--port", "mysql")
    golden("security-group-explain", ecsctl(*arguments, "--trail").stdout)
    assert site.parameters("ExplainSecurityGroups") == {
        "RegionId": "local",
        "SourceInstanceId": recorded.WEB,
        "DestInstanceId": recorded.DATABASE,
        "IpProtocol": "tcp",
        "Port": "3306",
    }
    structured = json.loads(ecsctl(*arguments, "-o", "json").stdout)
    assert structured == {"Explanations": {"Explanation": [BETWEEN]}, "Notes": {"Note": ["db is Stopped."]}}


def test_from_outside_each_source_has_a_line(site: Peer, ecsctl, golden) -> None:
    site.answers["ExplainSecurityGroups"] = answer(*FROM_OUTSIDE)
    shown = ecsctl("security-group", "explain", "--to", "192.168.0.4", "--protocol", "icmp").stdout
    golden("security-group-explain-any", shown)
    assert site.parameters("ExplainSecurityGroups") == {
        "RegionId": "local",
        "DestIp": "192.168.0.4",
        "IpProtocol": "icmp",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "db"), "tcp needs --port"),
        (("--to", "db", "--port", "nonsense"), "must be 1-65535 or one of ssh"),
        (("--to", "db", "--port", "1", "--protocol", "gre"), "gre has no ports"),
        (("--from", "any", "--as", "1.2.3.4", "--to", "db", "--port", "1"), "--as needs an instance"),
    ],
)
def test_what_cannot_be_asked(site: Peer, ecsctl, arguments: tuple[str, ...], message: str) -> None:
    assert message in ecsctl("security-group", "explain", *arguments, status=2).stderr
