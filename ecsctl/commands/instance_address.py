"""`ecsctl instance address` and `instance set-network`: an instance's private addresses."""

from __future__ import annotations

from typing import Any

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import Client, Json, client_token, unwrap
from ecsctl.completion import names
from ecsctl.errors import NotFound, UsageFault
from ecsctl.output import Column, View
from ecsctl.resolve import INSTANCE, SECURITY_GROUP, VSWITCH, describe, find_id, find_ids

VIEW = View(
    columns=(
        Column("ADDRESS", "PrivateIpAddress"),
        Column("PRIMARY", "Primary"),
        Column("PUBLIC", "AssociatedPublicIp.PublicIpAddress"),
    ),
    name=("PrivateIpAddress",),
)

_instance = click.argument("name", shell_complete=names("instance"))


@command("ls")
@_instance
def ls(app: App, name: str) -> None:
    """List the private addresses of an instance."""
    app.emit_list(unwrap(_interface(app.client, name), "PrivateIpSets.PrivateIpSet"), VIEW)


@command("add")
@_instance
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@click.option("--count", type=click.IntRange(min=1), help="So many free ones.  [default: 1]")
def add(app: App, name: str, addresses: tuple[str, ...], count: int | None) -> None:
    """Give an instance further addresses of its VSwitch, at once. Prints them.

    The system inside has to add them to its interface, too.
    """
    if addresses and count:
        raise UsageFault("give either addresses or --count")
    answer = app.client.regional(
        "AssignPrivateIpAddresses",
        NetworkInterfaceId=_interface(app.client, name)["NetworkInterfaceId"],
        PrivateIpAddress=list(addresses),
        SecondaryPrivateIpAddressCount=None if addresses else count or 1,
        ClientToken=client_token(),
    )
    given = unwrap(answer, "AssignedPrivateIpAddressesSet.PrivateIpSet.PrivateIpAddress")
    if app.output or app.query:
        app.emit_list([{"PrivateIpAddress": address, "Primary": False} for address in given], VIEW)
    else:
        click.echo("\n".join(map(str, given)))


@command("rm")
@_instance
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
def rm(app: App, name: str, addresses: tuple[str, ...]) -> None:
    """Take further addresses away from an instance."""
    app.client.regional(
        "UnassignPrivateIpAddresses",
        NetworkInterfaceId=_interface(app.client, name)["NetworkInterfaceId"],
        PrivateIpAddress=list(addresses),
    )


@command("set-network")
@_instance
@click.option("--vswitch", metavar="NAME", help="Default: its own.", shell_complete=names("vswitch"))
@click.option("--ip", metavar="ADDRESS", help="Default: a free one of another VSwitch.")
@click.option(
    "--security-group",
    "groups",
    multiple=True,
    metavar="NAME",
    help="Of another VPC: needed there. Repeatable.",
    shell_complete=names("security-group"),
)
def set_network(app: App, name: str, vswitch: str | None, ip: str | None, groups: tuple[str, ...]) -> None:
    """Move a stopped instance to another VSwitch, VPC or private address. Its next start has it."""
    if not vswitch and not ip:
        raise UsageFault("nothing to change: give --vswitch or --ip")
    client = app.client
    vswitch_id = find_id(client, VSWITCH, vswitch) if vswitch else _interface(client, name)["VSwitchId"]
    target: dict[str, Any] = {"VSwitchId": vswitch_id, "PrivateIpAddress": ip}
    if groups:
        found = describe(client, VSWITCH, VSwitchId=vswitch_id)
        target["VpcId"] = found[0]["VpcId"] if found else None
        target["SecurityGroupId"] = find_ids(client, SECURITY_GROUP, groups)
    client.regional("ModifyInstanceVpcAttribute", InstanceId=find_id(client, INSTANCE, name), **target)


def _interface(client: Client, name: str) -> Json:
    instance_id = find_id(client, INSTANCE, name)
    answer = client.regional("DescribeNetworkInterfaces", InstanceId=instance_id)
    found = unwrap(answer, "NetworkInterfaceSets.NetworkInterfaceSet")
    if not found:
        raise NotFound(f"there is no instance {name!r} in a VPC")
    return found[0]


address = LazyGroup(
    "address",
    help="Private addresses of an instance.",
    lazy={
        "ls": (__name__, "ls", "List them."),
        "add": (__name__, "add", "Give an instance further ones."),
        "rm": (__name__, "rm", "Take further ones away."),
    },
)
