"""`ecsctl snapshot-policy`."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from zoneinfo import ZoneInfo

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import Client, Json, client_token
from ecsctl.commands import snapshot_policy_input as given_as
from ecsctl.commands.common import Decorator, confirm, tag_values
from ecsctl.commands.instance_list import tags
from ecsctl.completion import names
from ecsctl.errors import NotFound, UsageFault
from ecsctl.output import Column, Row, View, at
from ecsctl.resolve import DISK, SNAPSHOT_POLICY, describe, find_id, find_ids


def _next_times(item: Row) -> list[str]:
    return [_local(text, str(item.get("TimeZone", ""))) for text in at(item, "NextTimes.NextTime") or []]


def _local(text: str, zone: str) -> str:
    """A time of the API on the wall clock of a zone; in UTC where this machine does not know the zone."""
    moment = dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
    try:
        moment = moment.astimezone(ZoneInfo(zone))
    except (KeyError, ValueError, OSError):
        return f"{moment:%a %Y-%m-%d %H:%M} UTC"
    return f"{moment:%a %Y-%m-%d %H:%M}"


VIEW = View(
    columns=(
        Column("NAME", "AutoSnapshotPolicyName"),
        Column("ID", "AutoSnapshotPolicyId"),
        Column("HOURS", lambda item: given_as.shown_hours(item["TimePoints"])),
        Column("WEEKDAYS", lambda item: given_as.shown_weekdays(item["RepeatWeekdays"])),
        Column("TIME ZONE", "TimeZone"),
        Column("KEEP", lambda item: given_as.shown_retention(item["RetentionDays"])),
        Column("DISKS", "DiskNums"),
        Column("NEXT", lambda item: _next_times(item)[:1]),
        Column("THEN", lambda item: ", ".join(_next_times(item)[1:]), wide=True),
        Column("CREATED", "CreationTime", wide=True),
        Column("TAGS", tags, wide=True),
    ),
    name=("AutoSnapshotPolicyName", "AutoSnapshotPolicyId"),
)

_policy = click.argument("name", metavar="POLICY", shell_complete=names("snapshot-policy"))
_disks = click.argument("disks", metavar="DISK...", nargs=-1, required=True, shell_complete=names("disk"))


def _schedule_options(required: bool) -> Decorator:
    def decorate(function: Any) -> Any:
        for option in (
            click.option("--time-zone", metavar="ZONE", help="Such as Asia/Tokyo; '': the region's, the default."),
            click.option("--keep", metavar="DAYS", help="30d, or forever. Default: 30d."),
            click.option(
                "--weekdays", required=required, metavar="LIST", help="mon,thu or 1,4 (1: Monday), mon-fri, or daily."
            ),
            click.option("--hours", required=required, metavar="LIST", help="Full hours: 1,13 or 8-18."),
        ):
            function = option(function)
        return function

    return decorate


def _fields(
    name: str | None, hours: str | None, weekdays: str | None, keep: str | None, time_zone: str | None
) -> dict[str, Any]:
    return {
        "autoSnapshotPolicyName": name,
        "timePoints": None if hours is None else given_as.hours_of(hours),
        "repeatWeekdays": None if weekdays is None else given_as.weekdays_of(weekdays),
        "retentionDays": None if keep is None else given_as.days_of(keep),
        "TimeZone": time_zone,
    }


@command("create")
@click.argument("name")
@_schedule_options(required=True)
@click.option("--disk", "disks", multiple=True, metavar="DISK", help="Apply it to this disk.")
@click.option("--tag", "wanted", multiple=True, metavar="KEY=VALUE")
@click.option("--client-token", metavar="TEXT", help="The same token makes no second policy.")
def create(app: App, name: str, disks: tuple[str, ...], wanted: tuple[str, ...], **given: Any) -> None:
    """Create a policy: when snapshots are taken by themselves. Prints its id."""
    token = given.pop("client_token") or client_token()
    disk_ids = find_ids(app.client, DISK, disks)
    fields = _fields(name, **given)
    answer = app.client.regional("CreateAutoSnapshotPolicy", **fields, Tag=tag_values(wanted), ClientToken=token)
    policy_id = str(answer["AutoSnapshotPolicyId"])
    if disk_ids:
        _apply(app.client, policy_id, disk_ids)
    if app.output or app.query:
        app.emit_item(_one(app.client, policy_id), VIEW)
    else:
        click.echo(policy_id)


def _apply(client: Client, policy_id: str, disk_ids: list[str]) -> None:
    client.regional("ApplyAutoSnapshotPolicy", autoSnapshotPolicyId=policy_id, diskIds=json.dumps(disk_ids))


def _one(client: Client, policy_id: str) -> Json:
    found = describe(client, SNAPSHOT_POLICY, AutoSnapshotPolicyId=policy_id)
    if not found:
        raise NotFound(f"there is no snapshot policy {policy_id!r}")
    return found[0]


@command("ls")
def ls(app: App) -> None:
    """List policies."""
    app.emit_list(describe(app.client, SNAPSHOT_POLICY), VIEW)


@command("show")
@_policy
def show(app: App, name: str) -> None:
    """Show one policy with its next times, its disks, and what was last taken of each or why it was not."""
    policy_id = find_id(app.client, SNAPSHOT_POLICY, name)
    action, wrapper = "DescribeAutoSnapshotPolicyAssociations", "AutoSnapshotPolicyAssociations"
    listing = app.client.items(action, f"{wrapper}.AutoSnapshotPolicyAssociation", AutoSnapshotPolicyId=policy_id)
    item = {**_one(app.client, policy_id), "Disks": {"Disk": list(listing)}}
    app.emit_item(item, VIEW)
    if app.output not in ("", "table", "wide") or app.query:
        return
    for disk in item["Disks"]["Disk"]:
        click.echo(f"Disk: {_described(disk, item['TimeZone'])}")


def _described(disk: Json, zone: str) -> str:
    name = f"{disk['DiskId']} {disk.get('DiskName', '')}".rstrip()
    if not disk.get("LastTime"):
        return f"{name}, nothing so far"
    when = _local(disk["LastTime"], zone)
    return f"{name}, skipped {when}: {disk['LastSkipped']}" if disk.get("LastSkipped") else f"{name}, taken {when}"


@command("set")
@_policy
@click.option("--name", "new_name", metavar="TEXT")
@_schedule_options(required=False)
def set_(app: App, name: str, new_name: str | None, **given: Any) -> None:
    """Change a policy from its next hour on. What was taken already is kept as long as it was said then."""
    fields = _fields(new_name, **given)
    if all(value is None for value in fields.values()):
        raise UsageFault("nothing to change: give at least one option (see --help)")
    policy_id = find_id(app.client, SNAPSHOT_POLICY, name)
    app.client.regional("ModifyAutoSnapshotPolicyEx", autoSnapshotPolicyId=policy_id, **fields)
    if app.output or app.query:
        app.emit_item(_one(app.client, policy_id), VIEW)


@command("delete")
@click.argument("policies", metavar="POLICY...", nargs=-1, required=True, shell_complete=names("snapshot-policy"))
@click.option("-y", "--yes", is_flag=True, help="Do not ask (asked on a terminal only).")
def delete(app: App, policies: tuple[str, ...], yes: bool) -> None:
    """Delete policies. Their disks have none then; snapshots stay until their days are over."""
    ids = find_ids(app.client, SNAPSHOT_POLICY, policies)
    confirm(f"Delete {', '.join(policies)}, so that nothing is taken any more?", yes=yes)
    for policy_id in ids:
        app.client.regional("DeleteAutoSnapshotPolicy", autoSnapshotPolicyId=policy_id)


@command("apply")
@_policy
@_disks
def apply(app: App, name: str, disks: tuple[str, ...]) -> None:
    """Let a policy take snapshots of disks, in place of the policy they have."""
    policy_id = find_id(app.client, SNAPSHOT_POLICY, name)
    _apply(app.client, policy_id, find_ids(app.client, DISK, disks))


@command("cancel")
@_disks
def cancel(app: App, disks: tuple[str, ...]) -> None:
    """Take their policy from disks; snapshots stay until their days are over."""
    app.client.regional("CancelAutoSnapshotPolicy", diskIds=json.dumps(find_ids(app.client, DISK, disks)))


snapshot_policy = LazyGroup(
    "snapshot-policy",
    help="When snapshots are taken by themselves.",
    lazy={
        "create": (__name__, "create", "Create a policy."),
        "ls": (__name__, "ls", "List policies."),
        "show": (__name__, "show", "Show one policy, its next times and its disks."),
        "set": (__name__, "set_", "Change a policy."),
        "delete": (__name__, "delete", "Delete policies."),
        "apply": (__name__, "apply", "Apply a policy to disks."),
        "cancel": (__name__, "cancel", "Take the policy from disks."),
    },
)
