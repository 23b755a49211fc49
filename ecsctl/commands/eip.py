"""`ecsctl eip`: the group, and what needs no waiting."""

from __future__ import annotations

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import VPC, client_token
from ecsctl.commands.common import tag_values
from ecsctl.completion import names
from ecsctl.eips import describe_eip, find_eip
from ecsctl.errors import NotFound, UsageFault
from ecsctl.output import Column, Row, View
from ecsctl.resolve import EIP, INSTANCE, describe, find_id


def _bandwidth(item: Row) -> str:
    return f"{item['Bandwidth']} Mbit/s" if item.get("Bandwidth") else ""


VIEW = View(
    columns=(
        Column("NAME", "Name"),
        Column("ID", "AllocationId"),
        Column("ADDRESS", "IpAddress"),
        Column("STATUS", "Status"),
        Column("BOUND TO", "InstanceId"),
        Column("PRIVATE", "PrivateIpAddress"),
        Column("BANDWIDTH", _bandwidth),
        Column("CREATED", "AllocationTime", wide=True),
        Column("VPC", "VpcId", wide=True),
        Column("CHARGED", "InternetChargeType", wide=True),
        Column("DESCRIPTION", "Description", wide=True),
    ),
    name=("Name", "IpAddress", "AllocationId"),
)

_eip = click.argument("name", shell_complete=names("eip"))
_mbps = click.IntRange(min=1)


@command("create")
@click.argument("name", required=False)
@click.option("--bandwidth", type=_mbps, metavar="MBIT/S", help="Each way. Default: 5.")
@click.option("--address", metavar="ADDRESS", help="Default: a free one of the pool.")
@click.option("--description", metavar="TEXT")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE")
@click.option("--client-token", metavar="TEXT", help="The same token gets no second address.")
def create(
    app: App,
    name: str | None,
    bandwidth: int | None,
    address: str | None,
    description: str | None,
    tags: tuple[str, ...],
    **given: str | None,
) -> None:
    """Get an elastic public address, called NAME if you like. Prints the address."""
    answer = app.client.regional(
        "AllocateEipAddress",
        VPC,
        Name=name,
        Bandwidth=bandwidth,
        IpAddress=address,
        Description=description,
        Tag=tag_values(tags),
        ClientToken=given["client_token"] or client_token(),
    )
    if app.output or app.query:
        app.emit_item(describe_eip(app.client, answer["AllocationId"]) or {}, VIEW)
    else:
        click.echo(answer["EipAddress"])


@command("ls")
@click.option("--instance", metavar="NAME", help="Only of this instance.", shell_complete=names("instance"))
@click.option("--status", type=click.Choice(["Available", "Associating", "InUse", "Unassociating"]))
def ls(app: App, instance: str | None, status: str | None) -> None:
    """List elastic public addresses."""
    holder = instance and find_id(app.client, INSTANCE, instance)
    app.emit_list(describe(app.client, EIP, AssociatedInstanceId=holder, Status=status), VIEW)


@command("show")
@_eip
def show(app: App, name: str) -> None:
    """Show one elastic public address."""
    found = describe_eip(app.client, find_eip(app.client, name))
    if found is None:
        raise NotFound(f"there is no EIP {name!r}")
    app.emit_item(found, VIEW)


@command("set")
@_eip
@click.option("--bandwidth", type=_mbps, metavar="MBIT/S", help="Each way, at once.")
@click.option("--name", "new_name", metavar="TEXT")
@click.option("--description", metavar="TEXT", help="'' for none.")
def set_(app: App, name: str, bandwidth: int | None, new_name: str | None, description: str | None) -> None:
    """Change bandwidth, name or description."""
    changes = {"Bandwidth": bandwidth, "Name": new_name, "Description": description}
    if all(value is None for value in changes.values()):
        raise UsageFault("nothing to change: give at least one option (see --help)")
    app.client.regional("ModifyEipAddressAttribute", VPC, AllocationId=find_eip(app.client, name), **changes)


@command("release")
@click.argument("addresses", metavar="NAME...", nargs=-1, required=True, shell_complete=names("eip"))
def release(app: App, addresses: tuple[str, ...]) -> None:
    """Give addresses back that are bound to nothing."""
    for allocation_id in dict.fromkeys(find_eip(app.client, text) for text in addresses):
        app.client.regional("ReleaseEipAddress", VPC, AllocationId=allocation_id)


eip = LazyGroup(
    "eip",
    help="Elastic public addresses. NAME may be the address itself.",
    lazy={
        "create": (__name__, "create", "Get an address."),
        "ls": (__name__, "ls", "List addresses."),
        "show": (__name__, "show", "Show one address."),
        "set": (__name__, "set_", "Change bandwidth, name or description."),
        "bind": ("ecsctl.commands.eip_bind", "bind", "Bind an address to an instance."),
        "unbind": ("ecsctl.commands.eip_bind", "unbind", "Take an address away from its instance."),
        "release": (__name__, "release", "Give addresses back."),
    },
)
