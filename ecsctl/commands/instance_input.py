"""What commands read for an instance from files, stdin or the terminal: passwords and user data."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ecsctl.errors import CliError, UsageFault

USER_DATA_LIMIT = 16 * 1024  # bytes before encoding (SPEC I11)


def password_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--password-stdin` and `--password-file`: never on the command line, which every user of the machine can read."""
    function = click.option(
        "--password-file", type=click.Path(path_type=Path), help="Read it from the first line of a file."
    )(function)
    return click.option("--password-stdin", is_flag=True, help="Read the password from the first line of stdin.")(
        function
    )


def password_of(given: dict[str, Any]) -> str:
    """The password in the one way that was given; empty when none was."""
    ways = [given["ask_password"], given["password_stdin"], given["password_file"] is not None]
    if sum(ways) > 1:
        raise UsageFault("give the password in one way: --password, --password-stdin or --password-file")
    if given["password_stdin"] and str(given.get("user_data")) == "-":
        raise UsageFault("stdin can be the password or the user data, not both")
    if given["ask_password"]:
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    if given["password_stdin"]:
        return _first_line(sys.stdin.readline(), "stdin")
    if given["password_file"]:
        text = _read(given["password_file"]).decode(errors="strict")
        return _first_line(text.partition("\n")[0], str(given["password_file"]))
    return ""


def user_data_of(path: Path | None) -> str | None:
    """The file's bytes in Base64; UsageFault when they are too many."""
    if path is None:
        return None
    content = _read(path)
    if len(content) > USER_DATA_LIMIT:
        raise UsageFault(f"user data {path} has {len(content)} bytes; {USER_DATA_LIMIT} are allowed")
    return base64.b64encode(content).decode()


def _first_line(line: str, where: str) -> str:
    password = line.rstrip("\r\n")
    if not password:
        raise UsageFault(f"the first line of {where} is empty: it must be the password")
    return password


def _read(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise CliError(f"cannot read {path}: {error.strerror}") from None
