"""`ecsctl image create`, `set`, `rename` and `delete`."""

from __future__ import annotations

from typing import Any

import click

from ecsctl.cli import App, command
from ecsctl.client import Client, Json, client_token
from ecsctl.commands.common import confirm, tag_values, wait_options
from ecsctl.commands.image import EVERY_STATUS, VIEW
from ecsctl.completion import names
from ecsctl.errors import ApiError, CliError, NotFound, UsageFault
from ecsctl.progress import Progress
from ecsctl.resolve import IMAGE, INSTANCE, SNAPSHOT, describe, find_id
from ecsctl.waiting import AGENT_AWAY_SECONDS, Jobs, describe_step, interruptible, pauses

_TIMEOUT = 600
_FIELDS = {"snapshot": "SnapshotId", "device": "Device", "size": "Size"}

_name = click.argument("name", shell_complete=names("image"))


@command("create")
@click.argument("name")
@click.option("--instance", metavar="NAME", help="Of this, with all its disks.", shell_complete=names("instance"))
@click.option("--snapshot", metavar="NAME", help="Of this snapshot of a system disk.", shell_complete=names("snapshot"))
@click.option(
    "--data-disk",
    "data_disks",
    multiple=True,
    metavar="[GIB][,KEY=VALUE]...",
    help="With --snapshot, a data disk: snapshot=NAME or empty (5 GiB), device=/dev/xvdb ... Repeatable.",
)
@click.option("--description", metavar="TEXT")
@click.option("--family", metavar="NAME", help="Of which it is the newest image.")
@click.option("--version", metavar="TEXT", help="Its version, in words of your own.")
@click.option("--platform", metavar="NAME", help="What is on it, such as Debian; of its source if left out.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE")
@click.option("--client-token", metavar="TEXT", help="The same token makes no second image.")
@wait_options(_TIMEOUT)
def create(
    app: App,
    name: str,
    instance: str | None,
    snapshot: str | None,
    data_disks: tuple[str, ...],
    wait: bool,
    timeout: float,
    **given: Any,
) -> None:
    """Make an image of an instance, running or stopped, or of snapshots. Prints its id."""
    if (instance is None) == (snapshot is None):
        raise UsageFault("say of what: --instance NAME, or --snapshot NAME of a system disk")
    if instance and data_disks:
        raise UsageFault("an image of an instance has its data disks: --data-disk goes with --snapshot")
    answer = app.client.regional(
        "CreateImage",
        ImageName=name,
        InstanceId=instance and find_id(app.client, INSTANCE, instance),
        SnapshotId=snapshot and find_id(app.client, SNAPSHOT, snapshot),
        DiskDeviceMapping=[_data_disk(app.client, text) for text in data_disks],
        Description=given["description"],
        ImageFamily=given["family"],
        ImageVersion=given["version"],
        Platform=given["platform"],
        Tag=tag_values(given["tags"]),
        ClientToken=given["client_token"] or client_token(),
    )
    image_id = str(answer["ImageId"])
    if wait:
        wait_image(app.client, image_id, timeout)
    if app.output or app.query:
        app.emit_item(one_image(app.client, image_id), VIEW)
    else:
        click.echo(image_id)


def _data_disk(client: Client, text: str) -> dict[str, Any]:
    wanted: dict[str, Any] = {"DiskType": "data"}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals and key.isdigit():
            key, value = "size", key
        if key not in _FIELDS or not value:
            raise UsageFault(
                f"data disk {text!r}: {part!r} must be GiB, or KEY=VALUE with a KEY of {', '.join(_FIELDS)}"
            )
        wanted[_FIELDS[key]] = find_id(client, SNAPSHOT, value) if key == "snapshot" else value
    return wanted


def wait_image(client: Client, image_id: str, timeout: float) -> None:
    """Wait until it can be used. Raises CliError with the reason when it could not be made, TimedOut, Interrupted."""
    jobs, whom = Jobs(client), f"image {image_id}"
    with Progress() as progress, interruptible(f"{whom} goes on"), client.patient(AGENT_AWAY_SECONDS):
        for _ in pauses(timeout, f"{whom} takes longer than {timeout:g} s", progress):
            found = one_image(client, image_id)
            if found.get("Usable"):
                return
            if found["Status"] == "CreateFailed":
                raise CliError(f"{whom} failed: {found.get('Message') or 'no reason given'}")
            job = jobs.newest(image_id)
            progress.update(f"{whom}: {found.get('Progress', '')} {describe_step(job) if job else ''}".rstrip())


def one_image(client: Client, image_id: str) -> Json:
    """In whatever state; raises NotFound."""
    found = describe(client, IMAGE, ImageId=image_id, Status=EVERY_STATUS)
    if not found:
        raise NotFound(f"there is no image {image_id!r}")
    return found[0]


def own_image(client: Client, text: str) -> str:
    """The id of an image of the account's own, in whatever state."""
    return find_id(client, IMAGE, text, ImageOwnerAlias="self", Status=EVERY_STATUS)


@command("rename")
@_name
@click.argument("new_name")
def rename(app: App, name: str, new_name: str) -> None:
    """Give an image another name."""
    app.client.regional("ModifyImageAttribute", ImageId=own_image(app.client, name), ImageName=new_name)


@command("set")
@_name
@click.option("--name", "new_name", metavar="TEXT")
@click.option("--description", metavar="TEXT", help="'' for none.")
@click.option("--family", metavar="NAME", help="'' for none.")
@click.option("--deprecated/--available", default=None, help="Whether it is passed over in its family and in lists.")
def set_(
    app: App, name: str, new_name: str | None, description: str | None, family: str | None, deprecated: bool | None
) -> None:
    """Change an image's name, description, family or state."""
    if (new_name, description, family, deprecated) == (None, None, None, None):
        raise UsageFault("nothing to change: give --name, --description, --family, --deprecated or --available")
    image_id = own_image(app.client, name)
    app.client.regional(
        "ModifyImageAttribute",
        ImageId=image_id,
        ImageName=new_name,
        Description=description,
        ImageFamily=family,
        Status=None if deprecated is None else "Deprecated" if deprecated else "Available",
    )
    if app.output or app.query:
        app.emit_item(one_image(app.client, image_id), VIEW)


@command("delete")
@click.argument("images", metavar="NAME...", nargs=-1, required=True, shell_complete=names("image"))
@click.option("--force", is_flag=True, help="Also when instances were made of it; they can then not be re-initialised.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask (asked on a terminal only).")
def delete(app: App, images: tuple[str, ...], force: bool, yes: bool) -> None:
    """Delete images for good. Their instances run on; their snapshots stay until they are deleted, too."""
    ids = list(dict.fromkeys(own_image(app.client, one) for one in images))
    confirm(f"Delete {', '.join(images)} for good?", yes=yes)
    for image_id in ids:
        try:
            app.client.regional("DeleteImage", ImageId=image_id, Force=force or None)
        except ApiError as error:
            if error.code == "ImageUsingByInstance":
                error.advice = "that is --force"
            elif error.code == "ImageUseShared":
                error.advice = "that is `ecsctl image unshare`"
            raise
