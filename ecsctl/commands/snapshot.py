"""`ecsctl snapshot`."""

from __future__ import annotations

import json
from typing import Any

import click

from ecsctl import storage_usage
from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import Client, Json, client_token, unwrap
from ecsctl.commands.common import confirm, parse_tags, tag_filter, tag_values, wait_options
from ecsctl.commands.instance_list import tags
from ecsctl.completion import names
from ecsctl.errors import ApiError, CliError, NotFound, UsageFault
from ecsctl.output import Column, Row, View
from ecsctl.progress import Progress
from ecsctl.resolve import DISK, INSTANCE, SNAPSHOT, describe, find_id, find_ids
from ecsctl.waiting import AGENT_AWAY_SECONDS, Jobs, describe_step, interruptible, pauses

_TIMEOUT = 600


def _kind(item: Row) -> str:
    return {"user": "manual", "auto": "automatic"}.get(item.get("SnapshotType", ""), "")


def _status(item: Row) -> str:
    status = str(item.get("Status", ""))
    return f"{status} {item.get('Progress', '')}".rstrip() if status == "progressing" else status


VIEW = View(
    columns=(
        Column("NAME", "SnapshotName"),
        Column("ID", "SnapshotId"),
        Column("DISK", "SourceDiskId"),
        Column("OF", "SourceDiskType"),
        Column("GIB", "SourceDiskSize"),
        Column("TYPE", _kind),
        Column("STATUS", _status),
        Column("CREATED", "CreationTime"),
        Column("EXPIRES", "ExpirationTime"),
        Column("WHY", "Message", wide=True),
        Column("CONSISTENCY", "Consistency", wide=True),
        Column("USED BY", "Usage", wide=True),
        Column("POLICY", "AutoSnapshotPolicyId", wide=True),
        Column("DESCRIPTION", "Description", wide=True),
        Column("TAGS", tags, wide=True),
    ),
    name=("SnapshotName", "SnapshotId"),
)

_name = click.argument("name", shell_complete=names("snapshot"))


@command("create")
@click.argument("name")
@click.option("--disk", metavar="DISK", help="Of this disk.", shell_complete=names("disk"))
@click.option("--instance", metavar="NAME", help="Of this instance's system disk.", shell_complete=names("instance"))
@click.option("--description", metavar="TEXT")
@click.option("--tag", "wanted", multiple=True, metavar="KEY=VALUE")
@click.option("--client-token", metavar="TEXT", help="The same token makes no second snapshot.")
@wait_options(_TIMEOUT)
def create(
    app: App,
    name: str,
    disk: str | None,
    instance: str | None,
    wanted: tuple[str, ...],
    wait: bool,
    timeout: float,
    **given: Any,
) -> None:
    """Take a snapshot of a disk, be the instance running or stopped. Prints its id."""
    answer = app.client.call(
        "CreateSnapshot",
        DiskId=_disk_id(app.client, disk, instance),
        SnapshotName=name,
        Description=given["description"],
        Tag=tag_values(wanted),
        ClientToken=given["client_token"] or client_token(),
    )
    snapshot_id = str(answer["SnapshotId"])
    if wait:
        wait_snapshot(app.client, snapshot_id, timeout)
    if app.output or app.query:
        app.emit_item(_one(app.client, snapshot_id), VIEW)
    else:
        click.echo(snapshot_id)


def _disk_id(client: Client, disk: str | None, instance: str | None) -> str:
    if (disk is None) == (instance is None):
        raise UsageFault("say of what: --disk DISK, or --instance NAME for its system disk")
    if disk is not None:
        return find_id(client, DISK, disk)
    found = describe(client, DISK, InstanceId=find_id(client, INSTANCE, instance or ""), DiskType="system")
    if not found:
        raise NotFound(f"instance {instance!r} has no system disk")
    return str(found[0]["DiskId"])


def wait_snapshot(client: Client, snapshot_id: str, timeout: float) -> None:
    """Wait until it is accomplished. Raises CliError with the reason when it fails, TimedOut, Interrupted."""
    jobs, whom = Jobs(client), f"snapshot {snapshot_id}"
    with Progress() as progress, interruptible(f"{whom} goes on"), client.patient(AGENT_AWAY_SECONDS):
        for _ in pauses(timeout, f"{whom} takes longer than {timeout:g} s", progress):
            found = _one(client, snapshot_id)
            if found["Status"] == "accomplished":
                return
            if found["Status"] == "failed":
                raise CliError(f"{whom} failed: {found.get('Message') or 'no reason given'}")
            job = jobs.newest(snapshot_id)
            progress.update(f"{whom}: {found.get('Progress', '')} {describe_step(job) if job else ''}".rstrip())


def _one(client: Client, snapshot_id: str) -> Json:
    answer = client.regional("DescribeSnapshots", SnapshotIds=json.dumps([snapshot_id]))
    found = unwrap(answer, "Snapshots.Snapshot")
    if not found:
        raise NotFound(f"there is no snapshot {snapshot_id!r}")
    return found[0]


@command("ls")
@click.option(
    "--disk", metavar="DISK", help="Only of this disk; by its id also when it is gone.", shell_complete=names("disk")
)
@click.option("--instance", metavar="NAME", help="Only of disks of this instance.", shell_complete=names("instance"))
@click.option("--type", "kind", type=click.Choice(["manual", "automatic"]))
@click.option("--status", type=click.Choice(["progressing", "accomplished", "failed"]))
@click.option("--tag", "wanted", multiple=True, metavar="KEY[=VALUE]", help="Only with this tag.")
def ls(
    app: App, disk: str | None, instance: str | None, kind: str | None, status: str | None, wanted: tuple[str, ...]
) -> None:
    """List snapshots, the newest first."""
    found = describe(
        app.client,
        SNAPSHOT,
        DiskId=disk and find_id(app.client, DISK, disk),
        InstanceId=instance and find_id(app.client, INSTANCE, instance),
        SnapshotType={"manual": "user", "automatic": "auto"}.get(kind or ""),
        Status=status,
        Tag=tag_filter(parse_tags(wanted)),
    )
    if not storage_usage.wanted(app.output, app.query):
        app.emit_list(found, VIEW)
        return
    known = storage_usage.add(app.client, found, "Snapshot")
    app.emit_list(known, storage_usage.shown(VIEW, *storage_usage.SNAPSHOT_COLUMNS))


@command("show")
@_name
def show(app: App, name: str) -> None:
    """Show one snapshot."""
    app.emit_item(_one(app.client, find_id(app.client, SNAPSHOT, name)), VIEW)


@command("set")
@_name
@click.option("--name", "new_name", metavar="TEXT")
@click.option("--description", metavar="TEXT", help="'' for none.")
def set_(app: App, name: str, new_name: str | None, description: str | None) -> None:
    """Change a snapshot's name or description."""
    if new_name is None and description is None:
        raise UsageFault("nothing to change: give --name or --description")
    snapshot_id = find_id(app.client, SNAPSHOT, name)
    app.client.call("ModifySnapshotAttribute", SnapshotId=snapshot_id, SnapshotName=new_name, Description=description)
    if app.output or app.query:
        app.emit_item(_one(app.client, snapshot_id), VIEW)


@command("delete")
@click.argument("snapshots", metavar="NAME...", nargs=-1, required=True, shell_complete=names("snapshot"))
@click.option("--force", is_flag=True, help="Also when disks were made of it; they can then not be re-initialised.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask (asked on a terminal only).")
def delete(app: App, snapshots: tuple[str, ...], force: bool, yes: bool) -> None:
    """Delete snapshots for good. Other snapshots and the disks stay whole."""
    ids = find_ids(app.client, SNAPSHOT, snapshots)
    confirm(f"Delete {', '.join(snapshots)} for good?", yes=yes)
    for snapshot_id in ids:
        try:
            app.client.call("DeleteSnapshot", SnapshotId=snapshot_id, Force=force or None)
        except ApiError as error:
            if error.code == "SnapshotCreatedDisk":
                error.advice = "that is --force"
            raise


snapshot = LazyGroup(
    "snapshot",
    help="Snapshots of disks.",
    lazy={
        "create": (__name__, "create", "Take a snapshot of a disk."),
        "ls": (__name__, "ls", "List snapshots."),
        "show": (__name__, "show", "Show one snapshot."),
        "set": (__name__, "set_", "Change a snapshot's name or description."),
        "delete": (__name__, "delete", "Delete snapshots."),
    },
)
