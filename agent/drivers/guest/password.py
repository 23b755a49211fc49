"""Login passwords exist as SHA-512 crypt only; the plain text never becomes an argument or touches a file."""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import secrets
import threading
from functools import cache

from agent.core.errors import DriverError

_CRYPT = re.compile(r"\$6\$[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{86}\Z")
# Begins the salt of every hash made here, so that the boothook can tell a password of ours from one set in the guest.
OUR_SALT = "ecs."
OUR_HASH = f"$6${OUR_SALT}"
_RANDOM_SALT_LENGTH = 12  # 72 bits; crypt takes salts of up to 16 characters
_SALT = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LOCK = threading.Lock()  # crypt() answers in a buffer of its own


@cache
def _crypt() -> ctypes.CDLL:
    # The system's libcrypt, as `passwd` uses it: a child process would cost a call ten times as much.
    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    library.crypt.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
    library.crypt.restype = ctypes.c_char_p
    return library


def hash_password(plain: str) -> str:
    """The salted SHA-512 crypt hash, as /etc/shadow holds it. No error repeats the password."""
    if not plain or not plain.isprintable():
        raise DriverError("cannot hash the password: it must be one line of printable characters")
    setting = "$6$" + OUR_SALT + "".join(secrets.choice(_SALT) for _ in range(_RANDOM_SALT_LENGTH))
    try:
        with _LOCK:
            raw = _crypt().crypt(plain.encode(), setting.encode())
    except OSError as error:
        raise DriverError(f"cannot hash the password: {error}") from None
    answer = (raw or b"").decode(errors="replace")
    if not is_hash(answer):
        raise DriverError("cannot hash the password: libcrypt gave no SHA-512 crypt hash")
    return answer


def is_hash(text: str) -> bool:
    """Whether `text` is a SHA-512 crypt hash, and so harmless in a shadow file."""
    return _CRYPT.match(text) is not None
