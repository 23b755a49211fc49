"""Secrets at rest: sealed with a key of the host that lives beside, not in, the database (mode 0600)."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.fernet import Fernet


class Sealer:
    """Encrypts and decrypts small secrets with the key in `path`, made on first use."""

    def __init__(self, path: Path) -> None:
        self._fernet = Fernet(_load_or_make(path))

    def seal(self, secret: str) -> bytes:
        return self._fernet.encrypt(secret.encode())

    def open(self, sealed: bytes) -> str:
        """Raises cryptography.fernet.InvalidToken when it was sealed with another key."""
        return self._fernet.decrypt(sealed).decode()


def _load_or_make(path: Path) -> bytes:
    if path.exists():
        return path.read_bytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    handle = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(Fernet.generate_key())
        stream.flush()
        os.fsync(stream.fileno())
    # Without the directory's fsync the key could vanish in a power cut, and every secret with it.
    temporary.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    return path.read_bytes()
