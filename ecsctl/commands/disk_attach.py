"""`ecsctl disk attach` and `detach`."""

from __future__ import annotations

import click

from ecsctl.cli import App, command
from ecsctl.client import Json
from ecsctl.commands.common import wait_options
from ecsctl.commands.disk import VIEW
from ecsctl.completion import names
from ecsctl.disk_waiting import describe_disk, wait_disk
from ecsctl.errors import CliError, NotFound
from ecsctl.resolve import DISK, INSTANCE, find_id, find_ids

_TIMEOUT = 300


@command("attach")
@click.argument("name", shell_complete=names("disk"))
@click.argument("instance", shell_complete=names("instance"))
@click.option("--device", metavar="/dev/xvdX", help="Default: the first free one of /dev/xvdb … /dev/xvdz.")
@click.option("--delete-with-instance/--keep", default=None, help="What becomes of it when the instance is released.")
@wait_options(_TIMEOUT)
def attach(
    app: App,
    name: str,
    instance: str,
    device: str | None,
    delete_with_instance: bool | None,
    wait: bool,
    timeout: float,
) -> None:
    """Attach a disk to an instance of its zone, running or stopped. Prints where the guest finds it."""
    disk_id, instance_id = find_id(app.client, DISK, name), find_id(app.client, INSTANCE, instance)
    answer = app.client.call(
        "AttachDisk", DiskId=disk_id, InstanceId=instance_id, Device=device, DeleteWithInstance=delete_with_instance
    )
    found = wait_disk(app.client, disk_id, "attach", answer, timeout, attached=instance_id) if wait else None
    if app.output or app.query:
        app.emit_item(found or describe_disk(app.client, disk_id) or {}, VIEW)
        return
    if found:
        click.echo(
            f"{name} is {found['Device']} of {instance}; its guest finds it by its serial, with udev at", err=True
        )
        click.echo(by_id(found["SerialNumber"]))


def by_id(serial: str) -> str:
    """Where udev puts a disk with this serial."""
    return f"/dev/disk/by-id/virtio-{serial}"


@command("detach")
@click.argument("disks", metavar="NAME...", nargs=-1, required=True, shell_complete=names("disk"))
@wait_options(_TIMEOUT)
def detach(app: App, disks: tuple[str, ...], wait: bool, timeout: float) -> None:
    """Detach data disks from their instances. Unmount them in the guest first.

    A running guest is asked for each disk. One that it does not let go of stays attached.
    """
    ids = find_ids(app.client, DISK, disks)
    answers = {disk_id: _detach(app, disk_id) for disk_id in ids}
    failures = []
    for disk_id, answer in answers.items() if wait else ():
        try:
            wait_disk(app.client, disk_id, "detach", answer, timeout, attached="-")
        except CliError as error:
            if len(ids) == 1:
                raise
            failures.append(str(error))
    if failures:
        raise CliError("; ".join(failures))


def _detach(app: App, disk_id: str) -> Json:
    found = describe_disk(app.client, disk_id)
    if found is None:
        raise NotFound(f"there is no disk {disk_id}")
    if not found.get("InstanceId"):
        raise CliError(
            f"the disk {found.get('DiskName') or disk_id} is {found['Status']}: it is attached to no instance"
        )
    return app.client.call("DetachDisk", DiskId=disk_id, InstanceId=found["InstanceId"])
