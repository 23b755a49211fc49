"""The management terminal without a guest: who gets to the screen, what others are told, and the password."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.api.web.access import LONGEST_SECONDS
from agent.api.web.streams import CODES, OTHER_CODE
from agent.core.errors import ApiError
from agent.core.identity import Identity
from agent.store.schema import Instance
from tests.support.cloud import Cloud
from tests.support.vnc import Terminal, Visit, end_of, post, serve, try_password
from tests.support.waiting import wait_for

WRONG = "wrong1"


@pytest.fixture
def terminal(cloud: Cloud, loop: asyncio.AbstractEventLoop, tmp_path: Path) -> Iterator[Terminal]:
    with serve(cloud, loop, tmp_path) as terminal:
        yield terminal


# ---------------------------------------------------------------------------------- password


def test_the_generated_password_is_told_once(terminal: Terminal) -> None:
    password = terminal.password()
    assert len(password) == 6
    assert password.isascii()
    assert password.isalnum()
    with pytest.raises(ApiError, match="ModifyInstanceVncPasswd") as refused:
        terminal.password()
    assert (refused.value.code, refused.value.status) == ("InvalidOperation.VncPasswdShown", 403)


def test_the_first_page_tells_the_password_once(terminal: Terminal) -> None:
    session = terminal.open()
    status, answer = terminal.ask(session, "first-password")
    assert status == 200
    assert not try_password(terminal, session, answer["VncPasswd"])
    assert terminal.ask(terminal.open(), "first-password") == (200, {"VncPasswd": ""})
    with pytest.raises(ApiError, match="ModifyInstanceVncPasswd"):
        terminal.password()


def test_the_page_does_not_tell_what_a_call_has_told(terminal: Terminal) -> None:
    terminal.password()
    assert terminal.ask(terminal.open(), "first-password") == (200, {"VncPasswd": ""})


def test_a_change_waits_for_the_console_start(terminal: Terminal) -> None:
    before, session = terminal.password(), terminal.open()
    assert terminal.ask(session, "state")[1]["PasswordPending"] is False
    assert terminal.ask(session, "password", {"VncPassword": "New123"}) == (200, {})
    assert terminal.ask(session, "state")[1]["PasswordPending"] is True
    assert not try_password(terminal, session, before)
    assert try_password(terminal, session, "New123") == "Wrong password."
    with terminal.cloud.store.read() as stored:
        wanted = stored.get_one(Instance, terminal.instance_id).vnc_password
    terminal.set(vnc_password_active=wanted)
    assert not try_password(terminal, session, "New123")
    assert try_password(terminal, session, before) == "Wrong password."


def test_a_password_set_before_the_first_is_seen_leaves_the_first_in_effect(terminal: Terminal) -> None:
    terminal.cloud.call("ModifyInstanceVncPasswd", {"InstanceId": terminal.instance_id, "VncPassword": "New123"})
    assert not try_password(terminal, terminal.open(), terminal.password())


@pytest.mark.parametrize("password", ["", "12345", "1234567", "12345!", "12345é", "١٢٣٤٥٦", "12345\n"])
def test_passwords_of_other_shapes_are_refused(terminal: Terminal, password: str) -> None:
    with pytest.raises(ApiError) as refused:
        terminal.cloud.call("ModifyInstanceVncPasswd", {"InstanceId": terminal.instance_id, "VncPassword": password})
    assert refused.value.code in ("InvalidVncPassword.Malformed", "MissingParameter")
    assert not password or password not in refused.value.message
    status, answer = terminal.ask(terminal.open(), "password", {"VncPassword": password})
    assert status == 400
    assert answer["Code"] == refused.value.code


@pytest.mark.parametrize("action", ["DescribeInstanceVncUrl", "DescribeInstanceVncPasswd", "ModifyInstanceVncPasswd"])
def test_other_accounts_see_no_terminal(terminal: Terminal, action: str) -> None:
    params = {"InstanceId": terminal.instance_id, "VncPassword": "New123"}
    with pytest.raises(ApiError) as refused:
        terminal.cloud.call(action, params, account_id=terminal.cloud.add_account())
    assert refused.value.code == "InvalidInstanceId.NotFound"


def test_no_secret_is_in_the_audit_log(terminal: Terminal) -> None:
    session = terminal.open()
    password = terminal.ask(session, "first-password")[1]["VncPasswd"]
    terminal.ask(session, "password", {"VncPassword": "New123"})
    assert not try_password(terminal, session, password)
    text = terminal.audit.read_text()
    assert password not in text
    assert "New123" not in text
    assert session not in text


# ---------------------------------------------------------------------------------- the screen


def test_bytes_pass_both_ways(terminal: Terminal) -> None:
    password, session = terminal.password(), terminal.open()

    async def run() -> None:
        async with Visit(terminal, session) as visit:
            assert await visit.log_in(password) == ""
            data = bytes(range(256)) * 8000
            await visit.channel.send_bytes(data)
            assert await visit.read(len(data)) == data

    asyncio.run(run())
    assert terminal.screens.opened == [f"ecs-{terminal.instance_id}"]
    # The agent may hear of the end after the viewer.
    wait_for("the end's note", lambda: terminal.events() == [("ConnectVnc", ""), ("DisconnectVnc", "")], 30, every=0.02)


def test_guesses_are_slowed_over_all_connections_and_logged(terminal: Terminal) -> None:
    password, sessions = terminal.password(), [terminal.open(), terminal.open()]
    assert try_password(terminal, sessions[0], WRONG) == "Wrong password."
    assert try_password(terminal, sessions[1], WRONG) == "Wrong password."
    assert try_password(terminal, sessions[0], WRONG) == "Wrong password. Try again in 1 s."
    for session in (*sessions, terminal.open()):
        assert try_password(terminal, session, password).startswith("Too many wrong passwords.")
    assert terminal.screens.opened == []
    assert terminal.events() == [
        *[("ConnectVnc", "WrongPassword")] * 3,
        *[("ConnectVnc", "TooManyWrongPasswords")] * 3,
    ]


def test_guesses_side_by_side_are_judged_one_by_one(terminal: Terminal) -> None:
    terminal.password()
    session = terminal.open()

    async def run() -> list[str]:
        async def guess() -> str:
            async with Visit(terminal, session) as visit:
                return await visit.log_in(WRONG)

        return await asyncio.gather(*(guess() for _ in range(20)))

    reasons = asyncio.run(run())
    assert sum(reason.startswith("Wrong password.") for reason in reasons) == 3
    assert sum(reason.startswith("Too many") for reason in reasons) == 17


def test_a_second_viewer_is_told_who_is_there(terminal: Terminal) -> None:
    password, first, second = terminal.password(), terminal.open(), terminal.open()

    async def run() -> tuple[tuple[int, str], dict[str, Any], dict[str, Any]]:
        async with Visit(terminal, first) as one:
            assert await one.log_in(password) == ""
            async with Visit(terminal, second) as other:
                told = await other.end()
            states = [(await post(f"{terminal.base}/console/vnc/state", {}, s))[1] for s in (first, second)]
            return told, states[0], states[1]

    (code, reason), own, others = asyncio.run(run())
    told = "The terminal is in use by the account's owner from 127.0.0.1 since 2026-11-23T07:35:12Z."
    assert (code, reason) == (CODES["InUse"], told)
    assert own["Viewer"] is None
    assert others["Viewer"]["Since"] == "2026-11-23T07:35:12Z"
    wait_for("a free place", lambda: terminal.ask(second, "state")[1]["Viewer"] is None)
    assert not try_password(terminal, second, password)


def test_who_waits_at_the_password_keeps_nobody_out_and_is_refused_after_it(terminal: Terminal) -> None:
    password, first, second = terminal.password(), terminal.open(), terminal.open()

    async def run() -> str:
        async with Visit(terminal, first) as waiting, Visit(terminal, second) as quick:
            await waiting.greeted()
            assert await quick.log_in(password) == ""
            return await waiting.log_in(password)

    assert asyncio.run(run()).startswith("The terminal is in use by the account's owner")


def test_a_page_takes_its_own_place_again(terminal: Terminal) -> None:
    password, session = terminal.password(), terminal.open()

    async def run() -> None:
        async with Visit(terminal, session) as lost, Visit(terminal, session) as again:
            assert await lost.log_in(password) == ""
            assert await again.log_in(password) == ""

    asyncio.run(run())


def test_a_guest_that_stops_ends_the_connection(terminal: Terminal) -> None:
    password, session = terminal.password(), terminal.open()

    async def run() -> tuple[int, str]:
        async with Visit(terminal, session) as visit:
            assert await visit.log_in(password) == ""
            terminal.screens.end()
            return await visit.end()

    code, reason = asyncio.run(run())
    assert code == CODES["ScreenEnded"]
    assert "stopped" in reason


@pytest.mark.parametrize("status", ["Stopped", "Starting", "Stopping", "Pending"])
def test_without_a_running_instance_there_is_no_screen(terminal: Terminal, status: str) -> None:
    session = terminal.open()
    terminal.set(status=status)
    code, reason = end_of(terminal, session)
    assert code == CODES["NotRunning"]
    assert f"is {status}" in reason
    assert terminal.ask(session, "state")[1]["Status"] == status


def test_a_released_instance_has_no_terminal(terminal: Terminal) -> None:
    session = terminal.open()
    terminal.set(releasing=True)
    assert "does not exist" in end_of(terminal, session)[1]
    assert terminal.ask(session, "state")[0] == 404


def test_a_screen_that_cannot_be_opened_is_told_and_leaves_the_place_free(terminal: Terminal) -> None:
    password, session = terminal.password(), terminal.open()
    terminal.screens.failure = "cannot reach libvirt"
    assert try_password(terminal, session, password) == "The screen cannot be opened: cannot reach libvirt."
    terminal.screens.failure = ""
    assert not try_password(terminal, terminal.open(), password)


# ---------------------------------------------------------------------------------- sessions


@pytest.mark.parametrize("session", ["", "forged"])
def test_without_a_session_nothing_is_told(terminal: Terminal, session: str) -> None:
    for what in ("state", "first-password", "password"):
        assert terminal.ask(session, what)[0] == 401
    assert end_of(terminal, session)[0] == CODES["SessionEnded"]


def test_who_may_not_open_the_page_any_more_is_out(terminal: Terminal) -> None:
    user = Identity(account_id=terminal.cloud.account_id, principal_type="user", principal_name="ann")
    token = terminal.access.url("vnc", terminal.instance_id, user, "").partition("#")[2]
    session = terminal.access.seal(terminal.access.open("vnc", token))
    assert terminal.ask(session, "state")[1]["Code"] == "Forbidden.RAM"
    code, reason = end_of(terminal, session)
    assert code == OTHER_CODE
    assert "not authorized" in reason


def test_a_session_ends_for_the_screen_too(terminal: Terminal) -> None:
    session = terminal.open()
    terminal.clock.advance(LONGEST_SECONDS + 1)
    assert end_of(terminal, session)[0] == CODES["SessionEnded"]


def test_a_page_that_is_open_too_long_is_closed(terminal: Terminal) -> None:
    password, session = terminal.password(), terminal.open()
    for _ in range(LONGEST_SECONDS // 1600):
        terminal.clock.advance(1600)
        session = terminal.ask(session, "state")[1]["Session"]

    async def run() -> tuple[int, str]:
        async with Visit(terminal, session) as visit:
            assert await visit.log_in(password) == ""
            return await visit.end()

    code, reason = asyncio.run(run())
    assert code == CODES["SessionEnded"]
    assert "as long as it may" in reason


def test_a_page_of_another_site_gets_nowhere(terminal: Terminal) -> None:
    session = terminal.open()

    async def run() -> int:
        try:
            async with Visit(terminal, session, origin="https://evil.example"):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status

    assert asyncio.run(run()) == 403


def test_a_plain_request_is_no_screen(terminal: Terminal) -> None:
    async def run() -> int:
        url = f"{terminal.base}/console/vnc/stream"
        async with aiohttp.ClientSession() as client, client.get(url) as response:
            return response.status

    assert asyncio.run(run()) == 400


def test_the_agents_end_closes_the_screen(terminal: Terminal, loop: asyncio.AbstractEventLoop) -> None:
    password, session = terminal.password(), terminal.open()

    async def run(stop: Callable[[], Any]) -> tuple[int, str]:
        async with Visit(terminal, session) as visit:
            assert await visit.log_in(password) == ""
            stopping = stop()
            told = await visit.end()
            await asyncio.wrap_future(stopping)
            return told

    stop = lambda: asyncio.run_coroutine_threadsafe(terminal.server.stop(), loop)  # noqa: E731
    assert asyncio.run(run(stop)) == (1001, "The agent stops.")
