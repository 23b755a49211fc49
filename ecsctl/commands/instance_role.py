"""`ecsctl instance role` and `ecsctl instance metadata-options`."""

from __future__ import annotations

import json

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import Json, unwrap
from ecsctl.completion import names
from ecsctl.errors import CliError
from ecsctl.output import Column, View
from ecsctl.ram import role_names
from ecsctl.resolve import INSTANCE, find_id, find_ids
from ecsctl.waiting import describe_ids

VIEW = View(columns=(Column("INSTANCE", "InstanceId"), Column("ROLE", "RamRoleName")), name=("RamRoleName",))
OPTIONS = View(
    columns=(Column("SERVICE", "HttpEndpoint"), Column("TOKENS", "HttpTokens")),
    name=("HttpTokens",),
)

_instances = click.argument("instances", metavar="NAME...", nargs=-1, required=True, shell_complete=names("instance"))


@command("attach")
@_instances
@click.argument("role", shell_complete=role_names())
def attach(app: App, instances: tuple[str, ...], role: str) -> None:
    """Let programs in instances act as a role, which must trust ecs.aliyuncs.com."""
    ids = json.dumps(find_ids(app.client, INSTANCE, instances))
    answer = app.client.regional("AttachInstanceRamRole", InstanceIds=ids, RamRoleName=role)
    _complain(unwrap(answer, "AttachInstanceRamRoleResults.AttachInstanceRamRoleResult"))


@command("detach")
@_instances
def detach(app: App, instances: tuple[str, ...]) -> None:
    """Take their role from instances; credentials that programs hold are good until they expire."""
    ids = json.dumps(find_ids(app.client, INSTANCE, instances))
    answer = app.client.regional("DetachInstanceRamRole", InstanceIds=ids)
    _complain(unwrap(answer, "DetachInstanceRamRoleResults.DetachInstanceRamRoleResult"))


@command("show")
@_instances
def show(app: App, instances: tuple[str, ...]) -> None:
    """Show the roles of instances."""
    ids = json.dumps(find_ids(app.client, INSTANCE, instances))
    found = app.client.items("DescribeInstanceRamRole", "InstanceRamRoleSets.InstanceRamRoleSet", InstanceIds=ids)
    app.emit_list(list(found), VIEW)


def _complain(results: list[Json]) -> None:
    failed = [str(one.get("Message")) for one in results if not one.get("Success")]
    if failed:
        raise CliError(f"{len(failed)} of {len(results)} instances: {' '.join(failed)}")


@command("metadata-options")
@click.argument("name", shell_complete=names("instance"))
@click.option("--tokens", type=click.Choice(["optional", "required"]), help="`required` is the hardened mode.")
@click.option("--enabled/--disabled", default=None, help="Switch the metadata service on or off.")
def metadata_options(app: App, name: str, tokens: str | None, enabled: bool | None) -> None:
    """Show or change how the metadata service answers an instance; effective at once."""
    instance_id = find_id(app.client, INSTANCE, name)
    if tokens is not None or enabled is not None:
        endpoint = None if enabled is None else "enabled" if enabled else "disabled"
        app.client.regional(
            "ModifyInstanceMetadataOptions", InstanceId=instance_id, HttpTokens=tokens, HttpEndpoint=endpoint
        )
    else:
        app.emit_item(describe_ids(app.client, [instance_id])[0]["MetadataOptions"], OPTIONS)


role = LazyGroup(
    "role",
    help="The RAM role of instances.",
    lazy={
        "attach": (__name__, "attach", "Let programs in instances act as a role."),
        "detach": (__name__, "detach", "Take their role from instances."),
        "show": (__name__, "show", "Show the roles of instances."),
    },
)
