"""`ecsctl image`."""

from __future__ import annotations

from collections.abc import Iterable

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import OWN, Client, unwrap
from ecsctl.commands.common import wait_options
from ecsctl.completion import from_agent, names
from ecsctl.errors import NotFound
from ecsctl.output import Column, Row, View
from ecsctl.resolve import IMAGE, describe, find_image
from ecsctl.waiting import wait_job

EVERY_STATUS = "Creating,Waiting,Available,UnAvailable,CreateFailed,Deprecated"
_BUILD_TIMEOUT = 3600
_HERE = "ecsctl.commands"


def _status(item: Row) -> str:
    status = str(item.get("Status", ""))
    return f"{status} {item.get('Progress', '')}".rstrip() if status == "Creating" else status


def _data_disks(item: Row) -> str:
    """`/dev/xvdb 20 GiB, …`"""
    found = item.get("DiskDeviceMappings", {}).get("DiskDeviceMapping", [])
    return ", ".join(f"{one['Device']} {one['Size']} GiB" for one in found if one.get("Type") == "data")


VIEW = View(
    columns=(
        Column("ID", "ImageId"),
        Column("NAME", "ImageName"),
        Column("OWNER", "ImageOwnerAlias"),
        Column("STATUS", _status),
        Column("OS", "OSName"),
        Column("ARCHITECTURE", "Architecture"),
        Column("GIB", "Size"),
        Column("CREATED", "CreationTime"),
        Column("PLATFORM", "Platform", wide=True),
        Column("CLOUD-INIT", "IsSupportCloudinit", wide=True),
        Column("DATA DISKS", _data_disks, wide=True),
        Column("FAMILY", "ImageFamily", wide=True),
        Column("VERSION", "ImageVersion", wide=True),
        Column("SHARED", "IsSelfShared", wide=True),
        Column("WHY", "Message", wide=True),
        Column("DESCRIPTION", "Description", wide=True),
    ),
    name=("ImageId",),
)
_CATALOGUE = View(
    columns=(
        Column("ID", "ImageId"),
        Column("OS", "OSName"),
        Column("ARCHITECTURE", "Architecture"),
        Column("GIB", "Size"),
        Column("BUILT", "Available"),
        Column("DESCRIPTION", "Description"),
    ),
    name=("ImageId",),
)


def _recipes(client: Client) -> Iterable[str]:
    return [str(recipe["ImageId"]) for recipe in unwrap(client.call("DescribeCatalogue", OWN), "Recipes.Recipe")]


@command("ls")
@click.option("--owner", type=click.Choice(["system", "self", "others"]), help="Only of this owner.")
@click.option("--catalogue", is_flag=True, help="The public images that can be built here.")
def ls(app: App, owner: str | None, catalogue: bool) -> None:
    """List images."""
    if catalogue:
        app.emit_list(unwrap(app.client.call("DescribeCatalogue", OWN), "Recipes.Recipe"), _CATALOGUE)
    else:
        app.emit_list(describe(app.client, IMAGE, ImageOwnerAlias=owner, Status=EVERY_STATUS), VIEW)


@command("show")
@click.argument("name", shell_complete=names("image"))
def show(app: App, name: str) -> None:
    """Show one image."""
    found = describe(app.client, IMAGE, ImageId=find_image(app.client, name, Status=EVERY_STATUS), Status=EVERY_STATUS)
    if not found:
        raise NotFound(f"there is no image {name!r}; `ecsctl image ls --catalogue` lists what can be built")
    app.emit_item(found[0], VIEW)


@command("build")
@click.argument("image_id", metavar="ID", shell_complete=from_agent("catalogue", lambda client: list(_recipes(client))))
@click.option("--force", is_flag=True, help="Also when it is built already.")
@wait_options(_BUILD_TIMEOUT)
def build(app: App, image_id: str, force: bool, wait: bool, timeout: float) -> None:
    """Build a public image of the catalogue on the host, from packages."""
    answer = app.client.call("BuildImage", OWN, ImageId=image_id, Force=force)
    job_id = str(answer.get("JobId") or "")
    if not job_id:
        click.echo(f"{image_id} is built already (--force builds it anew)", err=True)
    elif wait:
        wait_job(app.client, job_id, f"build of {image_id}", timeout)
    else:
        click.echo(job_id)


image = LazyGroup(
    "image",
    help="Images that instances start from.",
    lazy={
        "ls": (__name__, "ls", "List images, or what can be built."),
        "show": (__name__, "show", "Show one image."),
        "check": ("ecsctl.commands.image_check", "check", "Say whether a disk or an image is fit to be used."),
        "create": (f"{_HERE}.image_make", "create", "Make an image of an instance or of snapshots."),
        "rename": (f"{_HERE}.image_make", "rename", "Give an image another name."),
        "set": (f"{_HERE}.image_make", "set_", "Change an image's name, description, family or state."),
        "delete": (f"{_HERE}.image_make", "delete", "Delete images."),
        "share": (f"{_HERE}.image_share", "share", "Let other accounts use an image."),
        "unshare": (f"{_HERE}.image_share", "unshare", "Stop sharing an image."),
        "shared": (f"{_HERE}.image_share", "shared", "List the accounts an image is shared with."),
        "build": (__name__, "build", "Build a public image on the host."),
        "adopt": (f"{_HERE}.image_adopt", "adopt_image", "Make an image of a guest that others ran here."),
        "copy": (f"{_HERE}.image_copy", "copy", "Copy an image to another region."),
        "cancel-copy": (f"{_HERE}.image_copy", "cancel_copy", "Stop the copying of an image to this region."),
        "import": ("ecsctl.commands.image_transfer", "import_", "Make an image of files or objects."),
        "export": ("ecsctl.commands.image_transfer", "export", "Write an image to a file or a bucket."),
        "convert": ("ecsctl.commands.image_convert", "convert", "Convert a disk image to another format."),
    },
)
