"""`ecsctl instance set-type` and `replace-system-disk`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from ecsctl import known_hosts
from ecsctl.cli import App, command
from ecsctl.client import OWN, Client, Json, client_token, unwrap
from ecsctl.commands.common import confirm, wait_options
from ecsctl.commands.instance_change import report_pending
from ecsctl.commands.instance_input import password_of, password_options
from ecsctl.completion import names, values
from ecsctl.errors import ApiError, NotFound
from ecsctl.resolve import INSTANCE, find_id, find_image
from ecsctl.waiting import describe_ids, wait_instances

_TIMEOUT = 600
_NEEDED_BYTES = 2**30  # on a system disk, for a system restored of it to start (the guide)

_name = click.argument("name", shell_complete=names("instance"))


@command("set-type")
@_name
@click.argument(
    "instance_type",
    metavar="TYPE",
    shell_complete=values("DescribeInstanceTypes", "InstanceTypes.InstanceType", "InstanceTypeId"),
)
def set_type(app: App, name: str, instance_type: str) -> None:
    """Give a stopped instance another type, larger or smaller. Its next start has it."""
    instance_id = find_id(app.client, INSTANCE, name)
    with _needs_stop(name):
        app.client.call("ModifyInstanceSpec", InstanceId=instance_id, InstanceType=instance_type)
    report_pending(app, [instance_id], "the new type")


@command("replace-system-disk")
@_name
@click.option("--image", required=True, metavar="NAME", shell_complete=names("image"))
@click.option("--size", type=click.IntRange(min=1), metavar="GIB", help="Default: as it is, at least the image's.")
@click.option(
    "--key-pair",
    metavar="NAME",
    help="Who may log in as root. Default: the one that is bound.",
    shell_complete=names("key-pair"),
)
@click.option("--password", "ask_password", is_flag=True, help="Ask for a password.")
@password_options
@click.option("--password-inherit", is_flag=True, help="Only the logins that the (custom) image brings.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask (asked on a terminal only).")
@wait_options(_TIMEOUT)
def replace_system_disk(app: App, name: str, image: str, yes: bool, wait: bool, timeout: float, **given: Any) -> None:
    """Replace the system disk of a stopped instance by a new one of another image. Prints the new disk's id.

    Everything on the old one goes, with its automatic snapshots unless the disk keeps them; manual snapshots, data
    disks and the address stay. A snapshot policy must be applied to the new disk anew.
    """
    client = app.client
    instance = _described(client, name)
    old, image_id = _system_disk(client, instance["InstanceId"]), find_image(client, image)
    _warn_of_full_disk(client, old)
    text = f"Replace the system disk of {name}? Everything on it and its automatic snapshots are lost."
    confirm(text, yes=yes)
    wanted = {
        "InstanceId": instance["InstanceId"],
        "ImageId": image_id,
        "SystemDisk": {"Size": given["size"]},
        "ClientToken": client_token(),
        **_login(client, instance, image_id, given),
    }
    with _needs_stop(name):
        answer = client.call("ReplaceSystemDisk", **wanted)
    known_hosts.renew(instance["InstanceId"])
    if wait:
        _wait(client, instance["InstanceId"], answer, timeout)
    click.echo(answer["DiskId"])
    if old.get("AutoSnapshotPolicyId"):
        click.echo("the snapshot policy of the old disk is not applied to the new one: apply it anew", err=True)


@contextmanager
def _needs_stop(name: str) -> Iterator[None]:
    """Say how to stop the instance when it is not."""
    try:
        yield
    except ApiError as error:
        if error.code == "IncorrectInstanceStatus":
            error.advice = f"`ecsctl instance stop {name}` first"
        raise


def _described(client: Client, name: str) -> Json:
    found = describe_ids(client, [find_id(client, INSTANCE, name)])
    if not found:
        raise NotFound(f"there is no instance {name!r}")
    return found[0]


def _system_disk(client: Client, instance_id: str) -> Json:
    """Empty when the caller may not see disks."""
    try:
        answer = client.regional("DescribeDisks", InstanceId=instance_id, DiskType="system")
    except ApiError as error:
        if not error.forbidden:
            raise
        return {}
    return next(iter(unwrap(answer, "Disks.Disk")), {})


def _warn_of_full_disk(client: Client, disk: Json) -> None:
    """What the host knows of a stopped guest's disk is how much of it was ever written: at most that is in use."""
    if not disk:
        return
    try:
        [usage] = client.call("DescribeStorageUsage", OWN, DiskId=[disk["DiskId"]])["Disks"]["Disk"]
    except ApiError as error:
        if not error.forbidden:
            raise
        return
    untouched = int(usage["VirtualBytes"]) - int(usage["TotalBytes"])
    if untouched < _NEEDED_BYTES:
        click.echo(
            f"Warning: less than 1 GiB of the old system disk {disk['DiskId']} was never written; if as little is free "
            "in it, a system made from a snapshot or image of it may not start",
            err=True,
        )


def _login(client: Client, instance: Json, image_id: str, given: dict[str, Any]) -> Json:
    """As asked for; without a word the key pair that is bound already, where the image can use one."""
    password, key_pair = password_of(given), given["key_pair"]
    if password or key_pair or given["password_inherit"]:
        inherit = given["password_inherit"] or None
        return {"Password": password or None, "KeyPairName": key_pair, "PasswordInherit": inherit}
    found = unwrap(client.regional("DescribeImages", ImageId=image_id), "Images.Image")
    linux = all(image.get("OSType") != "windows" for image in found)
    return {"KeyPairName": (instance.get("KeyPairName") or None) if linux else None}


def _wait(client: Client, instance_id: str, answer: Json, timeout: float) -> None:
    def replaced(instance: Json | None, job: Json | None) -> bool:
        found = unwrap(client.regional("DescribeDisks", DiskIds=json.dumps([answer["DiskId"]])), "Disks.Disk")
        return any(disk.get("Status") == "In_use" for disk in found)

    request_id = str(answer.get("RequestId", ""))
    wait_instances(client, [instance_id], replaced, "replace the system disk", request_id=request_id, timeout=timeout)
