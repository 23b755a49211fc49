"""`ecsctl disk set`, `grow` and `delete`."""

from __future__ import annotations

from typing import Any

import click

from ecsctl.cli import App, command
from ecsctl.client import Json
from ecsctl.commands.common import confirm, wait_options
from ecsctl.commands.disk import VIEW
from ecsctl.commands.disk_attach import by_id
from ecsctl.completion import names
from ecsctl.disk_waiting import describe_disk, wait_disk
from ecsctl.errors import UsageFault
from ecsctl.resolve import DISK, find_id, find_ids

_TIMEOUT = 300

_disks = click.argument("disks", metavar="NAME...", nargs=-1, required=True, shell_complete=names("disk"))


@command("set")
@_disks
@click.option("--name", "new_name", metavar="TEXT")
@click.option("--description", metavar="TEXT", help="'' for none.")
@click.option("--delete-with-instance/--keep", default=None, help="What becomes of it when its instance is released.")
@click.option(
    "--delete-auto-snapshots/--keep-auto-snapshots", default=None, help="What becomes of them when it is deleted."
)
@click.option("--auto-snapshots/--no-auto-snapshots", default=None, help="Whether its policy works.")
def set_(
    app: App,
    disks: tuple[str, ...],
    new_name: str | None,
    description: str | None,
    delete_with_instance: bool | None,
    delete_auto_snapshots: bool | None,
    auto_snapshots: bool | None,
) -> None:
    """Change disks, all of them in the same way."""
    changes: dict[str, Any] = {
        "DiskName": new_name,
        "Description": description,
        "DeleteWithInstance": delete_with_instance,
        "DeleteAutoSnapshot": delete_auto_snapshots,
        "EnableAutoSnapshot": auto_snapshots,
    }
    if all(value is None for value in changes.values()):
        raise UsageFault("nothing to change: give at least one option (see --help)")
    ids = find_ids(app.client, DISK, disks)
    app.client.regional("ModifyDiskAttribute", DiskIds=ids, **changes)
    if app.output or app.query:
        app.emit_list([found for one in ids if (found := describe_disk(app.client, one))], VIEW)


@command("grow")
@click.argument("name", shell_complete=names("disk"))
@click.argument("size", type=click.IntRange(min=1), metavar="GIB")
@wait_options(_TIMEOUT)
def grow(app: App, name: str, size: int, wait: bool, timeout: float) -> None:
    """Give a disk the new size GIB; it can never be smaller again. A running guest sees it at once."""
    disk_id = find_id(app.client, DISK, name)
    answer = app.client.regional("ResizeDisk", DiskId=disk_id, NewSize=size, Type="online")
    if not wait:
        return
    found = wait_disk(app.client, disk_id, "grow", answer, timeout)
    if app.output or app.query:
        app.emit_item(found, VIEW)
    else:
        click.echo(_advice(found), err=True)


def _advice(disk: Json) -> str:
    """What is left to do in the guest: partition and file system."""
    if disk.get("Type") == "system":
        return (
            f"{disk['Size']} GiB now. In the guest: growpart /dev/vda 1 && resize2fs /dev/vda1 (XFS: xfs_growfs /); "
            "with cloud-init the next boot does it"
        )
    path = by_id(disk["SerialNumber"])
    return (
        f"{disk['Size']} GiB now. In the guest: resize2fs {path} (XFS: xfs_growfs and where it is mounted); with "
        f"partitions: growpart {path} 1 && resize2fs {path}-part1"
    )


@command("delete")
@_disks
@click.option("-y", "--yes", is_flag=True, help="Do not ask (asked on a terminal only).")
def delete(app: App, disks: tuple[str, ...], yes: bool) -> None:
    """Delete disks that are attached to nothing, for good. Snapshots taken by hand stay."""
    ids = find_ids(app.client, DISK, disks)
    confirm(f"Delete {', '.join(disks)} with all data?", yes=yes)
    for disk_id in ids:
        app.client.call("DeleteDisk", DiskId=disk_id)
