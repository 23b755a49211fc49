"""`ecsctl security-group`; the rules are in security_group_rule."""

from __future__ import annotations

from typing import Any

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import Client, Json, client_token
from ecsctl.commands.common import parse_tags, tag_filter, tag_values
from ecsctl.completion import names
from ecsctl.errors import NotFound, UsageFault
from ecsctl.output import Column, View
from ecsctl.resolve import SECURITY_GROUP, VPC_NETWORK, describe, find_id

VIEW = View(
    columns=(
        Column("NAME", "SecurityGroupName"),
        Column("ID", "SecurityGroupId"),
        Column("VPC", lambda item: item.get("VpcId") or "classic"),
        Column("INSTANCES", "EcsCount"),
        Column("RULES", "RuleCount"),
        Column("CREATED", "CreationTime"),
        Column("DESCRIPTION", "Description", wide=True),
    ),
    name=("SecurityGroupName", "SecurityGroupId"),
)
_ONE = View((*VIEW.columns, Column("INNER ACCESS", "InnerAccessPolicy")), VIEW.name)


@command("create")
@click.argument("name")
@click.option("--vpc", metavar="NAME", help="Default: the default VPC, or the only one.", shell_complete=names("vpc"))
@click.option("--classic", is_flag=True, help="For the classic network instead of a VPC.")
@click.option("--description", metavar="TEXT")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE")
@click.option("--client-token", metavar="TEXT", help="The same token makes no second group.")
def create(app: App, name: str, vpc: str | None, classic: bool, tags: tuple[str, ...], **given: str | None) -> None:
    """Create a security group: everything out, nothing in but its own members. Prints its id."""
    if classic and vpc:
        raise UsageFault("a group is in a VPC or in the classic network: give --vpc or --classic")
    answer = app.client.regional(
        "CreateSecurityGroup",
        SecurityGroupName=name,
        VpcId=None if classic else find_id(app.client, VPC_NETWORK, vpc) if vpc else _default_vpc(app.client),
        NetworkType="classic" if classic else None,
        Description=given["description"],
        Tag=tag_values(tags),
        ClientToken=given["client_token"] or client_token(),
    )
    if app.output or app.query:
        app.emit_item({"SecurityGroupName": name, **answer}, VIEW)
    else:
        click.echo(answer["SecurityGroupId"])


def _default_vpc(client: Client) -> str:
    found = describe(client, VPC_NETWORK)
    chosen = [vpc for vpc in found if vpc.get("IsDefault")] or found
    if len(chosen) != 1:
        shown = ", ".join(f"{vpc.get('VpcName') or ''} {vpc['VpcId']}".strip() for vpc in found) or "there is none"
        raise UsageFault(f"no default VPC: choose with --vpc: {shown}")
    return str(chosen[0]["VpcId"])


@command("ls")
@click.option("--vpc", metavar="NAME", help="Only of this VPC.", shell_complete=names("vpc"))
@click.option("--classic", is_flag=True, help="Only of the classic network.")
@click.option("--tag", "wanted", multiple=True, metavar="KEY[=VALUE]", help="Only with this tag.")
def ls(app: App, vpc: str | None, classic: bool, wanted: tuple[str, ...]) -> None:
    """List security groups."""
    vpc_id = find_id(app.client, VPC_NETWORK, vpc) if vpc else None
    filters = {"VpcId": vpc_id, "NetworkType": "classic" if classic else None, "Tag": tag_filter(parse_tags(wanted))}
    app.emit_list(describe(app.client, SECURITY_GROUP, **filters, IsQueryEcsCount=True), VIEW)


@command("show")
@click.argument("name", shell_complete=names("security-group"))
def show(app: App, name: str) -> None:
    """Show one security group with its rules."""
    from ecsctl.commands.security_group_rule import attributes, ordered, view_of

    group = describe_one(app.client, name)
    structured = app.output in ("json", "yaml", "name") or app.query
    more = attributes(app.client, str(group["SecurityGroupId"]))
    group["InnerAccessPolicy"], rules = more.get("InnerAccessPolicy"), ordered(more)
    if structured:
        app.emit_item({**group, "Permissions": {"Permission": rules}}, _ONE)
        return
    app.emit_item(group, _ONE)
    click.echo()
    app.emit_list(rules, view_of(rules))


def describe_one(client: Client, name: str) -> Json:
    """The description of a group by name or id."""
    group_id = find_id(client, SECURITY_GROUP, name)
    found = describe(client, SECURITY_GROUP, SecurityGroupId=group_id, IsQueryEcsCount=True)
    if not found:
        raise NotFound(f"there is no security group {name!r}")
    return found[0]


@command("modify")
@click.argument("name", shell_complete=names("security-group"))
@click.option("--name", "new_name", metavar="NAME", help="The new name.")
@click.option("--description", metavar="TEXT")
@click.option("--inner-access", type=click.Choice(["accept", "drop"]), help="Whether members reach each other.")
def modify(app: App, name: str, new_name: str | None, description: str | None, inner_access: str | None) -> None:
    """Change name or description, or whether members reach each other without a rule that says so."""
    texts: dict[str, Any] = {"SecurityGroupName": new_name, "Description": description}
    changed = any(value is not None for value in texts.values())
    if not changed and not inner_access:
        raise UsageFault("nothing to change: give --name, --description or --inner-access")
    group_id = find_id(app.client, SECURITY_GROUP, name)
    if changed:
        app.client.regional("ModifySecurityGroupAttribute", SecurityGroupId=group_id, **texts)
    if inner_access:
        app.client.regional(
            "ModifySecurityGroupPolicy",
            SecurityGroupId=group_id,
            InnerAccessPolicy=inner_access,
            ClientToken=client_token(),
        )


@command("delete")
@click.argument("name", shell_complete=names("security-group"))
def delete(app: App, name: str) -> None:
    """Delete a security group that no instance is in and no other group's rule names."""
    app.client.regional("DeleteSecurityGroup", SecurityGroupId=find_id(app.client, SECURITY_GROUP, name))


security_group = LazyGroup(
    "security-group",
    help="Firewall groups and their rules.",
    lazy={
        "create": (__name__, "create", "Create a security group."),
        "ls": (__name__, "ls", "List security groups."),
        "show": (__name__, "show", "Show one security group with its rules."),
        "modify": (__name__, "modify", "Change name, description, or whether members reach each other."),
        "delete": (__name__, "delete", "Delete an unused security group."),
        "join": ("ecsctl.commands.security_group_member", "join", "Put instances into a group, also running ones."),
        "leave": ("ecsctl.commands.security_group_member", "leave", "Take instances out of a group."),
        "clone": ("ecsctl.commands.security_group_copy", "clone", "Make a new group with the rules of another one."),
        "restore": ("ecsctl.commands.security_group_copy", "restore", "Give a group the rules of another one."),
        "rule": ("ecsctl.commands.security_group_rule", "rule", "Add, change, remove and list rules."),
        "explain": ("ecsctl.commands.security_group_explain", "explain", "Say which rule decides about a connection."),
    },
)
