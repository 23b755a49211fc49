"""`ecsctl image`."""

from __future__ import annotations

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.commands.image_catalogue import CATALOGUE, recipes
from ecsctl.completion import names
from ecsctl.errors import NotFound
from ecsctl.output import Column, View
from ecsctl.resolve import IMAGE, describe, find_image

_EVERY_STATUS = "Creating,Waiting,Available,UnAvailable,CreateFailed"
_CATALOGUE = "ecsctl.commands.image_catalogue"

VIEW = View(
    columns=(
        Column("ID", "ImageId"),
        Column("NAME", "ImageName"),
        Column("OWNER", "ImageOwnerAlias"),
        Column("STATUS", "Status"),
        Column("OS", "OSName"),
        Column("ARCHITECTURE", "Architecture"),
        Column("GIB", "Size"),
        Column("CREATED", "CreationTime"),
        Column("PLATFORM", "Platform", wide=True),
        Column("CLOUD-INIT", "IsSupportCloudinit", wide=True),
        Column("PROGRESS", "Progress", wide=True),
        Column("DESCRIPTION", "Description", wide=True),
    ),
    name=("ImageId",),
)


@command("ls")
@click.option("--owner", type=click.Choice(["system", "self", "others"]), help="Only of this owner.")
@click.option("--catalogue", is_flag=True, help="The public images that can be built or downloaded here.")
def ls(app: App, owner: str | None, catalogue: bool) -> None:
    """List images."""
    if catalogue:
        app.emit_list(recipes(app.client), CATALOGUE)
    else:
        app.emit_list(describe(app.client, IMAGE, ImageOwnerAlias=owner, Status=_EVERY_STATUS), VIEW)


@command("show")
@click.argument("name", shell_complete=names("image"))
def show(app: App, name: str) -> None:
    """Show one image."""
    found = describe(app.client, IMAGE, ImageId=find_image(app.client, name), Status=_EVERY_STATUS)
    if not found:
        raise NotFound(f"there is no image {name!r}; `ecsctl image ls --catalogue` lists what can be had")
    app.emit_item(found[0], VIEW)


image = LazyGroup(
    "image",
    help="Images that instances start from.",
    lazy={
        "ls": (__name__, "ls", "List images, or what can be had."),
        "show": (__name__, "show", "Show one image."),
        "build": (_CATALOGUE, "build", "Build a public image on the host."),
        "pull": (_CATALOGUE, "pull", "Download a distribution's own image."),
        "refresh": (_CATALOGUE, "refresh", "Build or download anew what is newer now."),
    },
)
