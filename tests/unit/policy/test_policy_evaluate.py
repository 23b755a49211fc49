"""Whether policies allow a request (SPEC R3): a table of cases, and what holds of any policy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.policy import parse, system
from agent.policy.evaluate import Decision, Verdict, decide, decide_within
from agent.policy.match import action_matches, resource_matches
from agent.policy.model import Policy, Request

ACCOUNT = "1000000000000001"
WEB = f"acs:ecs:local:{ACCOUNT}:instance/i-web"


def policy(*statements: dict[str, Any], name: str = "mine") -> Policy:
    return parse.policy(json.dumps({"Version": "1", "Statement": list(statements)}), name)


def allow(action: str | list[str] = "*", resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource} | more


def deny(action: str | list[str] = "*", resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return allow(action, resource, **more) | {"Effect": "Deny"}


def verdict(policies: list[Policy], action: str = "ecs:StartInstance", resource: str = WEB, **context: str) -> Verdict:
    return decide(policies, Request(action, resource, context)).verdict


ALLOWED, DENIED, NOT_ALLOWED = Verdict.ALLOWED, Verdict.DENIED, Verdict.NOT_ALLOWED


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([], NOT_ALLOWED),
        ([allow()], ALLOWED),
        ([allow("ecs:StartInstance")], ALLOWED),
        ([allow("ECS:startinstance")], ALLOWED),
        ([allow("ecs:Start*")], ALLOWED),
        ([allow("ecs:*Instance")], ALLOWED),
        ([allow("ecs:?tartInstance")], ALLOWED),
        ([allow("*:StartInstance")], ALLOWED),
        ([allow("vpc:*")], NOT_ALLOWED),
        ([allow("ecs:Start")], NOT_ALLOWED),
        ([allow(["vpc:*", "ecs:StartInstance"])], ALLOWED),
        ([allow(), deny("ecs:StartInstance")], DENIED),
        ([deny("ecs:StartInstance"), allow()], DENIED),
        ([deny("ecs:StopInstance"), allow()], ALLOWED),
        ([allow(resource=WEB)], ALLOWED),
        ([allow(resource="acs:ecs:*:*:instance/*")], ALLOWED),
        ([allow(resource="acs:ecs:::instance/i-web")], ALLOWED),
        ([allow(resource=f"acs:ecs:*:{ACCOUNT}:*")], ALLOWED),
        ([allow(resource="acs:ecs:elsewhere:*:*")], NOT_ALLOWED),
        ([allow(resource="acs:ecs:*:1000000000000002:*")], NOT_ALLOWED),
        ([allow(resource="acs:ecs:*:*:instance/i-we")], NOT_ALLOWED),
        ([allow(resource="acs:ecs:*:*:instance/I-WEB")], NOT_ALLOWED),
        ([allow(resource="acs:vpc:*:*:*")], NOT_ALLOWED),
        ([{"Effect": "Allow", "NotAction": "ecs:Delete*", "Resource": "*"}], ALLOWED),
        ([{"Effect": "Allow", "NotAction": "ecs:Start*", "Resource": "*"}], NOT_ALLOWED),
        ([{"Effect": "Allow", "Action": "*", "NotResource": WEB}], NOT_ALLOWED),
        ([{"Effect": "Allow", "Action": "*", "NotResource": "acs:ecs:*:*:instance/i-db"}], ALLOWED),
        ([allow(), {"Effect": "Deny", "NotAction": "ecs:Start*", "Resource": "*"}], ALLOWED),
        ([allow(), {"Effect": "Deny", "Action": "*", "NotResource": "acs:ecs:*:*:instance/i-db"}], DENIED),
    ],
)
def test_statements(statements: list[dict[str, Any]], expected: Verdict) -> None:
    found = [policy(*statements)] if statements else []
    assert verdict(found) is expected
    # The same when each statement is a policy of its own.
    assert verdict([policy(one) for one in statements]) is expected


OFFICE = {"acs:sourceip": "42.120.66.9", "acs:currenttime": "2026-11-23T10:00:00Z", "acs:securetransport": "true"}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"IpAddress": {"acs:SourceIp": "42.120.66.0/24"}}, True),
        ({"IpAddress": {"acs:SourceIp": ["10.0.0.0/8", "42.120.66.9"]}}, True),
        ({"IpAddress": {"acs:SourceIp": "42.120.67.0/24"}}, False),
        ({"IpAddress": {"acs:SourceIp": "fe80::/64"}}, False),
        ({"NotIpAddress": {"acs:SourceIp": "42.120.66.0/24"}}, False),
        ({"NotIpAddress": {"acs:SourceIp": ["10.0.0.0/8", "172.16.0.0/12"]}}, True),
        ({"NotIpAddress": {"acs:SourceIp": ["10.0.0.0/8", "42.120.66.0/24"]}}, False),
        ({"Bool": {"acs:SecureTransport": "true"}}, True),
        ({"Bool": {"acs:SecureTransport": True}}, True),
        ({"Bool": {"ACS:securetransport": "false"}}, False),
        ({"DateLessThan": {"acs:CurrentTime": "2026-11-23T18:00:01+08:00"}}, True),
        ({"DateLessThan": {"acs:CurrentTime": "2026-11-23T18:00:00+08:00"}}, False),
        ({"DateLessThanEquals": {"acs:CurrentTime": "2026-11-23T18:00:00+08:00"}}, True),
        ({"DateGreaterThan": {"acs:CurrentTime": "2026-11-23T09:59:59Z"}}, True),
        ({"DateGreaterThanEquals": {"acs:CurrentTime": "2026-11-23"}}, True),
        ({"DateEquals": {"acs:CurrentTime": "2026-11-23T10:00:00"}}, True),
        ({"DateNotEquals": {"acs:CurrentTime": "2026-11-23T10:00:00Z"}}, False),
        ({"StringEquals": {"ecs:tag/env": ["test", "prod"]}}, True),
        ({"StringEquals": {"ecs:tag/env": "Prod"}}, False),
        ({"StringEqualsIgnoreCase": {"ecs:tag/env": "PROD"}}, True),
        ({"StringNotEqualsIgnoreCase": {"ecs:tag/env": "PROD"}}, False),
        ({"StringNotEquals": {"ecs:tag/env": "test"}}, True),
        ({"StringNotEquals": {"ecs:tag/env": ["test", "prod"]}}, False),
        ({"StringLike": {"ecs:tag/env": "p*d"}}, True),
        ({"StringLike": {"ecs:tag/env": "p.*d"}}, False),
        ({"StringNotLike": {"ecs:tag/env": "p?od"}}, False),
        ({"NumericEquals": {"ecs:number": 10}}, True),
        ({"NumericNotEquals": {"ecs:number": "10.0"}}, False),
        ({"NumericLessThan": {"ecs:number": "9"}}, False),
        ({"NumericLessThan": {"ecs:number": "11"}}, True),
        ({"NumericLessThanEquals": {"ecs:number": "10"}}, True),
        ({"NumericGreaterThan": {"ecs:number": 9.5}}, True),
        ({"NumericGreaterThanEquals": {"ecs:number": "1e1"}}, True),
        ({"NumericEquals": {"ecs:tag/env": "1"}}, False),
        ({"StringEquals": {"ecs:absent": ""}}, False),
        ({"StringNotEquals": {"ecs:absent": "x"}}, True),
        ({"IpAddress": {"acs:SourceIp": "0.0.0.0/0"}, "Bool": {"acs:SecureTransport": "false"}}, False),
        ({"IpAddress": {"acs:SourceIp": "0.0.0.0/0"}, "Bool": {"acs:SecureTransport": "true"}}, True),
        ({}, True),
    ],
)
def test_conditions(condition: dict[str, Any], holds: bool) -> None:
    context = OFFICE | {"ecs:tag/env": "prod", "ecs:number": "10"}
    request = Request("ecs:StartInstance", WEB, context)
    assert decide([policy(allow(Condition=condition))], request).allowed is holds
    assert (decide([policy(allow(), deny(Condition=condition))], request).verdict is DENIED) is holds


def test_outside_the_office_everything_is_denied_also_what_is_otherwise_allowed() -> None:
    office = policy(deny(Condition={"NotIpAddress": {"acs:SourceIp": ["42.120.66.0/24"]}}), name="office-only")
    both = [parse.policy(system.POLICIES["AdministratorAccess"].document, "AdministratorAccess"), office]
    assert verdict(both, **{"acs:sourceip": "42.120.66.1"}) is ALLOWED
    assert verdict(both, **{"acs:sourceip": "42.120.67.1"}) is DENIED
    assert verdict(both, **{"acs:sourceip": "::ffff:42.120.66.1"}) is ALLOWED
    assert verdict(both) is DENIED  # from nowhere that has an address


def test_a_decision_says_what_decided() -> None:
    office = policy(allow("vpc:*"), deny("ecs:Delete*"), name="careful")
    found = decide([policy(allow()), office], Request("ecs:DeleteInstance", WEB))
    assert found == Decision(DENIED, "careful", 1)
    assert found.reason == "statement 2 of the policy careful denies it"
    assert decide([policy(allow())], Request("ecs:X", WEB)).reason == "statement 1 of the policy mine allows it"
    assert decide([], Request("ecs:X", WEB)).reason == "no policy allows it"


@pytest.mark.parametrize(
    ("name", "action", "allowed"),
    [
        ("AdministratorAccess", "ram:DeleteRole", True),
        ("ReadOnlyAccess", "ecs:DescribeInstances", True),
        ("ReadOnlyAccess", "ram:ListRoles", True),
        ("ReadOnlyAccess", "ecs:StartInstance", False),
        ("ReadOnlyAccess", "sts:AssumeRole", False),
        ("AliyunECSFullAccess", "ecs:RunInstances", True),
        ("AliyunECSFullAccess", "vpc:DescribeVpcs", True),
        ("AliyunECSFullAccess", "vpc:CreateVpc", False),
        ("AliyunECSFullAccess", "ram:PassRole", False),
        ("AliyunECSReadOnlyAccess", "ecs:DescribeInstances", True),
        ("AliyunECSReadOnlyAccess", "ecs:OpenTunnel", False),
        ("AliyunVPCFullAccess", "vpc:CreateVpc", True),
        ("AliyunVPCFullAccess", "ecs:RunInstances", False),
    ],
)
def test_system_policies(name: str, action: str, allowed: bool) -> None:
    own = parse.policy(system.POLICIES[name].document, name)
    assert decide([own], Request(action, WEB)).allowed is allowed


# ------------------------------------------------------------------------------ what holds of any policy

WORDS = st.sampled_from(["ecs", "vpc", "ram"])
ACTIONS = st.builds("{}:{}".format, WORDS, st.sampled_from(["StartInstance", "StopInstance", "DescribeVpcs"]))
PATTERNS = ACTIONS | st.sampled_from(["*", "ecs:*", "*:Describe*", "ecs:Stop*", "vpc:?escribe*"])
RESOURCES = st.sampled_from([WEB, f"acs:ecs:local:{ACCOUNT}:instance/i-db", f"acs:vpc:local:{ACCOUNT}:vpc/*"])
RESOURCE_PATTERNS = RESOURCES | st.sampled_from(["*", "acs:ecs:*:*:*", "acs:*:local::instance/*", "acs:vpc:*:*:vpc/*"])
CONDITIONS = st.sampled_from(
    [
        {},
        {"Bool": {"acs:SecureTransport": "true"}},
        {"IpAddress": {"acs:SourceIp": "42.120.66.0/24"}},
        {"NotIpAddress": {"acs:SourceIp": "42.120.66.0/24"}},
    ]
)


@st.composite
def a_statement(draw: st.DrawFn, effect: str | None = None) -> dict[str, Any]:
    return {
        "Effect": effect or draw(st.sampled_from(["Allow", "Deny"])),
        draw(st.sampled_from(["Action", "NotAction"])): draw(st.lists(PATTERNS, min_size=1, max_size=3)),
        draw(st.sampled_from(["Resource", "NotResource"])): draw(st.lists(RESOURCE_PATTERNS, min_size=1, max_size=3)),
        "Condition": draw(CONDITIONS),
    }


def some_policies(effect: str | None = None) -> st.SearchStrategy[list[Policy]]:
    one = st.lists(a_statement(effect), min_size=1, max_size=3).map(lambda statements: policy(*statements))
    return st.lists(one, max_size=3)


REQUESTS = st.builds(
    Request,
    ACTIONS,
    RESOURCES,
    st.fixed_dictionaries({}, optional={k: st.just(v) for k, v in OFFICE.items()}),
)


@given(some_policies(), REQUESTS, st.randoms(use_true_random=False))
def test_order_does_not_matter(policies: list[Policy], request: Request, random: Any) -> None:
    shuffled = random.sample(policies, len(policies))
    assert decide(shuffled, request).verdict is decide(policies, request).verdict


@given(some_policies(), some_policies("Deny"), REQUESTS)
def test_a_deny_never_allows(policies: list[Policy], denying: list[Policy], request: Request) -> None:
    assert not decide(denying, request).allowed
    if decide(policies + denying, request).allowed:
        assert decide(policies, request).allowed


@given(some_policies(), some_policies("Allow"), REQUESTS)
def test_an_allow_never_undoes_a_deny(policies: list[Policy], allowing: list[Policy], request: Request) -> None:
    if decide(policies, request).verdict is DENIED:
        assert decide(policies + allowing, request).verdict is DENIED
    if decide(policies, request).allowed:
        assert decide(policies + allowing, request).allowed


@given(some_policies(), some_policies(), REQUESTS)
def test_a_limit_only_narrows(policies: list[Policy], limits: list[Policy], request: Request) -> None:
    alone = decide(policies, request)
    assert decide_within(policies, None, request) == alone
    for limit in limits:
        assert decide_within(policies, limit, request).allowed == (alone.allowed and decide([limit], request).allowed)


@given(st.text(alphabet="ab*?:/", max_size=12), st.text(alphabet="ab:/", max_size=12))
def test_wildcards_are_those_of_a_plain_matcher(pattern: str, text: str) -> None:
    def plain(p: str, t: str) -> bool:
        if not p:
            return not t
        if p[0] == "*":
            return plain(p[1:], t) or (bool(t) and plain(p, t[1:]))
        return bool(t) and p[0] in ("?", t[0]) and plain(p[1:], t[1:])

    assert action_matches(f"ecs:{pattern}", f"ecs:{text}") == plain(pattern, text)
    assert resource_matches(f"acs:ecs:*:1:{pattern}", f"acs:ecs:local:1:{text}") == plain(pattern, text)


def test_a_pattern_of_many_stars_is_matched_at_once() -> None:
    for stars in (5, 20, 60, 100):
        pattern = "acs:ecs:*:*:" + "*a" * stars
        assert resource_matches(f"{pattern}b", f"acs:ecs:local:1:{'a' * 2000}b")
        assert not resource_matches(f"{pattern}b", f"acs:ecs:local:1:{'a' * 2000}c")
