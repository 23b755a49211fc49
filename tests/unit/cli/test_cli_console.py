"""`instance console` and `screenshot` as far as no guest is needed: keys, menu, replay, ends."""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path

import pytest
from aiohttp import web

from ecsctl.console import Keyboard, key_name, last_lines, parse_escape
from ecsctl.errors import UsageFault
from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, error
from tests.support.pty_session import PtySession

STOPPED = b"the instance has stopped"


class Line:
    """A tunnel that keeps what is sent."""

    finished, early = False, []

    def __init__(self) -> None:
        self.sent = b""

    def encode(self, payload: bytes) -> bytes:
        self.sent += payload
        return payload

    def decode(self, received: bytes) -> tuple[list[bytes], bytes]:
        return [received], b""


@pytest.fixture
def typed() -> tuple[Keyboard, Line, list[str]]:
    line, shown = Line(), []
    return Keyboard(line, b"\x1d", shown.append, lambda: (50, 160)), line, shown  # type: ignore[arg-type]


def test_keys_go_through_and_the_menu_works_over_pieces(typed: tuple[Keyboard, Line, list[str]]) -> None:
    keyboard, line, shown = typed
    keyboard.encode(b"ls\x03\r\x1d")
    assert (line.sent, len(shown)) == (b"ls\x03\r", 1)
    assert "q: leave" in shown[0]
    keyboard.encode(b"s")
    keyboard.encode(b"a\x1d\x1d\x1dxb")
    assert line.sent == b"ls\x03\rstty rows 50 cols 160\ra\x1db"
    assert not keyboard.finished
    keyboard.encode(b"c\x1dqnot this")
    assert keyboard.finished
    assert line.sent.endswith(b"bc")


def test_the_end_of_input_is_not_the_end_of_the_console(typed: tuple[Keyboard, Line, list[str]]) -> None:
    assert typed[0].encode(b"") == b""


def test_without_an_escape_key_everything_goes_through() -> None:
    line = Line()
    Keyboard(line, b"", lambda _: None, lambda: (1, 1)).encode(bytes(range(256)))  # type: ignore[arg-type]
    assert line.sent == bytes(range(256))


def test_escape_keys_have_names() -> None:
    assert [parse_escape(text) for text in ("^]", "^a", "~", "none")] == [b"\x1d", b"\x01", b"~", b""]
    assert (key_name(b"\x1d"), key_name(b"\x01"), key_name(b"~")) == ("Ctrl+]", "Ctrl+A", "~")
    for wrong in ("", "^^^", "^1", "ü", "ab"):
        with pytest.raises(UsageFault, match="--escape"):
            parse_escape(wrong)


@pytest.mark.parametrize(
    ("output", "count", "shown"),
    [
        (b"one\r\ntwo\r\nlogin: ", 2, b"two\r\nlogin: "),
        (b"one\r\ntwo\r\n", 1, b"two\r\n"),
        (b"one\r\ntwo\r\n", 9, b"one\r\ntwo\r\n"),
        (b"", 5, b""),
        (b"a\x1b[6n\x1b[c\x1b]0;title\x07\x1bP$q\x1b\\\x05b\x1b[31mred", 5, b"ab\x1b[31mred\x1b[0m"),
        (b"caf\xc3\xa9\n", 1, b"caf\xc3\xa9\r\n"),
    ],
)
def test_earlier_lines_are_harmless(output: bytes, count: int, shown: bytes) -> None:
    assert last_lines(output, count) == shown


@pytest.fixture
def guest(peer: Peer) -> Peer:
    peer.answers |= {
        "DescribeInstances": recorded.instances(recorded.instance(recorded.WEB, "web")),
        "OpenConsole": {"Path": "/tunnel/good", "ExpiresInSeconds": 30},
        "GetInstanceConsoleOutput": {"ConsoleOutput": base64.b64encode(b"web login: ").decode()},
    }
    return peer


@pytest.mark.parametrize(
    ("code", "reason", "status", "said"),
    [
        (4000, STOPPED, 0, "web has stopped"),
        (4000, b"user lena took the console over", 1, "user lena took the console over"),
        (1001, b"the agent stops", 5, "the agent is gone"),
    ],
)
def test_how_it_ended(guest: Peer, ecsctl, code: int, reason: bytes, status: int, said: str) -> None:
    async def end(stream: web.WebSocketResponse) -> None:
        await stream.send_bytes(b"last words")
        await stream.close(code=code, message=reason)

    guest.tunnel = end
    done = ecsctl("instance", "console", "web", "--idle", "0", status=status)
    assert done.stdout == "last words"
    assert said in done.stderr


def test_a_connection_that_breaks_is_told(guest: Peer, ecsctl) -> None:
    async def vanish(stream: web.WebSocketResponse) -> None:
        await stream.receive_bytes()
        assert stream._req is not None
        assert stream._req.transport is not None
        stream._req.transport.abort()

    guest.tunnel = vanish
    assert (
        "the instance itself runs on" in ecsctl("instance", "console", "web", "--idle", "0", status=5, stdin="x").stderr
    )


def test_a_silent_console_is_left_after_the_end_of_a_pipe(guest: Peer, ecsctl) -> None:
    async def answer_once(stream: web.WebSocketResponse) -> None:
        await stream.send_bytes(b"got " + await stream.receive_bytes())
        await stream.receive()

    guest.tunnel = answer_once
    assert ecsctl("instance", "console", "web", "--idle", "0.3", stdin="\x1dq\n").stdout == "got \x1dq\n"


def test_in_use_and_stopped(guest: Peer, ecsctl) -> None:
    guest.answers["OpenConsole"] = error(403, "InvalidOperation.ConsoleInUse", "in use by root since noon")
    assert "in use by root since noon" in ecsctl("instance", "console", "web", status=1).stderr
    guest.answers["DescribeInstances"] = recorded.instances(recorded.instance(recorded.WEB, "web", "Stopped"))
    assert "ecsctl instance start web" in ecsctl("instance", "console", "web", status=1).stderr


def test_at_a_terminal(guest: Peer, setting) -> None:
    async def echo(stream: web.WebSocketResponse) -> None:
        async for message in stream:
            await stream.send_bytes(message.data.replace(b"\r", b"\r\n"))

    guest.tunnel = echo
    command = [sys.executable, "-m", "ecsctl", "instance", "console", "web"]
    with PtySession(command, setting.environ) as session:
        session.expect("Ctrl+] q leaves")
        session.expect("web login: ")
        assert session.is_raw
        session.send("abc\r")
        session.expect("abc\r\n")
        session.send("\x1dq")
        assert session.end() == 0
        assert session.attributes() == session.before


def test_screenshot_is_written(guest: Peer, ecsctl, tmp_path: Path) -> None:
    guest.answers["GetInstanceScreenshot"] = {"Screenshot": base64.b64encode(b"\x89PNG picture").decode()}
    file = tmp_path / "web.png"
    assert ecsctl("instance", "screenshot", "web", str(file)).stdout == f"{file}\n"
    assert file.read_bytes() == b"\x89PNG picture"
    assert guest.parameters("GetInstanceScreenshot")["WakeUp"] == "false"
    assert "No such file" in ecsctl("instance", "screenshot", "web", f"{tmp_path}/none/x.png", status=1).stderr
    assert os.listdir(tmp_path) == ["web.png"]
