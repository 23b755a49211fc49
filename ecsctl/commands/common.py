"""Small things several commands need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ecsctl.errors import CliError, UsageFault

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def wait_options(default_timeout: int) -> Decorator:
    """`--wait/--no-wait` and `--timeout` (seconds)."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        return click.option(
            "--wait/--no-wait", default=True, show_default=True, help="Wait until it is done, or return at once."
        )(timeout_option(default_timeout)(function))

    return decorate


def timeout_option(default: int) -> Decorator:
    """`--timeout` (seconds), for what is always waited for."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=default,
        show_default=True,
        metavar="SECONDS",
        help="Longest wait.",
    )


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is lost. Raises CliError when the answer is no, and UsageFault where nobody can be asked:
    a script has to say --yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageFault(f"there is no terminal to ask at: {question} If so, add --yes")
    if not click.confirm(question, err=True):
        raise CliError("nothing was done")


def parse_tags(texts: Sequence[str]) -> dict[str, str | None]:
    """`KEY=VALUE` or `KEY` each; UsageFault for one without a key."""
    tags: dict[str, str | None] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key:
            raise UsageFault(f"tag {text!r} must be KEY=VALUE")
        tags[key] = value if equals else None
    return tags


def tag_filter(tags: dict[str, str | None]) -> list[dict[str, str | None]]:
    """The Tag.N parameters; a tag without a value stands for any value in a filter."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_values(texts: Sequence[str]) -> list[dict[str, str | None]]:
    """The Tag.N parameters of something that is created."""
    return [{"Key": key, "Value": value or ""} for key, value in parse_tags(texts).items()]


def read_text(path: Path, what: str = "text") -> str:
    """A file's text, or stdin's for `-`; CliError when it cannot be read, UsageFault when it is no text."""
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text()
    except OSError as error:
        raise CliError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageFault(f"{path} is not {what}") from None
