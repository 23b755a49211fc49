"""`ecsctl image build`, `pull` and `refresh`: public images."""

from __future__ import annotations

import click

from ecsctl.cli import App, command
from ecsctl.client import OWN, Client, Json, unwrap
from ecsctl.commands.common import wait_options
from ecsctl.completion import Completer, from_agent
from ecsctl.errors import CliError, UsageFault
from ecsctl.output import Column, View
from ecsctl.waiting import wait_job

_TIMEOUT = 3600

CATALOGUE = View(
    columns=(
        Column("ID", "ImageId"),
        Column("KIND", "Kind"),
        Column("OS", "OSName"),
        Column("VERSION", "OSVersion"),
        Column("ARCHITECTURE", "Architecture"),
        Column("USER", "DefaultUser"),
        Column("GIB", "Size"),
        Column("HERE", "Available"),
        Column("DESCRIPTION", "Description"),
        Column("SINCE", "CreationTime", wide=True),
        Column("VERIFICATION", "Verification", wide=True),
        Column("URL", "Url", wide=True),
    ),
    name=("ImageId",),
)


def recipes(client: Client) -> list[Json]:
    """The catalogue, as the agent describes it."""
    return unwrap(client.call("DescribeCatalogue", OWN), "Recipes.Recipe")


def _ids(kind: str) -> Completer:
    def of_kind(client: Client) -> list[str]:
        return [str(one["ImageId"]) for one in recipes(client) if kind in ("", one["Kind"])]

    return from_agent("catalogue", of_kind)


@command("build")
@click.argument("image_id", metavar="ID", shell_complete=_ids("build"))
@click.option("--force", is_flag=True, help="Also when it is built already.")
@wait_options(_TIMEOUT)
def build(app: App, image_id: str, force: bool, wait: bool, timeout: float) -> None:
    """Build a public image of the catalogue on the host, from packages."""
    _make(app, "BuildImage", image_id, force, wait, timeout)


@command("pull")
@click.argument("image_id", metavar="ID", shell_complete=_ids("download"))
@click.option("--force", is_flag=True, help="Also when it is here already.")
@wait_options(_TIMEOUT)
def pull(app: App, image_id: str, force: bool, wait: bool, timeout: float) -> None:
    """Download a distribution's own image, verify and convert it. A broken download goes on where it ended."""
    _make(app, "PullImage", image_id, force, wait, timeout)


def _make(app: App, action: str, image_id: str, force: bool, wait: bool, timeout: float) -> None:
    done, doing = ("built", "build") if action == "BuildImage" else ("here", "download")
    job_id = str(app.client.call(action, OWN, ImageId=image_id, Force=force).get("JobId") or "")
    if not job_id:
        click.echo(f"{image_id} is {done} already (--force makes it anew, `image refresh` if it is outdated)", err=True)
    elif wait:
        wait_job(app.client, job_id, f"{doing} of {image_id}", timeout)
    else:
        click.echo(job_id)


@command("refresh")
@click.argument("image_ids", metavar="[ID]...", nargs=-1, shell_complete=_ids(""))
@click.option("--all", "every", is_flag=True, help="All public images that are here.")
@wait_options(_TIMEOUT)
def refresh(app: App, image_ids: tuple[str, ...], every: bool, wait: bool, timeout: float) -> None:
    """Build or download public images anew where that gives something newer. Instances keep what they were made of."""
    if bool(image_ids) == every:
        raise UsageFault("name the images to refresh, or --all")
    known = {str(one["ImageId"]): one for one in recipes(app.client)}
    failed = []
    for image_id in image_ids or [name for name, one in known.items() if one["Available"]]:
        job_id = str(app.client.call("RefreshImage", OWN, ImageId=image_id)["JobId"])
        if not wait:
            click.echo(job_id)
            continue
        try:
            wait_job(app.client, job_id, f"refresh of {image_id}", timeout)
        except CliError as error:
            failed.append(image_id)
            click.echo(f"ecsctl: {error}", err=True)
            continue
        _say_what_happened(app.client, image_id, known.get(image_id, {}))
    if failed:
        raise CliError(f"not refreshed: {', '.join(failed)}")


def _say_what_happened(client: Client, image_id: str, before: Json) -> None:
    [after] = [one for one in recipes(client) if one["ImageId"] == image_id]
    same = after["CreationTime"] == before.get("CreationTime")
    click.echo(f"{image_id}: {'up to date' if same else 'new'}", err=True)
