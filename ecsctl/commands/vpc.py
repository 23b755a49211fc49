"""`ecsctl vpc`."""

from __future__ import annotations

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import VPC, client_token
from ecsctl.completion import names
from ecsctl.errors import NotFound, UsageFault
from ecsctl.output import Column, View
from ecsctl.resolve import VPC_NETWORK, describe, find_id

VIEW = View(
    columns=(
        Column("NAME", "VpcName"),
        Column("ID", "VpcId"),
        Column("CIDR", "CidrBlock"),
        Column("STATUS", "Status"),
        Column("DEFAULT", "IsDefault"),
        Column("CREATED", "CreationTime"),
        Column("VSWITCHES", "VSwitchIds.VSwitchId", wide=True),
        Column("ROUTER", "VRouterId", wide=True),
        Column("DESCRIPTION", "Description", wide=True),
    ),
    name=("VpcName", "VpcId"),
)


@command("create")
@click.argument("name")
@click.option("--cidr", default="172.16.0.0/12", show_default=True, metavar="CIDR")
@click.option("--description", metavar="TEXT")
@click.option("--client-token", metavar="TEXT", help="The same token makes no second VPC.")
def create(app: App, name: str, cidr: str, description: str | None, **given: str | None) -> None:
    """Create a VPC. Prints its id."""
    token = given["client_token"] or client_token()
    answer = app.client.regional(
        "CreateVpc", VPC, VpcName=name, CidrBlock=cidr, Description=description, ClientToken=token
    )
    if app.output or app.query:
        app.emit_item({"VpcName": name, **answer}, VIEW)
    else:
        click.echo(answer["VpcId"])


@command("ls")
def ls(app: App) -> None:
    """List VPCs."""
    app.emit_list(describe(app.client, VPC_NETWORK), VIEW)


@command("show")
@click.argument("name", shell_complete=names("vpc"))
def show(app: App, name: str) -> None:
    """Show one VPC."""
    found = describe(app.client, VPC_NETWORK, VpcId=find_id(app.client, VPC_NETWORK, name))
    if not found:
        raise NotFound(f"there is no VPC {name!r}")
    app.emit_item(found[0], VIEW)


@command("set")
@click.argument("name", shell_complete=names("vpc"))
@click.option("--name", "new_name", metavar="TEXT")
@click.option("--description", metavar="TEXT", help="'' for none.")
def set_(app: App, name: str, new_name: str | None, description: str | None) -> None:
    """Change name and description of a VPC."""
    if new_name is None and description is None:
        raise UsageFault("nothing to change: give at least one option (see --help)")
    vpc_id = find_id(app.client, VPC_NETWORK, name)
    app.client.regional("ModifyVpcAttribute", VPC, VpcId=vpc_id, VpcName=new_name, Description=description)


@command("delete")
@click.argument("name", shell_complete=names("vpc"))
def delete(app: App, name: str) -> None:
    """Delete a VPC that has no VSwitch left."""
    app.client.regional("DeleteVpc", VPC, VpcId=find_id(app.client, VPC_NETWORK, name))


vpc = LazyGroup(
    "vpc",
    help="Private networks.",
    lazy={
        "create": (__name__, "create", "Create a VPC."),
        "ls": (__name__, "ls", "List VPCs."),
        "show": (__name__, "show", "Show one VPC."),
        "set": (__name__, "set_", "Change name and description."),
        "delete": (__name__, "delete", "Delete an empty VPC."),
    },
)
