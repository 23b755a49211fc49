"""The opening of an RFB connection (RFC 6143, section 7.1): as a server that asks for a VNC password, and as a client
of QEMU, which asks for none.

VNC authentication: the server sends 16 random bytes, the client returns them encrypted with the password as the DES
key; so the password itself does not travel.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Awaitable, Callable
from typing import Protocol

# DES is what the protocol says; the library has it only as a special case of triple DES.
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

VERSION = b"RFB 003.008\n"
CHALLENGE_BYTES = 16
_NONE, _VNC = 1, 2
_OK, _FAILED = 0, 1


class Stream(Protocol):
    """Bytes in both directions; raises OSError or EOFError when the other side is gone."""

    async def readexactly(self, count: int) -> bytes: ...

    async def send(self, data: bytes) -> None: ...


# Judges the response to the challenge: an empty text lets the client in, any other is the reason why not.
Judge = Callable[[bytes, bytes], Awaitable[str]]


class ProtocolError(Exception):
    """The other side does not speak RFB as it should; one line."""


def vnc_response(password: str, challenge: bytes) -> bytes:
    """What a client that knows `password` (ASCII; 8 characters count) answers to `challenge`."""
    key = password.encode("ascii")[:8].ljust(8, b"\0")
    # The protocol takes each byte of the key with its bits in reverse.
    reversed_key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in key)
    # Nothing is hidden with ECB here: the challenge is random and used once.
    encryptor = Cipher(TripleDES(reversed_key * 3), modes.ECB()).encryptor()
    return encryptor.update(challenge) + encryptor.finalize()


def is_response(password: str, challenge: bytes, response: bytes) -> bool:
    """Whether `response` proves the password; takes the same time for every wrong one."""
    return hmac.compare_digest(vnc_response(password, challenge), response)


async def admit(client: Stream, judge: Judge) -> bool:
    """The server's side up to the security result: whether `judge` let the client in. Raises ProtocolError."""
    await client.send(VERSION)
    version = await client.readexactly(len(VERSION))
    if not version.startswith(b"RFB 003.") or version < VERSION:
        # Older ones could not be told why they are refused.
        raise ProtocolError(f"the viewer speaks {version[:11]!r}, not RFB 3.8")
    await client.send(bytes((1, _VNC)))
    chosen = await client.readexactly(1)
    if chosen[0] != _VNC:
        await client.send(_failure("VNC authentication is the only way in."))
        return False
    challenge = os.urandom(CHALLENGE_BYTES)
    await client.send(challenge)
    reason = await judge(challenge, await client.readexactly(CHALLENGE_BYTES))
    await client.send(_failure(reason) if reason else struct.pack(">I", _OK))
    return not reason


def _failure(reason: str) -> bytes:
    text = reason.encode()
    return struct.pack(">II", _FAILED, len(text)) + text


async def enter(server: Stream) -> None:
    """The client's side up to the security result, without a password. Raises ProtocolError."""
    version = await server.readexactly(len(VERSION))
    if not version.startswith(b"RFB 003.") or version < VERSION:
        raise ProtocolError(f"the screen speaks {version[:11]!r}, not RFB 3.8")
    await server.send(VERSION)
    count = (await server.readexactly(1))[0]
    types = await server.readexactly(count)
    if _NONE not in types:
        raise ProtocolError("the screen asks for a password of its own")
    await server.send(bytes((_NONE,)))
    (result,) = struct.unpack(">I", await server.readexactly(4))
    if result != _OK:
        raise ProtocolError("the screen refuses the connection")
