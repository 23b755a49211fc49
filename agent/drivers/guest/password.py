"""Login passwords exist as SHA-512 crypt only; the plain text goes through a pipe, never into an argument."""

from __future__ import annotations

import re

from agent.core.errors import DriverError
from agent.drivers import command

_CRYPT = re.compile(r"\$6\$[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{86}\Z")


def hash_password(plain: str) -> str:
    """The salted SHA-512 crypt hash, as /etc/shadow holds it. No error repeats the password."""
    if not plain or not plain.isprintable():
        raise DriverError("cannot hash the password: it must be one line of printable characters")
    answer = command.run(
        "openssl", "passwd", "-6", "-stdin", stdin=plain + "\n", doing="hash the password", package="openssl"
    ).strip()
    if not is_hash(answer):
        raise DriverError("cannot hash the password: openssl gave no SHA-512 crypt hash")
    return answer


def is_hash(text: str) -> bool:
    """Whether `text` is a SHA-512 crypt hash, and so harmless in a shadow file."""
    return _CRYPT.match(text) is not None
