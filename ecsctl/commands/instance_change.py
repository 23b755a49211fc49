"""`ecsctl instance set`, `password` and `user-data`."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import click

from ecsctl.cli import App, command
from ecsctl.client import OWN
from ecsctl.commands.instance_input import password_of, password_options, user_data_of
from ecsctl.commands.instance_list import VIEW
from ecsctl.completion import names
from ecsctl.errors import ApiError, UsageFault
from ecsctl.output import View
from ecsctl.resolve import INSTANCE, SECURITY_GROUP, find_id, find_ids
from ecsctl.waiting import describe_ids, wait_job

_NOW_SECONDS = 120.0

_name = click.argument("name", shell_complete=names("instance"))


@command("set")
@_name
@click.option("--name", "new_name", metavar="TEXT", help="The name shown here; the guest does not learn of it.")
@click.option("--description", metavar="TEXT", help="'' for none.")
@click.option("--host-name", metavar="TEXT", help="From the next console restart on.")
@click.option(
    "--user-data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Of a stopped instance ('-': stdin). cloud-init runs user data once: only a guest that never booted runs it.",
)
@click.option(
    "--security-group",
    "groups",
    multiple=True,
    metavar="NAME",
    help="All that it is in from now on, at once; may be repeated.",
    shell_complete=names("security-group"),
)
@click.option("--deletion-protection/--no-deletion-protection", default=None, help="Whether release is refused.")
def set_(app: App, name: str, new_name: str | None, user_data: Path | None, **given: Any) -> None:
    """Change an instance. A new host name takes effect at the next console restart (`ecsctl instance reboot NAME`)."""
    changes = {
        "InstanceName": new_name,
        "Description": given["description"],
        "HostName": given["host_name"],
        "UserData": user_data_of(user_data),
        "DeletionProtection": given["deletion_protection"],
        "SecurityGroupIds": list(find_ids(app.client, SECURITY_GROUP, given["groups"])) or None,
    }
    if all(value is None for value in changes.values()):
        raise UsageFault("nothing to change: give at least one option (see --help)")
    instance_id = find_id(app.client, INSTANCE, name)
    try:
        app.client.call("ModifyInstanceAttribute", InstanceId=instance_id, **changes)
    except ApiError as error:
        if error.code == "IncorrectInstanceStatus" and user_data:
            error.advice = f"user data needs a stopped instance: `ecsctl instance stop {name}` first"
        raise
    report_pending(app, [instance_id], "the new host name" if given["host_name"] else "")


@command("password")
@click.argument("instances", metavar="NAME...", nargs=-1, required=True, shell_complete=names("instance"))
@password_options
@click.option(
    "--now",
    is_flag=True,
    help="An extra: at once as well, by the guest agent of each (Linux only); where none runs nothing is changed. "
    "Where SSH takes no passwords, it still does not until the next console restart; the console does.",
)
def password(app: App, instances: tuple[str, ...], now: bool, **given: Any) -> None:
    """Reset the password of root or Administrator, asking for it unless it is given otherwise.

    It takes effect at the next console restart (`ecsctl instance reboot NAME`), not before and not by a restart inside
    the guest. Several instances get the same password and must be in the same state: all are changed or none.
    """
    asked = not given["password_stdin"] and given["password_file"] is None
    ids = find_ids(app.client, INSTANCE, instances)
    wanted = password_of({**given, "ask_password": asked})
    answer = app.client.regional("ResetInstancePasswords", OWN, InstanceId=ids, Password=wanted, Now=now or None)
    for job_id in answer["JobIds"]["JobId"]:
        wait_job(app.client, job_id, "the password reset", _NOW_SECONDS)
    report_pending(app, ids, "" if now else "the new password")


@command("user-data")
@_name
def user_data(app: App, name: str) -> None:
    """Print the user data of an instance as it was given."""
    answer = app.client.regional("DescribeUserData", InstanceId=find_id(app.client, INSTANCE, name))
    if app.output or app.query:
        app.emit_item(answer, View(columns=(), name=("UserData",)))
        return
    sys.stdout.buffer.write(base64.b64decode(answer["UserData"]))


def report_pending(app: App, ids: list[str], what: str) -> None:
    """Show the instances if a format was asked for, and say when `what` will be in effect; empty: there is nothing."""
    found = describe_ids(app.client, ids) if what or app.output or app.query else []
    if app.output or app.query:
        app.emit_list(found, VIEW)
    for verb, states in (("reboot", ("Running",)), ("start", ("Stopped",))) if what else ():
        waiting = [str(item.get("InstanceName") or item["InstanceId"]) for item in found if item["Status"] in states]
        if waiting:
            click.echo(f"{what} takes effect by `ecsctl instance {verb} {' '.join(waiting)}`, not before", err=True)
