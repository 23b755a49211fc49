"""`ecsctl instance insert` and `eject`: the ISO that a system is installed from."""

from __future__ import annotations

import click

from ecsctl.cli import App, command
from ecsctl.client import OWN
from ecsctl.completion import names
from ecsctl.errors import ApiError
from ecsctl.resolve import INSTANCE, find_id, find_image

_name = click.argument("name", shell_complete=names("instance"))


@command("insert")
@_name
@click.argument("image", metavar="IMAGE", shell_complete=names("image"))
def insert(app: App, name: str, image: str) -> None:
    """Put the ISO of an image into the drive of a stopped instance.

    It boots from it when there is no boot loader on its system disk.
    """
    _call(app, "InsertIso", name, ImageId=find_image(app.client, image))


@command("eject")
@_name
@click.option(
    "--setup",
    type=click.Choice(["seed", "none"]),
    help="How the installed system gets its host name, keys and password: by cloud-init (seed), or not at all.",
)
def eject(app: App, name: str, setup: str | None) -> None:
    """Take the ISO out of the drive of a stopped instance."""
    _call(app, "EjectIso", name, Setup=setup)


def _call(app: App, action: str, name: str, **parameters: str | None) -> None:
    try:
        app.client.call(action, OWN, InstanceId=find_id(app.client, INSTANCE, name), **parameters)
    except ApiError as error:
        if error.code == "IncorrectInstanceStatus":
            error.advice = f"`ecsctl instance stop {name}` first"
        raise
