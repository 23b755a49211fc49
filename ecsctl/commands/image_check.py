"""`ecsctl image check`: what of a disk image has to be changed before it is imported (SPEC M8)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ecsctl import objects
from ecsctl.cli import App, command
from ecsctl.client import OWN, Client, unwrap
from ecsctl.commands.common import timeout_option
from ecsctl.commands.image_convert import FORMATS
from ecsctl.errors import CliError
from ecsctl.files import file_door, is_local, opened
from ecsctl.output import Column, View
from ecsctl.progress import Progress
from ecsctl.resolve import find_image
from ecsctl.waiting import wait_job

_TIMEOUT = 7200
_VIEW = View(
    columns=(
        Column("ITEM", "Title"),
        Column("RESULT", "Result"),
        Column("FOUND", "Value"),
        Column("ADVICE", "Advice", wide=True),
    ),
    name=("Name",),
)


@command("check")
@click.argument("source", metavar="FILE|oss://BUCKET/OBJECT|IMAGE")
@click.option("-f", "--format", "declared", type=click.Choice(FORMATS), help="What a file is, if nothing else.")
@timeout_option(_TIMEOUT)
def check(app: App, source: str, declared: str | None, timeout: float) -> None:
    """Say whether a disk or an image is fit to be used.

    Looks at the file's format, its partitions and file systems and the system on them, and says for each item that
    fails what to do about it. The disk is read in a virtual machine of its own and is not changed. Exits with 1 when
    an item has failed.
    """
    with _parameters(app.client, source) as parameters:
        answer = app.client.call("CheckImage", OWN, Format=declared, **parameters)
        job_id = str(answer["JobId"])
        wait_job(app.client, job_id, f"check of {source}", timeout)
    report = app.client.call("DescribeImageCheck", OWN, JobId=job_id)
    _show(app, report)
    if report["Result"] == "Failed":
        failed = sum(item["Result"] == "Failed" for item in unwrap(report, "Items.Item"))
        raise CliError(f"{failed} {'item has' if failed == 1 else 'items have'} failed")


@contextlib.contextmanager
def _parameters(client: Client, source: str) -> Iterator[dict[str, str]]:
    """What names the source to the agent. A path is what exists or has a slash in it."""
    if source.startswith("oss://"):
        yield {"OSSObject": source}
    elif os.sep not in source and not Path(source).exists():
        yield {"ImageId": find_image(client, source)}
    elif is_local(client):
        with file_door(client) as door, opened(Path(source)) as descriptor:
            yield {"Source": door.hand_over(descriptor, Path(source).name)}
    else:
        with Progress() as progress:
            bucket, key = objects.send(client, Path(source), "", "", progress)
        try:
            yield {"OSSBucket": bucket, "OSSObject": key}
        finally:
            client.call("DeleteObject", OWN, Bucket=bucket, Object=key)


def _show(app: App, report: dict[str, Any]) -> None:
    if app.output not in ("", "table", "wide") or app.query:
        app.emit_item(report, _VIEW)
        return
    items = unwrap(report, "Items.Item")
    app.emit_list(items, _VIEW)
    for item in items if app.output != "wide" else []:
        if item["Advice"]:
            click.echo(f"{item['Title']}: {item['Advice']}", err=True)
    if report["Platform"]:
        click.echo(f"import it with --platform '{report['Platform']}'", err=True)
