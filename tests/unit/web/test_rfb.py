"""The opening of an RFB connection, byte by byte, and the slowing down of guesses."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from agent.api.web import rfb
from agent.api.web.throttle import FORGOTTEN_SECONDS, FREE_TRIES, LONGEST_SECONDS, Throttle
from agent.api.web.viewers import Viewer, Viewers
from agent.core.identity import Identity

NOW = dt.datetime(2026, 11, 23, 7, 35, 12, tzinfo=dt.UTC)


class Script:
    """The other side: what it says is read from the start of `says`, what it is told is kept."""

    def __init__(self, says: bytes) -> None:
        self.says, self.told = says, b""

    async def readexactly(self, count: int) -> bytes:
        if len(self.says) < count:
            raise EOFError
        taken, self.says = self.says[:count], self.says[count:]
        return taken

    async def send(self, data: bytes) -> None:
        self.told += data


async def right(challenge: bytes, response: bytes) -> str:
    return ""


async def wrong(challenge: bytes, response: bytes) -> str:
    return "Wrong password."


def test_the_response_is_des_with_the_keys_bits_reversed() -> None:
    # As `openssl enc -des-ecb` computes it with the key 86 42 cc 1e 9a 9c 00 00.
    assert rfb.vnc_response("aB3xY9", bytes(range(16))).hex() == "5a41efd698f6ed49337f2f38f3be12c7"
    assert rfb.is_response("aB3xY9", bytes(range(16)), bytes.fromhex("5a41efd698f6ed49337f2f38f3be12c7"))
    assert not rfb.is_response("aB3xY8", bytes(range(16)), bytes.fromhex("5a41efd698f6ed49337f2f38f3be12c7"))


def test_eight_characters_count() -> None:
    challenge = bytes(16)
    assert rfb.vnc_response("12345678", challenge) == rfb.vnc_response("123456789", challenge)


def test_who_knows_the_password_is_let_in() -> None:
    client = Script(b"RFB 003.008\n" + b"\x02" + bytes(16))
    assert asyncio.run(rfb.admit(client, right))
    assert client.told[:14] == b"RFB 003.008\n\x01\x02"
    assert client.told[-4:] == bytes(4)
    assert len(client.told) == 12 + 2 + 16 + 4


def test_every_challenge_is_another() -> None:
    clients = [Script(b"RFB 003.008\n" + b"\x02" + bytes(16)) for _ in range(2)]
    for client in clients:
        asyncio.run(rfb.admit(client, right))
    assert clients[0].told != clients[1].told


def test_a_refusal_has_its_reason() -> None:
    client = Script(b"RFB 003.008\n" + b"\x02" + bytes(16))
    assert not asyncio.run(rfb.admit(client, wrong))
    assert client.told[30:] == b"\x00\x00\x00\x01" + b"\x00\x00\x00\x0f" + b"Wrong password."


@pytest.mark.parametrize("chosen", [b"\x00", b"\x01", b"\x13"])
def test_there_is_no_way_in_without_a_password(chosen: bytes) -> None:
    client = Script(b"RFB 003.008\n" + chosen)
    assert not asyncio.run(rfb.admit(client, right))
    assert b"VNC authentication" in client.told


@pytest.mark.parametrize("version", [b"RFB 003.003\n", b"RFB 003.007\n", b"GET / HTTP/1", b"\x00" * 12])
def test_other_versions_are_refused(version: bytes) -> None:
    with pytest.raises(rfb.ProtocolError, match=r"not RFB 3\.8"):
        asyncio.run(rfb.admit(Script(version), right))


def test_newer_versions_are_as_good() -> None:
    assert asyncio.run(rfb.admit(Script(b"RFB 003.889\n" + b"\x02" + bytes(16)), right))


def test_entering_a_screen_without_password() -> None:
    server = Script(b"RFB 003.008\n" + b"\x02\x02\x01" + bytes(4))
    asyncio.run(rfb.enter(server))
    assert server.told == b"RFB 003.008\n\x01"


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (b"RFB 003.003\n", "speaks"),
        (b"RFB 003.008\n\x01\x02", "password of its own"),
        (b"RFB 003.008\n\x00", "password of its own"),
        (b"RFB 003.008\n\x01\x01\x00\x00\x00\x01", "refuses"),
    ],
)
def test_a_screen_that_does_not_let_us_in(says: bytes, reason: str) -> None:
    with pytest.raises(rfb.ProtocolError, match=reason):
        asyncio.run(rfb.enter(Script(says)))


def test_guesses_wait_longer_and_longer() -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    waits = []
    for _ in range(30):
        throttle.fail("i-1")
        waits.append(throttle.wait("i-1"))
        now[0] += waits[-1]
    assert waits[: FREE_TRIES + 3] == [0, 0, 1, 2, 4, 8]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_SECONDS
    assert throttle.wait("i-2") == 0


def test_the_right_password_ends_the_waiting() -> None:
    throttle = Throttle(lambda: 0.0)
    for _ in range(FREE_TRIES):
        throttle.fail("i-1")
    assert throttle.wait("i-1") == 1
    throttle.succeed("i-1")
    assert throttle.wait("i-1") == 0


def test_old_guesses_are_forgotten() -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    for _ in range(FREE_TRIES):
        throttle.fail("i-1")
    now[0] = FORGOTTEN_SECONDS + 1
    assert throttle.fail("i-1") == 1


def test_one_viewer_at_a_time() -> None:
    viewers = Viewers()
    owner = Identity(account_id="1", source_ip="192.0.2.7")
    user = Identity(account_id="1", principal_type="user", principal_name="ann")
    first, second = Viewer("p1", owner, "192.0.2.7", NOW), Viewer("p2", user, "192.0.2.8", NOW)
    assert viewers.claim("i-1", first) is None
    assert viewers.claim("i-1", second) is first
    assert str(first) == "in use by the account's owner from 192.0.2.7 since 2026-11-23T07:35:12Z"
    viewers.release("i-1", second)
    assert viewers.other("i-1", "p2") is first
    assert viewers.claim("i-2", second) is None
    viewers.release("i-1", first)
    assert viewers.claim("i-1", second) is None
    assert second.principal == "user ann"


def test_a_page_may_come_back_before_its_end_was_noticed() -> None:
    viewers = Viewers()
    before, after = (Viewer("p1", Identity(account_id="1"), "192.0.2.7", NOW) for _ in range(2))
    assert viewers.claim("i-1", before) is None
    assert viewers.claim("i-1", after) is None
    viewers.release("i-1", before)  # the old connection's end
    assert viewers.other("i-1", "p2") is after
