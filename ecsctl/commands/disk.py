"""`ecsctl disk`."""

from __future__ import annotations

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.completion import names
from ecsctl.output import Column, View
from ecsctl.resolve import DISK, INSTANCE, describe, find_id

VIEW = View(
    columns=(
        Column("NAME", "DiskName"),
        Column("ID", "DiskId"),
        Column("TYPE", "Type"),
        Column("CATEGORY", "Category"),
        Column("GIB", "Size"),
        Column("STATUS", "Status"),
        Column("INSTANCE", "InstanceId"),
        Column("DEVICE", "Device"),
        Column("IMAGE", "ImageId", wide=True),
        Column("SERIAL", "SerialNumber", wide=True),
        Column("DELETED WITH INSTANCE", "DeleteWithInstance", wide=True),
        Column("ZONE", "ZoneId", wide=True),
        Column("CREATED", "CreationTime", wide=True),
    ),
    name=("DiskName", "DiskId"),
)


@command("ls")
@click.option("--instance", metavar="NAME", help="Only of this instance.", shell_complete=names("instance"))
@click.option("--type", "disk_type", type=click.Choice(["system", "data"]))
def ls(app: App, instance: str | None, disk_type: str | None) -> None:
    """List disks."""
    instance_id = find_id(app.client, INSTANCE, instance) if instance else None
    app.emit_list(describe(app.client, DISK, InstanceId=instance_id, DiskType=disk_type), VIEW)


disk = LazyGroup(
    "disk",
    help="Disks.",
    lazy={
        "ls": (__name__, "ls", "List disks."),
        "monitor": ("ecsctl.commands.disk_monitor", "monitor", "Show what a disk did over time."),
    },
)
