"""`ecsctl image`."""

from __future__ import annotations

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.commands.image_catalogue import CATALOGUE, recipes
from ecsctl.completion import names
from ecsctl.errors import NotFound
from ecsctl.output import Column, Row, View
from ecsctl.resolve import IMAGE, describe, find_image

EVERY_STATUS = "Creating,Waiting,Available,UnAvailable,CreateFailed,Deprecated"
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


@command("ls")
@click.option("--owner", type=click.Choice(["system", "self", "others"]), help="Only of this owner.")
@click.option("--catalogue", is_flag=True, help="The public images that can be built or downloaded here.")
def ls(app: App, owner: str | None, catalogue: bool) -> None:
    """List images."""
    if catalogue:
        app.emit_list(recipes(app.client), CATALOGUE)
    else:
        app.emit_list(describe(app.client, IMAGE, ImageOwnerAlias=owner, Status=EVERY_STATUS), VIEW)


@command("show")
@click.argument("name", shell_complete=names("image"))
def show(app: App, name: str) -> None:
    """Show one image."""
    found = describe(app.client, IMAGE, ImageId=find_image(app.client, name, Status=EVERY_STATUS), Status=EVERY_STATUS)
    if not found:
        raise NotFound(f"there is no image {name!r}; `ecsctl image ls --catalogue` lists what can be had")
    app.emit_item(found[0], VIEW)


image = LazyGroup(
    "image",
    help="Images that instances start from.",
    lazy={
        "ls": (__name__, "ls", "List images, or what can be had."),
        "show": (__name__, "show", "Show one image."),
        "check": (f"{_HERE}.image_check", "check", "Say whether a disk or an image is fit to be used."),
        "build": (f"{_HERE}.image_catalogue", "build", "Build a public image on the host."),
        "pull": (f"{_HERE}.image_catalogue", "pull", "Download a distribution's own image."),
        "refresh": (f"{_HERE}.image_catalogue", "refresh", "Build or download anew what is newer now."),
        "create": (f"{_HERE}.image_make", "create", "Make an image of an instance or of snapshots."),
        "rename": (f"{_HERE}.image_make", "rename", "Give an image another name."),
        "set": (f"{_HERE}.image_make", "set_", "Change an image's name, description, family or state."),
        "delete": (f"{_HERE}.image_make", "delete", "Delete images."),
        "share": (f"{_HERE}.image_share", "share", "Let other accounts use an image."),
        "unshare": (f"{_HERE}.image_share", "unshare", "Stop sharing an image."),
        "shared": (f"{_HERE}.image_share", "shared", "List the accounts an image is shared with."),
        "adopt": (f"{_HERE}.image_adopt", "adopt_image", "Make an image of a guest that others ran here."),
        "copy": (f"{_HERE}.image_copy", "copy", "Copy an image to another region."),
        "cancel-copy": (f"{_HERE}.image_copy", "cancel_copy", "Stop the copying of an image to this region."),
        "import": (f"{_HERE}.image_transfer", "import_", "Make an image of files or objects."),
        "export": (f"{_HERE}.image_transfer", "export", "Write an image to a file or a bucket."),
        "convert": (f"{_HERE}.image_convert", "convert", "Convert a disk image to another format."),
    },
)
