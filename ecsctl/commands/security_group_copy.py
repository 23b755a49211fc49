"""`ecsctl security-group clone` and `restore`."""

from __future__ import annotations

import sys
from typing import Any

import click

from ecsctl.cli import App, command
from ecsctl.client import OWN, Json, client_token, unwrap
from ecsctl.commands.common import tag_values, timeout_option
from ecsctl.commands.security_group_rule import peer_of
from ecsctl.completion import names, values
from ecsctl.errors import UsageFault
from ecsctl.output import View, cell, colours
from ecsctl.resolve import SECURITY_GROUP, VPC_NETWORK, find_id
from ecsctl.waiting import wait_job

_TIMEOUT = 180


@command("clone")
@click.argument("group", shell_complete=names("security-group"))
@click.argument("name")
@click.option("--vpc", metavar="NAME", help="In this VPC; in another region: its id.", shell_complete=names("vpc"))
@click.option("--classic", is_flag=True, help="In the classic network.")
@click.option(
    "--to",
    "region",
    metavar="REGION",
    help="In another region.",
    shell_complete=values("DescribeRegions", "Regions.Region", "RegionId"),
)
@click.option("--description", metavar="TEXT", help="Default: as of the other one.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE")
@click.option("--client-token", metavar="TEXT", help="The same token makes no second group.")
@timeout_option(_TIMEOUT)
def clone(app: App, group: str, name: str, vpc: str | None, region: str | None, **given: Any) -> None:
    """Make a new group NAME with the rules of GROUP: where that is, or elsewhere. Prints its id.

    Rules that cannot be taken along, such as those that name groups of another VPC, are told.
    """
    if given["classic"] and vpc:
        raise UsageFault("a group is in a VPC or in the classic network: give --vpc or --classic")
    answer = app.client.regional(
        "CloneSecurityGroup",
        OWN,
        SecurityGroupId=find_id(app.client, SECURITY_GROUP, group),
        DestinationRegionId=region,
        VpcId=vpc if region or not vpc else find_id(app.client, VPC_NETWORK, vpc),
        NetworkType="classic" if given["classic"] else None,
        SecurityGroupName=name,
        Description=given["description"],
        Tag=tag_values(given["tags"]),
        ClientToken=given["client_token"] or client_token(),
    )
    if answer["JobId"]:
        wait_job(app.client, str(answer["JobId"]), f"clone of {group}", given["timeout"])
    _tell_left_out(answer)
    if app.output or app.query:
        app.emit_item({"SecurityGroupName": name, **answer}, View((), ("SecurityGroupId",)))
    else:
        click.echo(answer["SecurityGroupId"])


@command("restore")
@click.argument("group", shell_complete=names("security-group"))
@click.option("--from", "source", required=True, metavar="GROUP", shell_complete=names("security-group"))
@click.option("--partial", is_flag=True, help="Only add rules that are missing; remove none.")
@click.option("--dry-run", is_flag=True, help="Show what would be added and removed, and change nothing.")
def restore(app: App, group: str, source: str, partial: bool, dry_run: bool) -> None:
    """Give a group the rules of another one of the same network type, such as a clone made before a change.

    Prints what is added (+) and removed (-).
    """
    answer = app.client.regional(
        "DescribeSecurityGroupRestoration" if dry_run else "RestoreSecurityGroup",
        OWN,
        SecurityGroupId=find_id(app.client, SECURITY_GROUP, group),
        SourceSecurityGroupId=find_id(app.client, SECURITY_GROUP, source),
        RestoreType="Partial" if partial else "Full",
        ClientToken=None if dry_run else client_token(),
    )
    if app.output or app.query:
        app.emit_item(answer, View((), ()))
        return
    for sign, colour, part in (("-", "red", "Removed"), ("+", "green", "Added")):
        for rule in unwrap(answer, f"{part}.Permission"):
            text = f"{sign} {_line(rule)}"
            click.echo(click.style(text, fg=colour) if colours(sys.stdout) else text)
    _tell_left_out(answer)


def _tell_left_out(answer: Json) -> None:
    for rule in unwrap(answer, "LeftOut.Permission"):
        click.echo(f"left out: {_line(rule)}: {cell(rule.get('Reason'))}", err=True)


def _line(rule: Json) -> str:
    """`ingress accept TCP 22/22 from 10.0.0.0/8, priority 1`."""
    nic = f" ({rule['NicType']})" if rule.get("NicType") == "internet" else ""
    side = "to" if rule["Direction"] == "egress" else "from"
    ports = "" if rule["PortRange"] == "-1/-1" else f" {rule['PortRange']}"
    what = f"{rule['Direction']}{nic} {rule['Policy'].lower()} {rule['IpProtocol']}{ports}"
    text = f"{what} {side} {cell(peer_of(rule))}, priority {rule['Priority']}"
    return f"{text}: {cell(rule['Description'])}" if rule.get("Description") else text
