"""`ecsctl vswitch`."""

from __future__ import annotations

from typing import Any

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import VPC, Client, client_token, unwrap
from ecsctl.completion import names, values
from ecsctl.errors import CliError, NotFound, UsageFault
from ecsctl.output import Column, View
from ecsctl.resolve import VPC_NETWORK, VSWITCH, describe, find_id

VIEW = View(
    columns=(
        Column("NAME", "VSwitchName"),
        Column("ID", "VSwitchId"),
        Column("CIDR", "CidrBlock"),
        Column("VPC", "VpcId"),
        Column("ZONE", "ZoneId"),
        Column("STATUS", "Status"),
        Column("DEFAULT", "IsDefault"),
        Column("FREE", "AvailableIpAddressCount"),
        Column("NAT", "Nat", wide=True),
        Column("CREATED", "CreationTime", wide=True),
        Column("DESCRIPTION", "Description", wide=True),
    ),
    name=("VSwitchName", "VSwitchId"),
)

_NAT = "Whether instances without a public address go out through the host."


@command("create")
@click.argument("name")
@click.option("--vpc", required=True, metavar="NAME", shell_complete=names("vpc"))
@click.option("--cidr", required=True, metavar="CIDR")
@click.option(
    "--zone",
    metavar="ID",
    help="Default: the only one.",
    shell_complete=values("DescribeZones", "Zones.Zone", "ZoneId"),
)
@click.option("--description", metavar="TEXT")
@click.option("--nat/--no-nat", default=None, help=f"{_NAT}  [default: nat]")
@click.option("--client-token", metavar="TEXT", help="The same token makes no second VSwitch.")
def create(app: App, name: str, vpc: str, cidr: str, zone: str | None, description: str | None, **given: Any) -> None:
    """Create a VSwitch in a VPC. Prints its id."""
    answer = app.client.regional(
        "CreateVSwitch",
        VPC,
        VSwitchName=name,
        VpcId=find_id(app.client, VPC_NETWORK, vpc),
        CidrBlock=cidr,
        ZoneId=zone or _only_zone(app.client),
        Description=description,
        Nat=given["nat"],
        ClientToken=given["client_token"] or client_token(),
    )
    if app.output or app.query:
        app.emit_item({"VSwitchName": name, **answer}, VIEW)
    else:
        click.echo(answer["VSwitchId"])


def _only_zone(client: Client) -> str:
    zones = [str(zone["ZoneId"]) for zone in unwrap(client.regional("DescribeZones"), "Zones.Zone")]
    if not zones:
        raise CliError(f"region {client.region} has no zone")
    if len(zones) > 1:
        raise UsageFault(f"choose one of several zones with --zone: {', '.join(zones)}")
    return zones[0]


@command("ls")
@click.option("--vpc", metavar="NAME", help="Only of this VPC.", shell_complete=names("vpc"))
def ls(app: App, vpc: str | None) -> None:
    """List VSwitches."""
    app.emit_list(describe(app.client, VSWITCH, VpcId=vpc and find_id(app.client, VPC_NETWORK, vpc)), VIEW)


@command("show")
@click.argument("name", shell_complete=names("vswitch"))
def show(app: App, name: str) -> None:
    """Show one VSwitch."""
    found = describe(app.client, VSWITCH, VSwitchId=find_id(app.client, VSWITCH, name))
    if not found:
        raise NotFound(f"there is no VSwitch {name!r}")
    app.emit_item(found[0], VIEW)


@command("set")
@click.argument("name", shell_complete=names("vswitch"))
@click.option("--name", "new_name", metavar="TEXT")
@click.option("--description", metavar="TEXT", help="'' for none.")
@click.option("--nat/--no-nat", default=None, help=_NAT)
def set_(app: App, name: str, new_name: str | None, description: str | None, nat: bool | None) -> None:
    """Change a VSwitch, at once."""
    changes = {"VSwitchName": new_name, "Description": description, "Nat": nat}
    if all(value is None for value in changes.values()):
        raise UsageFault("nothing to change: give at least one option (see --help)")
    app.client.regional("ModifyVSwitchAttribute", VPC, VSwitchId=find_id(app.client, VSWITCH, name), **changes)


@command("delete")
@click.argument("name", shell_complete=names("vswitch"))
def delete(app: App, name: str) -> None:
    """Delete a VSwitch that no instance uses."""
    app.client.regional("DeleteVSwitch", VPC, VSwitchId=find_id(app.client, VSWITCH, name))


vswitch = LazyGroup(
    "vswitch",
    help="Subnets of private networks.",
    lazy={
        "create": (__name__, "create", "Create a VSwitch."),
        "ls": (__name__, "ls", "List VSwitches."),
        "show": (__name__, "show", "Show one VSwitch."),
        "set": (__name__, "set_", "Change name, description, or whether instances go out."),
        "delete": (__name__, "delete", "Delete an unused VSwitch."),
    },
)
