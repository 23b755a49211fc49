"""`ecsctl disk reinit` and `rollback`: what the disk holds is lost."""

from __future__ import annotations

from typing import Any

import click

from ecsctl import known_hosts
from ecsctl.cli import App, command
from ecsctl.client import Client, Json
from ecsctl.commands.common import confirm, wait_options
from ecsctl.commands.instance_input import password_of, password_options
from ecsctl.completion import names
from ecsctl.disk_waiting import describe_disk, wait_disk
from ecsctl.errors import ApiError, NotFound
from ecsctl.resolve import DISK, SNAPSHOT, find_id
from ecsctl.waiting import state_goal, wait_instances

_TIMEOUT = 300

_name = click.argument("name", shell_complete=names("disk"))
_yes = click.option("-y", "--yes", is_flag=True, help="Do not ask (asked on a terminal only).")
_start = click.option("--start", is_flag=True, help="Start the instance when that is done.")


@command("reinit")
@_name
@click.option("--key-pair", metavar="NAME", help="Who may log in to a new system.", shell_complete=names("key-pair"))
@click.option("--password", "ask_password", is_flag=True, help="Ask for the password of a new system.")
@password_options
@_start
@_yes
@wait_options(_TIMEOUT)
def reinit(
    app: App, name: str, key_pair: str | None, start: bool, yes: bool, wait: bool, timeout: float, **given: Any
) -> None:
    """Let a disk of a stopped instance begin again: a system disk as its image, a data disk as the snapshot that it was
    made of, or empty.

    Id, address and snapshots stay. A system disk needs a new password or a key pair.
    """
    disk = _describe(app.client, name)
    password = password_of(given)
    confirm(f"Initialise {name} again? All data on it is lost.", yes=yes)
    parameters = {"Password": password or None, "KeyPairName": key_pair, "AutoStartInstance": start or None}
    answer = _replace(app.client, "ReInitDisk", disk, **parameters)
    if disk.get("Type") == "system":
        known_hosts.renew(str(disk["InstanceId"]))
    _finish(app.client, disk, "reinit", answer, timeout if wait else 0, start)


@command("rollback")
@_name
@click.argument("snapshot", shell_complete=names("snapshot"))
@_start
@_yes
@wait_options(_TIMEOUT)
def rollback(app: App, name: str, snapshot: str, start: bool, yes: bool, wait: bool, timeout: float) -> None:
    """Roll a disk back to one of its own snapshots. Its instance must be stopped, if it has one."""
    disk = _describe(app.client, name)
    snapshot_id = find_id(app.client, SNAPSHOT, snapshot, DiskId=disk["DiskId"])
    confirm(f"Roll {name} back to {snapshot}? What was written since is lost.", yes=yes)
    answer = _replace(app.client, "ResetDisk", disk, SnapshotId=snapshot_id, AutoStartInstance=start or None)
    _finish(app.client, disk, "rollback", answer, timeout if wait else 0, start)


def _describe(client: Client, name: str) -> Json:
    found = describe_disk(client, find_id(client, DISK, name))
    if found is None:
        raise NotFound(f"there is no disk {name!r}")
    return found


def _replace(client: Client, action: str, disk: Json, **parameters: Any) -> Json:
    try:
        return client.call(action, DiskId=disk["DiskId"], **parameters)
    except ApiError as error:
        if error.code == "IncorrectInstanceStatus":
            error.advice = f"stop it first (`ecsctl instance stop {disk['InstanceId']}`)"
        raise


def _finish(client: Client, disk: Json, doing: str, answer: Json, timeout: float, start: bool) -> None:
    if not timeout:
        return
    wait_disk(client, str(disk["DiskId"]), doing, answer, timeout)
    if start:
        wait_instances(client, [str(disk["InstanceId"])], state_goal("Running"), "start", timeout=timeout)
