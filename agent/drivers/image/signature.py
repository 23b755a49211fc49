"""Signed texts, by gpgv: the keys are whoever's, the fingerprints that count are the recipe's."""

from __future__ import annotations

import base64
import binascii
import re
import tempfile
from collections.abc import Collection
from pathlib import Path

import sh

from agent.core.errors import DriverError

SECONDS = 60
_ARMOR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+: [^\r\n]*\r?\n)*\r?\n(?P<body>.*?)"
    rb"(?:\r?\n=[A-Za-z0-9+/]{4})?\r?\n-----END PGP PUBLIC KEY BLOCK-----",
    re.DOTALL,
)


def verified(text: bytes, signature: bytes, keys: bytes, fingerprints: Collection[str], where: str) -> bytes:
    """`text` if one of `fingerprints` signed it; without `signature` it is clear-signed, and what was signed is
    returned. `where`: its URL, for the message. Raises DriverError."""
    with tempfile.TemporaryDirectory(prefix="ecs-signature-") as name:
        directory = Path(name)
        (directory / "keys").write_bytes(binary_keys(keys, where))
        (directory / "text").write_bytes(text)
        (directory / "signature").write_bytes(signature)
        files = ["signature", "text"] if signature else ["text"]
        status = _gpgv(directory, files, where)
        if why := problem(status, fingerprints):
            raise DriverError(f"{where} cannot be trusted: {why}")
        return text if signature else (directory / "verified").read_bytes()


def _gpgv(directory: Path, files: list[str], where: str) -> str:
    """What gpgv says for programs; its exit status does not tell which of several keys signed."""
    try:
        gpgv = sh.Command("timeout").bake(str(SECONDS), str(sh.Command("gpgv")))
    except sh.CommandNotFound as error:
        raise DriverError(f"cannot verify {where}: {error} is missing, apt-get install gpgv") from None
    options = ["--homedir", str(directory), "--keyring", str(directory / "keys"), "--status-fd", "1"]
    output = [] if len(files) == 2 else ["--output", str(directory / "verified")]
    paths = [str(directory / file) for file in files]
    return str(gpgv(*options, *output, *paths, _ok_code=list(range(256)), _tty_out=False))


def problem(status: str, fingerprints: Collection[str]) -> str:
    """Why the status lines of gpgv do not show a good signature by one of these keys; empty: they do. Pure."""
    signed, good, why = False, False, "it has no signature"
    for line in status.splitlines():
        words = line.removeprefix("[GNUPG:] ").split()
        match words[:1]:
            case ["NEWSIG"]:
                good = False
            case ["GOODSIG"]:
                good = True
            case ["BADSIG"]:
                return f"its signature by the key {words[1]} is wrong"
            case ["EXPSIG" | "EXPKEYSIG" | "REVKEYSIG"]:
                why = f"the key {words[1]} that signed it, or the signature, has expired or was revoked"
            case ["ERRSIG"]:
                why = f"it is signed by the key {words[1]}, which is not among the published keys"
            case ["VALIDSIG"] if good:
                # The key that signed may be a subkey; the last word is its primary key.
                signed = signed or bool({words[1], words[-1]} & set(fingerprints))
                why = f"it is signed by the key {words[-1]}, but must be by {' or '.join(sorted(fingerprints))}"
    return "" if signed else why


def binary_keys(keys: bytes, where: str) -> bytes:
    """Public keys as gpgv reads them: armoured ones unpacked. Raises DriverError."""
    if not keys.lstrip().startswith(b"-----BEGIN"):
        return keys
    try:
        return b"".join(base64.b64decode(match["body"], validate=False) for match in _ARMOR.finditer(keys))
    except binascii.Error:
        raise DriverError(f"the public keys for {where} are damaged") from None
