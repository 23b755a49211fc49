"""`ecsctl route`: the route table of a VPC."""

from __future__ import annotations

import re

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import VPC, Client, Json, client_token, unwrap
from ecsctl.completion import names
from ecsctl.errors import NotFound, UsageFault
from ecsctl.output import Column, Row, View
from ecsctl.resolve import INSTANCE, VPC_NETWORK, describe, find_id

HOST = "host"  # as a next hop
_ENTRY_ID = re.compile(r"rte-[a-z0-9]{20}\Z")


def _next_hop(item: Row) -> object:
    return item.get("InstanceId") or item.get("NextHopType")


VIEW = View(
    columns=(
        Column("DESTINATION", "DestinationCidrBlock"),
        Column("NEXT HOP", _next_hop),
        Column("TYPE", "Type"),
        Column("NAME", "RouteEntryName"),
        Column("DESCRIPTION", "Description"),
        Column("ID", "RouteEntryId", wide=True),
        Column("HOP TYPE", "NextHopType", wide=True),
    ),
    name=("DestinationCidrBlock",),
)

_vpc = click.option(
    "--vpc", metavar="NAME", help="Default: the default VPC, or the only one.", shell_complete=names("vpc")
)


@command("create")
@click.argument("cidr")
@click.option(
    "--via",
    required=True,
    metavar=f"INSTANCE|{HOST}",
    help=f"An instance that forwards; {HOST}: out through the host, with its address.",
    shell_complete=names("instance"),
)
@_vpc
@click.option("--name", metavar="TEXT")
@click.option("--description", metavar="TEXT")
def create(app: App, cidr: str, via: str, vpc: str | None, name: str | None, description: str | None) -> None:
    """Route what goes to CIDR by an instance or the host. Prints the entry's id."""
    hop: dict[str, str] = {"NextHopType": "Host"}
    if via != HOST:
        hop = {"NextHopType": "Instance", "NextHopId": find_id(app.client, INSTANCE, via)}
    answer = app.client.regional(
        "CreateRouteEntry",
        VPC,
        RouteTableId=_table(app.client, vpc)["RouteTableId"],
        DestinationCidrBlock=cidr,
        RouteEntryName=name,
        Description=description,
        ClientToken=client_token(),
        **hop,
    )
    if app.output or app.query:
        app.emit_item({"DestinationCidrBlock": cidr, **answer}, VIEW)
    else:
        click.echo(answer["RouteEntryId"])


@command("ls")
@_vpc
def ls(app: App, vpc: str | None) -> None:
    """List the routes of a VPC, the system's own among them."""
    app.emit_list(unwrap(_table(app.client, vpc), "RouteEntrys.RouteEntry"), VIEW)


@command("delete")
@click.argument("route", metavar="CIDR|ID")
@_vpc
def delete(app: App, route: str, vpc: str | None) -> None:
    """Delete a route, named by its destination or its id."""
    if _ENTRY_ID.match(route):
        app.client.regional("DeleteRouteEntry", VPC, RouteEntryId=route)
    else:
        table = _table(app.client, vpc)["RouteTableId"]
        app.client.regional("DeleteRouteEntry", VPC, RouteTableId=table, DestinationCidrBlock=route)


def _table(client: Client, vpc: str | None) -> Json:
    vpc_id = find_id(client, VPC_NETWORK, vpc) if vpc else _usual_vpc(client)
    found = unwrap(client.regional("DescribeRouteTables", VPC, VpcId=vpc_id), "RouteTables.RouteTable")
    if not found:
        raise NotFound(f"there is no VPC {vpc or vpc_id!r}")
    return found[0]


def _usual_vpc(client: Client) -> str:
    """The default VPC, or the only one."""
    own = describe(client, VPC_NETWORK)
    usual = [vpc for vpc in own if vpc.get("IsDefault")] or own
    if len(usual) != 1:
        raise UsageFault(f"choose one of {len(own)} VPCs with --vpc (ecsctl vpc ls)")
    return str(usual[0]["VpcId"])


route = LazyGroup(
    "route",
    help="Where packets of a private network go.",
    lazy={
        "create": (__name__, "create", "Route a network by an instance or the host."),
        "ls": (__name__, "ls", "List the routes of a VPC."),
        "delete": (__name__, "delete", "Delete a route."),
    },
)
