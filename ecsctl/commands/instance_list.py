"""`ecsctl instance ls` and `show`."""

from __future__ import annotations

import click

from ecsctl.cli import App, command
from ecsctl.client import ECS, unwrap
from ecsctl.commands.common import parse_tags, tag_filter
from ecsctl.completion import names
from ecsctl.errors import NotFound
from ecsctl.output import Column, Row, View, at
from ecsctl.resolve import INSTANCE, SECURITY_GROUP, VPC_NETWORK, VSWITCH, describe, find_id
from ecsctl.waiting import describe_ids


def private_address(item: Row) -> object:
    return at(item, "VpcAttributes.PrivateIpAddress.IpAddress") or at(item, "InnerIpAddress.IpAddress")


def public_address(item: Row) -> object:
    return at(item, "EipAddress.IpAddress") or at(item, "PublicIpAddress.IpAddress")


def memory(item: Row) -> str:
    return f"{item['Memory'] / 1024:g} GiB" if item.get("Memory") else ""


def tags(item: Row) -> object:
    return [f"{tag.get('TagKey')}={tag.get('TagValue', '')}" for tag in at(item, "Tags.Tag") or []]


VIEW = View(
    columns=(
        Column("NAME", "InstanceName"),
        Column("ID", "InstanceId"),
        Column("STATUS", "Status"),
        Column("TYPE", "InstanceType"),
        Column("ADDRESS", private_address),
        Column("PUBLIC", public_address),
        Column("IMAGE", "ImageId"),
        Column("CREATED", "CreationTime"),
        Column("CPU", "Cpu", wide=True),
        Column("MEMORY", memory, wide=True),
        Column("KEY PAIR", "KeyPairName", wide=True),
        Column("VPC", "VpcAttributes.VpcId", wide=True),
        Column("VSWITCH", "VpcAttributes.VSwitchId", wide=True),
        Column("SECURITY GROUPS", "SecurityGroupIds.SecurityGroupId", wide=True),
        Column("ZONE", "ZoneId", wide=True),
        Column("HOST NAME", "HostName", wide=True),
        Column("DESCRIPTION", "Description", wide=True),
        Column("TAGS", tags, wide=True),
    ),
    name=("InstanceName", "InstanceId"),
)


@command("ls")
@click.argument("only", metavar="[NAME]...", nargs=-1, shell_complete=names("instance"))
@click.option("--status", type=click.Choice(["Pending", "Starting", "Running", "Stopping", "Stopped"]))
@click.option("--vpc", metavar="NAME", help="Only of this VPC.", shell_complete=names("vpc"))
@click.option("--classic", is_flag=True, help="Only in the classic network.")
@click.option("--vswitch", metavar="NAME", help="Only of this VSwitch.", shell_complete=names("vswitch"))
@click.option("--security-group", metavar="NAME", help="Only of this group.", shell_complete=names("security-group"))
@click.option("--type", "instance_type", metavar="TYPE", help="Only of this instance type.")
@click.option("--tag", "wanted", multiple=True, metavar="KEY[=VALUE]", help="Only with this tag.")
def ls(
    app: App,
    only: tuple[str, ...],
    status: str | None,
    vpc: str | None,
    classic: bool,
    vswitch: str | None,
    security_group: str | None,
    instance_type: str | None,
    wanted: tuple[str, ...],
) -> None:
    """List instances, those named or all."""
    client = app.client
    found = describe(
        client,
        INSTANCE,
        Status=status,
        InstanceType=instance_type,
        VpcId=vpc and find_id(client, VPC_NETWORK, vpc),
        InstanceNetworkType="classic" if classic else None,
        VSwitchId=vswitch and find_id(client, VSWITCH, vswitch),
        SecurityGroupId=security_group and find_id(client, SECURITY_GROUP, security_group),
        Tag=tag_filter(parse_tags(wanted)),
    )
    for name in only:
        if not any(name in (item["InstanceId"], item.get("InstanceName")) for item in found):
            raise NotFound(f"there is no instance {name!r} (or the filters leave it out)")
    if only:
        found = [item for item in found if {item["InstanceId"], item.get("InstanceName")} & set(only)]
    app.emit_list(found, VIEW)


@command("show")
@click.argument("name", shell_complete=names("instance"))
def show(app: App, name: str) -> None:
    """Show one instance with its disks."""
    instance_id = find_id(app.client, INSTANCE, name)
    found = describe_ids(app.client, [instance_id])
    if not found:
        raise NotFound(f"there is no instance {name!r}")
    app.emit_item(found[0], VIEW)
    if app.output in ("", "table", "wide") and not app.query:
        answer = app.client.regional("DescribeDisks", ECS, InstanceId=instance_id)
        for disk in unwrap(answer, "Disks.Disk"):
            kept = "" if disk.get("DeleteWithInstance", True) else ", kept at release"
            click.echo(f"Disk: {disk['DiskId']} {disk.get('Type')} {disk.get('Size')} GiB {disk.get('Category')}{kept}")
