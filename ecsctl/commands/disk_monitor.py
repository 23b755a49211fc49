"""`ecsctl disk monitor`: what a disk did, as a table or a plot."""

from __future__ import annotations

import datetime as dt
import shutil
import sys
from collections.abc import Callable

import click

from ecsctl import plot
from ecsctl.cli import App, command
from ecsctl.client import Client, unwrap
from ecsctl.completion import names
from ecsctl.errors import UsageFault
from ecsctl.output import Column, Row, View, colours
from ecsctl.resolve import DISK, find_id

LAST = {
    "1h": dt.timedelta(hours=1),
    "6h": dt.timedelta(hours=6),
    "1d": dt.timedelta(days=1),
    "7d": dt.timedelta(days=7),
}
MAX_POINTS = 400  # of one answer
# Periods in seconds, and for how long the agent keeps them.
_KEPT = {60: dt.timedelta(hours=25), 600: dt.timedelta(days=31), 3600: dt.timedelta(days=36500)}
_HEIGHT = 4
_MARGIN = 12  # for the numbers beside a chart

VIEW = View(
    columns=(
        Column("TIME", "TimeStamp"),
        Column("READ IOPS", "IOPSRead"),
        Column("WRITE IOPS", "IOPSWrite"),
        Column("READ B/S", "BPSRead"),
        Column("WRITE B/S", "BPSWrite"),
        Column("READ US", "LatencyRead"),
        Column("WRITE US", "LatencyWrite"),
    ),
    name=("TimeStamp",),
)
_CHARTS = (
    ("read requests", "IOPSRead", "/s"),
    ("write requests", "IOPSWrite", "/s"),
    ("read", "BPSRead", "B/s"),
    ("write", "BPSWrite", "B/s"),
)


@command("monitor")
@click.argument("name", shell_complete=names("disk"))
@click.option("--last", type=click.Choice(list(LAST)), help="Up to now. Default: 1h.")
@click.option("--from", "begin", metavar="TIME", help="2026-11-23T07:00, in local time unless it ends in Z or +09:00.")
@click.option("--to", "end", metavar="TIME", help="Default: now.")
@click.option("--plot/--no-plot", "plotted", default=None, help="Draw it. Default: on a terminal, without -o.")
def monitor(app: App, name: str, last: str | None, begin: str | None, end: str | None, plotted: bool | None) -> None:
    """Show requests and bytes per second of a disk, and how long requests took (microseconds)."""
    now = dt.datetime.now(dt.UTC)
    if last and (begin or end):
        raise UsageFault("give --last, or --from and --to, not both")
    if end and not begin:
        raise UsageFault("--to needs --from")
    until = _moment(end) if end else now
    since = _moment(begin) if begin else until - LAST[last or "1h"]
    if since >= until:
        raise UsageFault(f"--from {begin} must be before --to {end or 'now'}")
    period = choose_period(since, until, now)
    points = _points(app.client, find_id(app.client, DISK, name), since, until, period)
    wanted = sys.stdout.isatty() if plotted is None else plotted
    if wanted and not app.query and app.output in ("", "table", "wide"):
        for line in drawing(points, since, until, period, shutil.get_terminal_size().columns):
            click.echo(line)
        return
    app.emit_list(points, VIEW)


def choose_period(since: dt.datetime, until: dt.datetime, now: dt.datetime) -> int:
    """The shortest period that is still kept of all that time and gives points for one answer; else the longest."""
    for period, kept in _KEPT.items():
        if now - since <= kept and (until - since).total_seconds() <= MAX_POINTS * period:
            return period
    return max(_KEPT)


def _moment(text: str) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(text).astimezone(dt.UTC)
    except ValueError:
        raise UsageFault(f"{text!r} is no time: 2026-11-23T07:00, or with a zone 2026-11-23T07:00Z") from None


def _points(client: Client, disk_id: str, since: dt.datetime, until: dt.datetime, period: int) -> list[Row]:
    """In as many calls as it takes."""
    found: list[Row] = []
    while since < until:
        end = min(until, since + dt.timedelta(seconds=(MAX_POINTS - 1) * period))
        limits = {"StartTime": _wire(since), "EndTime": _wire(end)}
        answer = client.regional("DescribeDiskMonitorData", DiskId=disk_id, Period=period, **limits)
        found += unwrap(answer, "MonitorData.DiskMonitorData")
        since = end
    return list({point["TimeStamp"]: point for point in found}.values())


def _wire(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# ------------------------------------------------------------------------------ the plot


def drawing(points: list[Row], since: dt.datetime, until: dt.datetime, period: int, columns: int) -> list[str]:
    """A chart for each of what is measured, over the whole time asked for, times without a point left blank."""
    slots = max(1, round((until - since).total_seconds() / period))
    width = min(slots, max(10, columns - _MARGIN - 1))
    lines: list[str] = []
    for title, key, unit in _CHARTS:
        values: list[float | None] = [None] * slots
        for point in points:
            moment = dt.datetime.fromisoformat(point["TimeStamp"])
            slot = int((moment - since).total_seconds() // period)
            if 0 <= slot < slots:
                values[slot] = float(point[key])
        lines += _one(title, unit, values, width)
    lines.append(" " * _MARGIN + _axis(since, until, width))
    return lines


def _one(title: str, unit: str, values: list[float | None], width: int) -> list[str]:
    known = [value for value in values if value is not None]
    top = plot.round_up(max(known, default=0.0))
    rows = plot.chart(plot.squeeze(values, width), height=_HEIGHT, top=top, ascii_only=not _draws_blocks())
    labels = [plot.human(top, unit), *[""] * (_HEIGHT - 2), "0"]
    mean = f"mean {plot.human(sum(known) / len(known), unit)}, highest {plot.human(max(known), unit)}" if known else ""
    paint: Callable[[str], str] = (lambda text: click.style(text, fg="cyan")) if colours(sys.stdout) else str
    body = [f"{label:>{_MARGIN - 2}} |{paint(row)}" for label, row in zip(labels, rows, strict=True)]
    return [f"{title}: {mean or 'no samples in this time'}", *body]


def _axis(since: dt.datetime, until: dt.datetime, width: int) -> str:
    """The first and last moment, in local time."""
    form = "%H:%M" if until - since <= dt.timedelta(days=1) else "%m-%d %H:%M"
    left, right = since.astimezone().strftime(form), until.astimezone().strftime(form)
    return left + right.rjust(max(len(right) + 1, width - len(left)))


def _draws_blocks() -> bool:
    try:
        plot.BLOCKS.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
