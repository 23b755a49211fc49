"""Tokens, the hardened mode and what may be asked for (SPEC I11)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from agent.api.metadata.answer import TOKEN, TOKEN_SECONDS, Answer, Answers, Question
from agent.core.clock import ManualClock
from agent.services.instance_credentials import Tokens
from agent.services.metadata import InstanceFacts
from agent.store.secrets import Sealer
from tests.support.cloud import START
from tests.unit.metadata.test_metadata_tree import FACTS, Signatures

VPC, ONE, TWO = "vpc-1", "192.168.1.5", "192.168.1.6"
HOST_NAME = "/latest/meta-data/hostname"


class Place:
    """Two instances in a VPC, and a clock."""

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock(START)
        self.facts: dict[str, InstanceFacts] = {ONE: FACTS, TWO: dataclasses.replace(FACTS, instance_id="i-2")}
        tokens = Tokens(Sealer(directory / "key"), self.clock)
        self.answers = Answers(lambda vpc_id, ip: self.facts.get(ip) if vpc_id == VPC else None, Signatures(), tokens)

    def set(self, **options: bool) -> None:
        self.facts[ONE] = dataclasses.replace(self.facts[ONE], **options)  # type: ignore[arg-type]

    def ask(self, path: str, method: str = "GET", source: str = ONE, **headers: str) -> Answer:
        return self.answers.to(VPC, source, Question(method, path, {}, headers))

    def token(self, seconds: str = "60", source: str = ONE) -> str:
        answer = self.ask("/latest/api/token", "PUT", source, **{TOKEN_SECONDS: seconds})
        assert (answer.status, answer.headers) == (200, {TOKEN_SECONDS: seconds})
        return str(answer.body)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_the_hardened_mode_a_token_may_be_left_out_but_not_be_wrong(place: Place) -> None:
    assert place.ask(HOST_NAME) == Answer(200, "web-host")
    assert place.ask(HOST_NAME, **{TOKEN: place.token()}).status == 200
    for wrong in ("", "x", "x" + place.token(), "a" * 3000, "\u00e9", "\udc80"):
        assert place.ask(HOST_NAME, **{TOKEN: wrong}).status == 401


def test_the_hardened_mode_wants_a_token(place: Place) -> None:
    place.set(token_required=True)
    for path in (HOST_NAME, "/", "/latest/user-data", "/nothing"):
        assert place.ask(path).status == 403
    assert place.ask(HOST_NAME, **{TOKEN: place.token()}) == Answer(200, "web-host")
    assert place.ask("/nothing", **{TOKEN: place.token()}).status == 404


def test_a_token_is_good_for_its_instance_and_its_time(place: Place) -> None:
    place.set(token_required=True)
    token, long = place.token("60"), place.token("21600")
    assert place.ask(HOST_NAME, source=TWO, **{TOKEN: token}).status == 401
    place.clock.advance(59)
    assert place.ask(HOST_NAME, **{TOKEN: token}).status == 200
    place.clock.advance(1)
    assert place.ask(HOST_NAME, **{TOKEN: token}).status == 401
    assert place.ask(HOST_NAME, **{TOKEN: long}).status == 200


def test_other_sealed_things_are_no_tokens(place: Place, tmp_path: Path) -> None:
    sealer = Sealer(tmp_path / "key")
    far = {"instance": "i-1", "expires": START.timestamp() + 1000}
    for sealed in (sealer.seal("secret").decode(), sealer.seal_claims("sts", far), sealer.seal("[]").decode()):
        assert place.ask(HOST_NAME, **{TOKEN: sealed}).status == 401


@pytest.mark.parametrize("seconds", ["", "0", "-1", "21601", "1.5", "x", "\u0663", "9" * 5000, " 60"])
def test_a_time_to_live_must_be_1_to_21600_seconds(place: Place, seconds: str) -> None:
    assert place.ask("/latest/api/token", "PUT", **{TOKEN_SECONDS: seconds}).status == 400


def test_how_tokens_are_not_given(place: Place) -> None:
    ttl = {TOKEN_SECONDS: "60"}
    assert place.ask("/latest/api/token", "PUT").status == 400
    assert place.ask("/latest/api/token", "PUT", **ttl, **{"x-forwarded-for": "192.168.1.6"}).status == 403
    refused = place.ask("/latest/api/token", "GET", **ttl)
    assert (refused.status, refused.headers) == (405, {"Allow": "PUT"})
    assert place.ask("/2016-01-01/api/token", "PUT", **ttl).status == 405
    assert place.ask("/latest/api/token", "PUT", "192.168.1.7", **ttl).status == 404


def test_a_service_that_is_off_says_nothing(place: Place) -> None:
    token = place.token()
    place.set(enabled=False)
    assert place.ask(HOST_NAME, **{TOKEN: token}).status == 403
    assert place.ask("/latest/api/token", "PUT", **{TOKEN_SECONDS: "60"}).status == 403
    assert place.ask(HOST_NAME, source=TWO).status == 200


def test_others_than_instances_and_other_methods(place: Place) -> None:
    assert place.ask("/", source="192.168.1.7").status == 404
    assert place.answers.to("vpc-2", ONE, Question("GET", HOST_NAME)).status == 404
    assert place.ask(HOST_NAME, "HEAD").status == 200
    refused = place.ask(HOST_NAME, "POST")
    assert (refused.status, refused.headers) == (405, {"Allow": "GET, HEAD"})


@pytest.mark.parametrize(("audience", "status"), [("me", 200), ("x" * 129, 400), ("a\nb", 400)])
def test_an_audience_is_one_short_line(place: Place, audience: str, status: int) -> None:
    asked = Question("GET", "/latest/dynamic/instance-identity/document", {"audience": audience})
    assert place.answers.to(VPC, ONE, asked).status == status
