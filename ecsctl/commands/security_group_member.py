"""`ecsctl security-group join` and `leave`."""

from __future__ import annotations

import click

from ecsctl.cli import App, command
from ecsctl.completion import names
from ecsctl.resolve import INSTANCE, SECURITY_GROUP, find_id, find_ids

_group = click.argument("group", shell_complete=names("security-group"))
_instances = click.argument(
    "instances", metavar="INSTANCE...", nargs=-1, required=True, shell_complete=names("instance")
)


@command("join")
@_group
@_instances
def join(app: App, group: str, instances: tuple[str, ...]) -> None:
    """Put instances into a group, beside those that they are in. In force at once, also for running ones."""
    _each(app, "JoinSecurityGroup", group, instances)


@command("leave")
@_group
@_instances
def leave(app: App, group: str, instances: tuple[str, ...]) -> None:
    """Take instances out of a group. Each stays in one at least (`ecsctl instance set --security-group` replaces)."""
    _each(app, "LeaveSecurityGroup", group, instances)


def _each(app: App, action: str, group: str, instances: tuple[str, ...]) -> None:
    group_id = find_id(app.client, SECURITY_GROUP, group)
    for instance_id in find_ids(app.client, INSTANCE, instances):
        app.client.regional(action, SecurityGroupId=group_id, InstanceId=instance_id)
