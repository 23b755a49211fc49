"""`ecsctl disk`: the group, and looking; the commands that change something live in the modules beside."""

from __future__ import annotations

import click

from ecsctl import storage_usage
from ecsctl.cli import App, LazyGroup, command
from ecsctl.commands.common import parse_tags, tag_filter
from ecsctl.completion import names
from ecsctl.errors import NotFound
from ecsctl.output import Column, Row, View
from ecsctl.resolve import DISK, INSTANCE, SNAPSHOT, describe, find_id

_HERE = "ecsctl.commands"
STATUSES = ("Creating", "Available", "Attaching", "In_use", "Detaching", "ReIniting")


def _iops(item: Row) -> str:
    return str(item.get("IOPS") or "unlimited")


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
        Column("SNAPSHOT", "SourceSnapshotId", wide=True),
        Column("SERIAL", "SerialNumber", wide=True),
        Column("IOPS", _iops, wide=True),
        Column("DELETED WITH INSTANCE", "DeleteWithInstance", wide=True),
        Column("AUTOMATIC SNAPSHOTS DELETED WITH IT", "DeleteAutoSnapshot", wide=True),
        Column("ZONE", "ZoneId", wide=True),
        Column("DESCRIPTION", "Description", wide=True),
        Column("CREATED", "CreationTime", wide=True),
    ),
    name=("DiskName", "DiskId"),
)


@command("ls")
@click.option("--instance", metavar="NAME", help="Only of this instance.", shell_complete=names("instance"))
@click.option("--type", "disk_type", type=click.Choice(["system", "data"]))
@click.option("--status", type=click.Choice(STATUSES))
@click.option("--category", metavar="CATEGORY", help="Only of this category.")
@click.option("--snapshot", metavar="NAME", help="Only made of this snapshot.", shell_complete=names("snapshot"))
@click.option("--tag", "wanted", multiple=True, metavar="KEY[=VALUE]", help="Only with this tag.")
def ls(
    app: App, instance: str | None, disk_type: str | None, snapshot: str | None, wanted: tuple[str, ...], **only: str
) -> None:
    """List disks."""
    found = describe(
        app.client,
        DISK,
        InstanceId=instance and find_id(app.client, INSTANCE, instance),
        DiskType=disk_type,
        Status=only["status"],
        Category=only["category"],
        SnapshotId=snapshot and find_id(app.client, SNAPSHOT, snapshot),
        Tag=tag_filter(parse_tags(wanted)),
    )
    if not storage_usage.wanted(app.output, app.query):
        app.emit_list(found, VIEW)
        return
    app.emit_list(storage_usage.add(app.client, found, "Disk"), storage_usage.shown(VIEW, *storage_usage.DISK_COLUMNS))


@command("show")
@click.argument("name", shell_complete=names("disk"))
def show(app: App, name: str) -> None:
    """Show one disk."""
    from ecsctl.disk_waiting import describe_disk

    found = describe_disk(app.client, find_id(app.client, DISK, name))
    if found is None:
        raise NotFound(f"there is no disk {name!r}")
    if app.output in ("json", "yaml", "name") or app.query:
        app.emit_item(found, VIEW)
        return
    [found] = storage_usage.add(app.client, [found], "Disk")
    app.emit_item(found, storage_usage.shown(VIEW, *storage_usage.DISK_COLUMNS))


disk = LazyGroup(
    "disk",
    help="Disks.",
    lazy={
        "create": (f"{_HERE}.disk_create", "create", "Create disks: empty or from a snapshot."),
        "attach": (f"{_HERE}.disk_attach", "attach", "Attach a disk to an instance, running or stopped."),
        "detach": (f"{_HERE}.disk_attach", "detach", "Detach disks; a running guest is asked for them."),
        "set": (f"{_HERE}.disk_change", "set_", "Change name, description or flags."),
        "grow": (f"{_HERE}.disk_change", "grow", "Make a disk larger, also under a running guest."),
        "delete": (f"{_HERE}.disk_change", "delete", "Delete disks for good."),
        "reinit": (f"{_HERE}.disk_content", "reinit", "Begin again: as the image or snapshot it came from, or empty."),
        "rollback": (f"{_HERE}.disk_content", "rollback", "Go back to one of the disk's own snapshots."),
        "ls": (__name__, "ls", "List disks."),
        "show": (__name__, "show", "Show one disk."),
        "monitor": (f"{_HERE}.disk_monitor", "monitor", "Show what a disk did over time."),
    },
)
