"""`ecsctl instance start`, `stop`, `reboot`, `release`."""

from __future__ import annotations

from typing import Any

import click

from ecsctl.cli import App, command
from ecsctl.client import Client
from ecsctl.commands.common import confirm, wait_options
from ecsctl.completion import names
from ecsctl.errors import ApiError
from ecsctl.known_hosts import forget
from ecsctl.resolve import INSTANCE, find_ids
from ecsctl.waiting import Goal, rebooted, released, state_goal, wait_instances

_TIMEOUT = 600

_names = click.argument("instances", metavar="NAME...", nargs=-1, required=True, shell_complete=names("instance"))


@command("start")
@_names
@wait_options(_TIMEOUT)
def start(app: App, instances: tuple[str, ...], wait: bool, timeout: float) -> None:
    """Start stopped instances."""
    _operate(app.client, "Start", instances, state_goal("Running"), timeout if wait else 0)


@command("stop")
@_names
@click.option("--force", is_flag=True, help="Like pulling the plug: no shutdown by the guest.")
@wait_options(_TIMEOUT)
def stop(app: App, instances: tuple[str, ...], force: bool, wait: bool, timeout: float) -> None:
    """Stop running instances: shutdown with a grace time, then hard."""
    _operate(app.client, "Stop", instances, state_goal("Stopped"), timeout if wait else 0, ForceStop=force or None)


@command("reboot")
@_names
@click.option("--force", is_flag=True, help="No shutdown by the guest.")
@wait_options(_TIMEOUT)
def reboot(app: App, instances: tuple[str, ...], force: bool, wait: bool, timeout: float) -> None:
    """Shut running instances down and start them anew."""
    forced = {"ForceReboot" if len(instances) > 1 else "ForceStop": True} if force else {}
    _operate(app.client, "Reboot", instances, rebooted, timeout if wait else 0, **forced)


@command("release")
@_names
@click.option("--force", is_flag=True, help="Also when it runs.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask (asked on a terminal only).")
@wait_options(_TIMEOUT)
def release(app: App, instances: tuple[str, ...], force: bool, yes: bool, wait: bool, timeout: float) -> None:
    """Delete instances for good, with their addresses and the disks marked so."""
    confirm(f"Release {', '.join(instances)} with system disk and data?", yes=yes)
    for instance_id in _operate(app.client, "Delete", instances, released, timeout if wait else 0, Force=force or None):
        forget(instance_id)


def _operate(
    client: Client, verb: str, texts: tuple[str, ...], goal: Goal, timeout: float, **parameters: Any
) -> list[str]:
    """Call `<verb>Instance` for one, `<verb>Instances` for several at once; wait up to `timeout` seconds (0: not
    at all). The ids."""
    ids = find_ids(client, INSTANCE, texts)
    doing = {"Delete": "release"}.get(verb, verb.lower())
    try:
        if len(ids) == 1:
            answer = client.call(f"{verb}Instance", InstanceId=ids[0], **parameters)
        else:
            answer = client.regional(f"{verb}Instances", InstanceId=ids, **parameters)
    except ApiError as error:
        if error.code.startswith("IncorrectInstanceStatus") and verb == "Delete":
            error.advice = "stop it first (`ecsctl instance stop`) or add --force"
        raise
    if timeout:
        wait_instances(client, ids, goal, doing, request_id=str(answer.get("RequestId", "")), timeout=timeout)
    return ids
