"""Documents that are refused, and where they are wrong; trust policies."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.policy import parse, system, trust
from agent.policy.model import PolicyError

ONE = {"Effect": "Allow", "Action": "ecs:*", "Resource": "*"}
ROOT, OTHER_ROOT = "RAM:acs:ram::1000000000000001:root", "RAM:acs:ram::1000000000000002:root"


def document(**statement: Any) -> str:
    merged = {key: value for key, value in (ONE | statement).items() if value is not None}
    return json.dumps({"Version": "1", "Statement": [ONE, merged]})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON: line 1 column 1"),
        ("{", "not JSON: line 1 column 2"),
        ("[]", "the document must be a JSON object"),
        ("[" * 100_000, "the document has 100000 characters"),
        ("[" * 6000, "nested too deeply"),
        ('{"Version": NaN}', "NaN is not JSON"),
        ("{}", 'Version: it must be "1"'),
        ('{"Version": 1}', 'Version: it must be "1"'),
        ('{"Version": "1"}', "Statement: a list of 1 to 100 statements is expected"),
        ('{"Version": "1", "Statement": []}', "Statement: a list of 1 to 100"),
        ('{"Version": "1", "Statement": ["x"]}', "Statement[0]: an object is expected"),
        ('{"Version": "1", "Statement": [{}], "Id": 1}', "the member 'Id' is not known"),
        ('{"Version": "1", "Version": "1"}', "the member 'Version' stands twice in one object"),
        (document(Effect="allow"), "Statement[1].Effect: it must be Allow or Deny"),
        (document(Effect=None), "Statement[1].Effect: it must be Allow or Deny"),
        (document(Action=None), "Statement[1]: give either Action or NotAction"),
        (document(NotAction="*"), "Statement[1]: give either Action or NotAction"),
        (document(Resource=None), "Statement[1]: give either Resource or NotResource"),
        (document(Action=[]), "Statement[1].Action: a string or a list of strings is expected"),
        (document(Action=["ecs:*", ""]), "Statement[1].Action: a string or a list"),
        (document(Action=7), "Statement[1].Action: a string or a list"),
        (document(Action="StartInstance"), "Statement[1].Action: 'StartInstance' is no action"),
        (document(Action="ecs:Start Instance"), "Statement[1].Action: 'ecs:Start Instance' is no action"),
        (document(Resource="instance/*"), "Statement[1].Resource: 'instance/*' is neither * nor an ARN"),
        (document(Resource="acs:ecs:*:instance/*"), "Statement[1].Resource"),
        (document(Resource="acs:ecs:*:*:"), "Statement[1].Resource"),
        (document(Principal={"Service": "x"}), "the member 'Principal' is not known"),
        (document(Condition=[]), "Statement[1].Condition: an object of operators is expected"),
        (document(Condition={"StringIs": {}}), "Statement[1].Condition.StringIs: an object of keys is expected"),
        (document(Condition={"StringIs": {"acs:SourceIp": "x"}}), "there is no operator 'StringIs'"),
        (document(Condition={"Bool": {"SecureTransport": "true"}}), "'SecureTransport' is no key of conditions"),
        (
            document(Condition={"Bool": {"acs:SecureTransport": "yes"}}),
            "Statement[1].Condition.Bool.acs:SecureTransport: 'yes': true or false is expected",
        ),
        (document(Condition={"IpAddress": {"acs:SourceIp": "10.0.0.1/8"}}), "'10.0.0.1/8': an address or a CIDR"),
        (document(Condition={"IpAddress": {"acs:SourceIp": []}}), "a value or a list of values is expected"),
        (document(Condition={"IpAddress": {"acs:SourceIp": None}}), "a value or a list of values is expected"),
        (document(Condition={"DateLessThan": {"acs:CurrentTime": "soon"}}), "a time in ISO 8601 is expected"),
        (document(Condition={"NumericEquals": {"ecs:x": "NaN"}}), "a number is expected"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse.policy(text)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_statement_needs_no_list_and_may_have_a_name() -> None:
    single = parse.policy(json.dumps({"Version": "1", "Statement": ONE | {"Sid": "all of ECS"}}))
    assert single.statements == parse.policy(json.dumps({"Version": "1", "Statement": [ONE]})).statements


def test_system_policies_are_documents_like_others() -> None:
    for policy in system.POLICIES.values():
        assert parse.policy(policy.document, policy.name).statements


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*ONE, "Condition", "Principal"]), inner),
    max_leaves=8,
)


@given(JSON | st.fixed_dictionaries({"Version": st.just("1"), "Statement": JSON}))
def test_any_document_is_parsed_or_refused(value: Any) -> None:
    for reader in (parse.policy, trust.parse):
        with contextlib.suppress(PolicyError):
            reader(json.dumps(value))


# ------------------------------------------------------------------------------ trust


def trusting(**statement: Any) -> str:
    one = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": ["ecs.aliyuncs.com"]}} | statement
    return json.dumps({"Version": "1", "Statement": [one]})


def test_a_made_document_admits_whom_it_was_made_for() -> None:
    made = trust.parse(trust.document([trust.ECS_SERVICE, ROOT]))
    assert trust.admits(made, [trust.ECS_SERVICE])
    assert trust.admits(made, [ROOT])
    assert trust.admits(made, ["RAM:acs:ram::1000000000000001:user/ann", ROOT])
    assert not trust.admits(made, [OTHER_ROOT])
    assert not trust.admits(made, ["Service:oss.aliyuncs.com"])
    assert not trust.admits(made, [])


def test_trust_denies_and_has_conditions() -> None:
    both = json.loads(trusting(Principal={"RAM": ["acs:ram::1000000000000001:root"]}))
    user = "acs:ram::1000000000000001:user/bob"
    both["Statement"].append(both["Statement"][0] | {"Effect": "Deny", "Principal": {"RAM": user}})
    made = trust.parse(json.dumps(both))
    assert trust.admits(made, [ROOT, "RAM:acs:ram::1000000000000001:user/ann"])
    assert not trust.admits(made, [ROOT, f"RAM:{user}"])
    guarded = trust.parse(trusting(Condition={"StringEquals": {"sts:ExternalId": "secret"}}))
    assert trust.admits(guarded, [trust.ECS_SERVICE], {"sts:externalid": "secret"})
    assert not trust.admits(guarded, [trust.ECS_SERVICE])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (trusting(Action="ecs:*"), "Statement[0].Action: a trust policy is about sts:AssumeRole only"),
        (trusting(Action=None), "Statement[0].Action: a string or a list"),
        (trusting(Principal=None), "Statement[0].Principal: who is trusted?"),
        (trusting(Principal={}), "Statement[0].Principal: who is trusted?"),
        (trusting(Principal="*"), "Statement[0].Principal: who is trusted?"),
        (trusting(Principal={"Federated": ["x"]}), "the member 'Federated' is not known"),
        (trusting(Principal={"RAM": ["*"]}), "'*' names nobody that can be trusted"),
        (trusting(Principal={"RAM": ["acs:ram::1:everybody"]}), "names nobody that can be trusted"),
        (trusting(Principal={"Service": ["ecs.aliyuncs.com/x"]}), "names nobody that can be trusted"),
        (trusting(Resource="*"), "the member 'Resource' is not known"),
    ],
)
def test_trust_in_nobody_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(PolicyError) as caught:
        trust.parse(text)
    assert complaint in str(caught.value)
