"""Passwords become SHA-512 crypt and nothing else keeps them."""

import subprocess

import pytest

from agent.core.errors import DriverError
from agent.drivers.guest.password import OUR_SALT, hash_password, is_hash


@pytest.mark.parametrize("plain", ["Abc12345", "()`~!@#$%^&*-_+=|{}[]:;'<>,.?/\\aA1", " lead and trail "])
def test_what_crypt_would_say(plain: str) -> None:
    hashed = hash_password(plain)
    assert is_hash(hashed)
    salt = hashed.split("$")[2]
    again = subprocess.run(
        ["openssl", "passwd", "-6", "-salt", salt, "-stdin"], input=plain + "\n", capture_output=True, text=True
    )
    assert again.stdout.strip() == hashed


def test_salted() -> None:
    assert hash_password("Abc12345") != hash_password("Abc12345")


def test_ours_can_be_told_from_others() -> None:
    assert hash_password("Abc12345").split("$")[2].startswith(OUR_SALT)


@pytest.mark.parametrize("plain", ["", "two\nlines", "nul\0", "bell\a"])
def test_what_cannot_be_a_password(plain: str) -> None:
    with pytest.raises(DriverError, match="one line of printable characters") as caught:
        hash_password(plain)
    assert not plain or plain not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "$6$salt$short", "$1$x$" + "a" * 86, "$6$s$" + "a" * 86 + "\n", "$6$a:b$" + "a" * 86]
)
def test_what_is_no_hash(text: str) -> None:
    assert not is_hash(text)
