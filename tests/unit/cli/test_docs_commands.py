"""Every `ecsctl …` that README and docs show is one that ecsctl takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ecsctl.main import cli

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
# `ecsctl vpc ls`, or `vpc ls` for short
_INLINE = re.compile(rf"`(?:ecsctl )?((?:{'|'.join(sorted(cli.lazy))}) [^`]+)`")
_SHOWN = re.compile(r"(?:^|[$;&|(] *|sudo )(ecsctl .*)")
_ENDS = {"|", "||", "&&", ">", ">>", "<", ";", ")", "&", "2>"}


def in_blocks(text: str) -> Iterator[str]:
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if found := _SHOWN.search(line):
                yield found[1]


def words(line: str) -> list[str]:
    """What a line says before it goes on with another command."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    found: list[str] = []
    for word in lexer:
        if word in _ENDS:
            break
        found.append(word)
    return found


def take(arguments: list[str]) -> None:
    """Parse as ecsctl does, up to where it would do something or show its help; raises UsageError."""
    command: click.Command = cli
    context: click.Context | None = None
    name, rest = "ecsctl", list(arguments)
    while True:
        try:
            context = command.make_context(name, rest, parent=context)
        except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
            return
        if not isinstance(command, click.Group):
            return
        left = [*context._protected_args, *context.args]
        found, command_, rest = command.resolve_command(context, left)
        assert command_ is not None
        name, command = found or "", command_


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_shows_is_taken(page: Path) -> None:
    text = page.read_text()
    wrong = []
    for line in in_blocks(text):
        try:
            take(words(line)[1:])
        except click.UsageError as error:
            wrong.append(f"{line}: {error.format_message()}")
    for line in _INLINE.findall(_BLOCK.sub("", text)):
        try:
            take(words(line))
        except (click.MissingParameter, click.BadParameter, click.BadOptionUsage):
            continue  # in a sentence a command may go without its arguments
        except click.UsageError as error:
            wrong.append(f"{line}: {error.format_message()}")
    assert wrong == []
