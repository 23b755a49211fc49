"""Tables, JSON, YAML and names on stdout. Tables need no more room than their widest cells."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from ecsctl.errors import UsageFault

FORMATS = ("table", "wide", "json", "yaml", "name")
_COLOURS = {
    "Running": "green",
    "Available": "green",
    "Succeeded": "green",
    "Stopped": "bright_black",
    "accomplished": "green",
    "Pending": "yellow",
    "Starting": "yellow",
    "Stopping": "yellow",
    "Undoing": "yellow",
    "Creating": "yellow",
    "Failed": "red",
    "failed": "red",
    "CreateFailed": "red",
}
_GAP = "  "

Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """`value`: a path like `VpcAttributes.VpcId`, or a function of the item. `wide`: only with `-o wide`."""

    title: str
    value: str | Callable[[Row], object]
    wide: bool = False

    def text(self, item: Row) -> str:
        found = self.value(item) if callable(self.value) else at(item, self.value)
        return cell(found)


@dataclass(frozen=True)
class View:
    """How one kind of item is shown. `name`: the paths of its name, best first."""

    columns: Sequence[Column]
    name: Sequence[str]


def at(item: object, path: str) -> Any:
    """What lies at a dotted path, or None."""
    for part in path.split("."):
        item = item.get(part) if isinstance(item, dict) else None
    return item


def cell(value: object) -> str:
    """One line of text for any value of an answer; nothing that could move a terminal's cursor."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(cell(one) for one in value)
    if isinstance(value, dict):
        return ",".join(f"{key}={cell(one)}" for key, one in value.items())
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def colours(stream: Any) -> bool:
    """Whether colours are wanted on a stream: a terminal, and NO_COLOR is not set."""
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def emit_list(items: Iterable[Row], view: View, form: str, query: str | None = None) -> None:
    """Print items in one of FORMATS (empty: the default), through a JMESPath query if there is one."""
    rows = list(items)
    if _structured(rows, form, query):
        return
    if form == "name":
        for row in rows:
            click.echo(name_of(row, view))
        return
    columns = [c for c in view.columns if form == "wide" or not c.wide]
    _table([c.title for c in columns], [[c.text(row) for c in columns] for row in rows])


def emit_item(item: Row, view: View, form: str, query: str | None = None) -> None:
    """Print one item; as a table it is a line per column, wide ones included."""
    if _structured(item, form, query):
        return
    if form == "name":
        click.echo(name_of(item, view))
        return
    pairs = [(c.title, c.text(item)) for c in view.columns]
    width = max(len(title) for title, _ in pairs) + 1
    for title, text in pairs:
        if text:
            click.echo(f"{title + ':':<{width}} {_paint(text, text)}")


def name_of(item: Row, view: View) -> str:
    return next((cell(found) for path in view.name if (found := at(item, path))), "")


def _structured(value: object, form: str, query: str | None) -> bool:
    if query:
        value = _search(query, value)
        if form in ("", "table", "wide", "name"):
            _plain(value)
            return True
    if form == "json":
        _json(value)
    elif form == "yaml":
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)
    return form in ("json", "yaml")


def _plain(value: object) -> None:
    """The result of a query for people and shells: scalars bare, one a line, all else as JSON."""
    values = value if isinstance(value, list) else [value]
    if any(isinstance(one, dict | list) for one in values):
        _json(value)
        return
    for one in values:
        if one is not None:
            click.echo(("true" if one else "false") if isinstance(one, bool) else str(one))


def _json(value: object) -> None:
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _search(query: str, value: object) -> object:
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        return jmespath.search(query, value)
    except JMESPathError as error:
        raise UsageFault(f"--query {query!r}: {' '.join(str(error).split())}") from None


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max([_width(title), *(_width(row[n]) for row in rows)]) for n, title in enumerate(titles)]
    head = _GAP.join(_pad(title, width) for title, width in zip(titles, widths, strict=True)).rstrip()
    click.echo(click.style(head, bold=True) if colours(sys.stdout) else head)
    for row in rows:
        cells = [_paint(_pad(text, width), text) for text, width in zip(row, widths, strict=True)]
        click.echo(_GAP.join(cells).rstrip())


def _paint(shown: str, text: str) -> str:
    colour = _COLOURS.get(text)
    return click.style(shown, fg=colour) if colour and colours(sys.stdout) else shown


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    return max(wcswidth(text), 0)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
