"""Secrets at rest: sealed with a key of the host that lives beside, not in, the database (mode 0600)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken


class Sealer:
    """Encrypts and decrypts small secrets with the key in `path`, made on first use."""

    def __init__(self, path: Path) -> None:
        self._fernet = Fernet(_load_or_make(path))

    def seal(self, secret: str) -> bytes:
        return self._fernet.encrypt(secret.encode())

    def open(self, sealed: bytes) -> str:
        """Raises cryptography.fernet.InvalidToken when it was sealed with another key."""
        return self._fernet.decrypt(sealed).decode()

    def seal_claims(self, kind: str, claims: dict[str, Any]) -> str:
        """A token that its holder can neither read nor change; of letters, digits, `-`, `_` and `=`."""
        content = json.dumps({"kind": kind, "claims": claims}, separators=(",", ":"), ensure_ascii=False)
        return self.seal(content).decode()

    def open_claims(self, kind: str, token: str) -> dict[str, Any] | None:
        """What such a token says; None for anything else, a token of another kind included."""
        try:
            content = json.loads(self.open(token.encode()))
        except (InvalidToken, ValueError):
            return None
        if not isinstance(content, dict) or content.get("kind") != kind:
            return None
        claims: dict[str, Any] = content["claims"]
        return claims


def write_private(path: Path, content: bytes) -> None:
    """Put `content` at `path`, mode 0600, whole or not at all, and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    handle = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    # Without the directory's fsync a key could vanish in a power cut, and every secret with it.
    temporary.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def _load_or_make(path: Path) -> bytes:
    if not path.exists():
        write_private(path, Fernet.generate_key())
    return path.read_bytes()
