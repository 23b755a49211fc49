"""One-time tokens and sessions of pages."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from agent.api.web.access import IDLE_SECONDS, LONGEST_SECONDS, PageAccess, Refused
from agent.core.clock import ManualClock
from agent.core.errors import Conflict
from agent.core.identity import Identity
from agent.store.secrets import Sealer

START = dt.datetime(2026, 11, 23, 7, 35, 12, tzinfo=dt.UTC)
LOCAL = "http://127.0.0.1:8800"
OWNER = Identity(account_id="1234567890123456", principal_name="owner")
REMOTE = Identity(account_id="1234567890123456", source_ip="192.0.2.7", secure_transport=True)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def access(tmp_path: Path, clock: ManualClock) -> PageAccess:
    return PageAccess(Sealer(tmp_path / "key"), clock, 120, "", lambda: LOCAL)


def token_of(access: PageAccess, identity: Identity = OWNER) -> str:
    return access.url("vnc", "i-1", identity, "localhost").partition("#")[2]


def test_a_token_opens_its_page_once(access: PageAccess) -> None:
    token = token_of(access)
    session = access.open("vnc", token)
    assert (session.page, session.instance_id, session.identity) == ("vnc", "i-1", OWNER)
    with pytest.raises(Refused, match="used already"):
        access.open("vnc", token)


def test_a_token_opens_no_other_page(access: PageAccess) -> None:
    with pytest.raises(Refused, match="used already"):
        access.open("serial", token_of(access))


def test_a_token_ends(tmp_path: Path, clock: ManualClock) -> None:
    access = PageAccess(Sealer(tmp_path / "key"), clock, 0, "", lambda: LOCAL)
    with pytest.raises(Refused, match="too old"):
        access.open("vnc", token_of(access))


def test_a_session_is_good_again_and_again_and_after_a_restart(
    access: PageAccess, tmp_path: Path, clock: ManualClock
) -> None:
    session = access.open("vnc", token_of(access, REMOTE))
    text = access.seal(session)
    assert access.session("vnc", text) == session
    restarted = PageAccess(Sealer(tmp_path / "key"), clock, 120, "", lambda: LOCAL)
    assert restarted.session("vnc", text) == session


def test_a_session_ends_when_it_is_not_used(access: PageAccess, clock: ManualClock) -> None:
    text = access.seal(access.open("vnc", token_of(access)))
    clock.advance(IDLE_SECONDS)
    renewed = access.seal(access.session("vnc", text))
    clock.advance(1)
    with pytest.raises(Refused, match="has ended"):
        access.session("vnc", text)
    assert access.session("vnc", renewed)


def test_no_session_is_renewed_for_ever(access: PageAccess, clock: ManualClock) -> None:
    session = access.open("vnc", token_of(access))
    clock.advance(LONGEST_SECONDS)
    text = access.seal(session)
    assert access.session("vnc", text)
    assert access.seconds_left(session) == 0
    clock.advance(1)
    with pytest.raises(Refused, match="has ended"):
        access.session("vnc", text)


@pytest.mark.parametrize("text", ["", "x", "gAAAA", "é"])
def test_forged_sessions_are_refused(access: PageAccess, text: str) -> None:
    with pytest.raises(Refused, match="has ended"):
        access.session("vnc", text)


def test_a_session_of_another_page_is_refused(access: PageAccess) -> None:
    text = access.seal(access.open("vnc", token_of(access)))
    with pytest.raises(Refused, match="has ended"):
        access.session("serial", text)


@pytest.mark.parametrize(
    ("identity", "host", "base"),
    [
        (OWNER, "localhost", LOCAL),
        (REMOTE, "cloud.example:8443", "https://cloud.example:8443"),
        (Identity(account_id="1", source_ip="::1"), "[::1]:8800", "http://[::1]:8800"),
        (REMOTE, 'evil"/path', LOCAL),
    ],
)
def test_the_url_is_as_the_caller_reached_the_agent(
    access: PageAccess, identity: Identity, host: str, base: str
) -> None:
    assert access.url("vnc", "i-1", identity, host).startswith(f"{base}/console/vnc#")


def test_a_configured_base_url_wins(tmp_path: Path, clock: ManualClock) -> None:
    access = PageAccess(Sealer(tmp_path / "key"), clock, 120, "https://cloud.example/", lambda: "")
    assert access.url("vnc", "i-1", OWNER, "localhost").startswith("https://cloud.example/console/vnc#")


def test_without_a_door_for_browsers_there_is_no_url(tmp_path: Path, clock: ManualClock) -> None:
    access = PageAccess(Sealer(tmp_path / "key"), clock, 120, "", lambda: "")
    with pytest.raises(Conflict, match="`http` or `https`"):
        access.url("vnc", "i-1", OWNER, "localhost")
