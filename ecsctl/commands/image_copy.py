"""`ecsctl image copy` and `ecsctl image cancel-copy`."""

from __future__ import annotations

from typing import Any

import click

from ecsctl.cli import App, command
from ecsctl.client import Client, client_token, unwrap
from ecsctl.commands.common import tag_values, wait_options
from ecsctl.completion import from_agent, names
from ecsctl.resolve import IMAGE, describe, find_image
from ecsctl.waiting import Jobs, wait_job

_TIMEOUT = 24 * 3600


def _regions(client: Client) -> list[str]:
    return [str(one["RegionId"]) for one in unwrap(client.call("DescribeRegions"), "Regions.Region")]


@command("copy")
@click.argument("name", shell_complete=names("image"))
@click.option(
    "--to",
    "region",
    required=True,
    metavar="REGION",
    help="`ecsctl region ls` lists them.",
    shell_complete=from_agent("regions", _regions),
)
@click.option("--name", "new_name", metavar="TEXT", help="There; by default its name here.")
@click.option("--description", metavar="TEXT", help="There.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE")
@click.option("--client-token", metavar="TEXT", help="The same token makes no second copy.")
@wait_options(_TIMEOUT)
def copy(app: App, name: str, region: str, wait: bool, timeout: float, **given: Any) -> None:
    """Copy a custom image with all its disks to another region. Prints the id that it has there."""
    client, image_id = app.client, find_image(app.client, name)
    answer = client.regional(
        "CopyImage",
        ImageId=image_id,
        DestinationRegionId=region,
        DestinationImageName=given["new_name"] or _name_of(client, image_id),
        DestinationDescription=given["description"],
        Tag=tag_values(given["tags"]),
        ClientToken=given["client_token"] or client_token(),
    )
    job = Jobs(client).begun_by(str(answer.get("RequestId", "")), image_id)
    if wait and job is not None:
        wait_job(client, str(job["JobId"]), f"copy of {name}", timeout)
    elif job is not None:
        click.echo(f"task {job['JobId']}", err=True)
    click.echo(answer["ImageId"])


def _name_of(client: Client, image_id: str) -> str | None:
    found = describe(client, IMAGE, ImageId=image_id)
    name = str(found[0]["ImageName"]) if found else image_id
    return name if name != image_id else None


@command("cancel-copy")
@click.argument("name", shell_complete=names("image"))
def cancel_copy(app: App, name: str) -> None:
    """Stop the copying of an image to this region; nothing is left of it. (`ecsctl task cancel` does it where it is
    copied from.)"""
    image_id = find_image(app.client, name, Status="Creating")
    app.client.regional("CancelCopyImage", ImageId=image_id)
