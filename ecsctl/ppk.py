"""PuTTY's private key files, version 3: what a .ppk holds, from a private key in PEM.

The format is PuTTY's own, documented in appendix C of its manual: the public blob as in SSH, a private blob of the
type's numbers, and an HMAC-SHA-256 over all of it. With a passphrase, Argon2id gives key and IV of AES-256-CBC and the
key of the MAC; without one that key is empty.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import struct
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ecsctl.errors import CliError, UsageFault

_MEMORY_KIB, _PASSES, _LANES = 8192, 21, 1  # as puttygen's own keys have it: about 0.1 s
_BLOCK = 16
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class _Secrets:
    """What the passphrase gives: AES key and IV, MAC key, and the lines of the file that tell how."""

    key: bytes = b""
    iv: bytes = b""
    mac_key: bytes = b""
    lines: tuple[str, ...] = ()


def ppk(pem: bytes, comment: str, passphrase: str = "") -> str:
    """The .ppk of an unencrypted private key (RSA, ECDSA or Ed25519). UsageFault for anything else."""
    key = _load(pem)
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    algorithm, public = line.decode().split()[:2]
    secrets = _derive(passphrase, os.urandom(16)) if passphrase else _Secrets()
    encryption = "aes256-cbc" if passphrase else "none"
    public_blob, private_blob = base64.b64decode(public), _private_blob(key)
    if passphrase:
        # Padded with bytes nobody could guess from elsewhere; the MAC covers them.
        short = -len(private_blob) % _BLOCK
        private_blob += hashlib.sha1(private_blob, usedforsecurity=False).digest()[:short]
    covered = (algorithm.encode(), encryption.encode(), comment.encode(), public_blob, private_blob)
    mac = hmac.new(secrets.mac_key, b"".join(map(_string, covered)), hashlib.sha256).hexdigest()
    if passphrase:
        encryptor = Cipher(algorithms.AES(secrets.key), modes.CBC(secrets.iv)).encryptor()
        private_blob = encryptor.update(private_blob) + encryptor.finalize()
    lines = [
        f"PuTTY-User-Key-File-3: {algorithm}",
        f"Encryption: {encryption}",
        f"Comment: {comment}",
        *_blob("Public-Lines", public_blob),
        *secrets.lines,
        *_blob("Private-Lines", private_blob),
        f"Private-MAC: {mac}",
    ]
    return "\n".join(lines) + "\n"


def _load(pem: bytes) -> PrivateKey:
    try:
        openssh = b"BEGIN OPENSSH PRIVATE KEY" in pem
        load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
        key = load(pem, None)
    except TypeError:
        raise UsageFault("the private key has a passphrase of its own: take it off first (ssh-keygen -p)") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageFault(f"this is no private key that can be read: {' '.join(str(error).split())}") from None
    if not isinstance(key, PrivateKey):
        raise UsageFault(f"keys of the kind {type(key).__name__} have no place here: RSA, ECDSA or Ed25519")
    return key


def _private_blob(key: PrivateKey) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        return b"".join(map(_number, (numbers.d, numbers.p, numbers.q, pow(numbers.q, -1, numbers.p))))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _number(key.private_numbers().private_value)
    return _string(key.private_bytes_raw())


def _derive(passphrase: str, salt: bytes) -> _Secrets:
    # Here, not above: it came to the library later than the rest, and most keys have no passphrase.
    try:
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
    except ImportError:
        raise CliError("a .ppk with a passphrase needs the Python package cryptography 44 or later") from None
    # AES key, IV, MAC key.
    derived = Argon2id(
        salt=salt, length=32 + _BLOCK + 32, iterations=_PASSES, lanes=_LANES, memory_cost=_MEMORY_KIB
    ).derive(passphrase.encode())
    lines = (
        "Key-Derivation: Argon2id",
        f"Argon2-Memory: {_MEMORY_KIB}",
        f"Argon2-Passes: {_PASSES}",
        f"Argon2-Parallelism: {_LANES}",
        f"Argon2-Salt: {salt.hex()}",
    )
    return _Secrets(derived[:32], derived[32:48], derived[48:], lines)


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _number(value: int) -> bytes:
    """An mpint: big-endian, with a leading zero where the top bit would say negative."""
    return _string(value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _blob(title: str, content: bytes) -> list[str]:
    text = base64.b64encode(content).decode()
    lines = [text[n : n + 64] for n in range(0, len(text), 64)]
    return [f"{title}: {len(lines)}", *lines]
