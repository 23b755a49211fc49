"""`ecsctl disk create`, and the data disks of `ecsctl instance create`."""

from __future__ import annotations

from typing import Any

import click

from ecsctl.cli import App, command
from ecsctl.client import OWN, Client, client_token
from ecsctl.commands.common import tag_values, wait_options
from ecsctl.commands.disk import VIEW
from ecsctl.completion import names
from ecsctl.disk_waiting import describe_disk, wait_disk
from ecsctl.errors import UsageFault
from ecsctl.resolve import INSTANCE, SNAPSHOT, find_id

CATEGORY = "cloud_efficiency"  # the API's own default is the slowest one
_TIMEOUT = 300
_FIELDS = {
    "category": "Category",
    "snapshot": "SnapshotId",
    "name": "DiskName",
    "device": "Device",
    "description": "Description",
    "delete-with-instance": "DeleteWithInstance",
}
_YES_NO = {"yes": True, "true": True, "no": False, "false": False}


@command("create")
@click.argument("name")
@click.option("--size", type=click.IntRange(min=1), metavar="GIB", help="Default: that of the snapshot.")
@click.option("--category", default=CATEGORY, show_default=True, metavar="CATEGORY", help="cloud, cloud_ssd, …")
@click.option("--snapshot", metavar="NAME", help="With this one's content.", shell_complete=names("snapshot"))
@click.option("--description", metavar="TEXT")
@click.option("--zone", metavar="ID", help="Default: the only one.")
@click.option("--instance", metavar="NAME", help="Attach it there at once.", shell_complete=names("instance"))
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE")
@click.option(
    "--amount",
    "--count",
    "amount",
    type=click.IntRange(1, 50),
    default=1,
    show_default=True,
    help="Several at once, all or none: NAME001, NAME002, …",
)
@click.option("--client-token", metavar="TEXT", help="The same token makes no second disk.")
@wait_options(_TIMEOUT)
def create(app: App, name: str, amount: int, wait: bool, timeout: float, **given: Any) -> None:
    """Create disks called NAME. Prints their ids."""
    client = app.client
    if given["size"] is None and not given["snapshot"]:
        raise UsageFault("give --size, or --snapshot for a disk as large as that")
    parameters = _parameters(client, name, given)
    if amount == 1:
        answer = client.regional("CreateDisk", **parameters)
        ids = [str(answer["DiskId"])]
    else:
        answer = client.regional("CreateDisks", OWN, **parameters, Amount=amount)
        ids = [str(one) for one in answer["DiskIds"]["DiskId"]]
    if wait:
        for one in ids:
            wait_disk(client, one, "create", answer, timeout)
    if app.output or app.query:
        app.emit_list([found for one in ids if (found := describe_disk(client, one))], VIEW)
        return
    for one in ids:
        click.echo(one)


def _parameters(client: Client, name: str, given: dict[str, Any]) -> dict[str, Any]:
    instance = find_id(client, INSTANCE, given["instance"]) if given["instance"] else None
    return {
        "DiskName": name,
        "Size": given["size"],
        "DiskCategory": given["category"],
        "SnapshotId": given["snapshot"] and find_id(client, SNAPSHOT, given["snapshot"]),
        "Description": given["description"],
        "InstanceId": instance,
        "ZoneId": given["zone"] or (None if instance else _only_zone(client)),
        "Tag": tag_values(given["tags"]),
        "ClientToken": given["client_token"] or client_token(),
    }


def _only_zone(client: Client) -> str:
    zones = [str(zone["ZoneId"]) for zone in client.regional("DescribeZones")["Zones"]["Zone"]]
    if len(zones) != 1:
        raise UsageFault(f"choose with --zone: {', '.join(zones)}")
    return zones[0]


def data_disk(client: Client, text: str) -> dict[str, Any]:
    """`SIZE[,category=…][,snapshot=…]…` as an element of DataDisk; without a size it has its snapshot's."""
    size, *rest = text.split(",")
    wanted: dict[str, Any] = {"Category": CATEGORY}
    if "=" in size:
        rest, size = [size, *rest], ""
    if size:
        if not size.isdigit():
            raise UsageFault(f"data disk {text!r}: it begins with its size in GiB, as in 40,category=cloud_ssd")
        wanted["Size"] = int(size)
    for part in rest:
        key, equals, value = part.partition("=")
        if not equals or key not in _FIELDS:
            raise UsageFault(f"data disk {text!r}: {part!r} must be KEY=VALUE with a KEY of {', '.join(_FIELDS)}")
        wanted[_FIELDS[key]] = value
    return wanted | _resolved(client, text, wanted)


def _resolved(client: Client, text: str, wanted: dict[str, Any]) -> dict[str, Any]:
    resolved: dict[str, Any] = {}
    if flag := wanted.get("DeleteWithInstance"):
        if flag not in _YES_NO:
            raise UsageFault(f"data disk {text!r}: delete-with-instance is yes or no")
        resolved["DeleteWithInstance"] = _YES_NO[flag]
    if snapshot := wanted.get("SnapshotId"):
        resolved["SnapshotId"] = find_id(client, SNAPSHOT, snapshot)
    elif "Size" not in wanted:
        raise UsageFault(f"data disk {text!r}: give its size in GiB, or snapshot=NAME for one as large as that")
    return resolved
