"""`ecsctl tag`. A RESOURCE is an id, NOUN/NAME such as `image/web`, or the name of an instance."""

from __future__ import annotations

from typing import Any

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import Client, Json, unwrap
from ecsctl.commands.common import tag_values
from ecsctl.completion import names
from ecsctl.errors import UsageFault
from ecsctl.output import Column, View
from ecsctl.resolve import BY_NOUN, INSTANCE, Kind, find_id, find_image

VIEW = View(
    columns=(
        Column("KEY", "TagKey"),
        Column("VALUE", "TagValue"),
        Column("TYPE", "ResourceType"),
        Column("RESOURCE", "ResourceId"),
    ),
    name=("TagKey",),
)

_resource = click.argument("resource", shell_complete=names("instance"))


@command("add")
@_resource
@click.argument("tags", metavar="KEY=VALUE...", nargs=-1, required=True)
def add(app: App, resource: str, tags: tuple[str, ...]) -> None:
    """Set tags; a key that is there gets the new value."""
    kind, resource_id = _resolve(app.client, resource)
    app.client.regional("TagResources", ResourceType=kind.tag_type, ResourceId=[resource_id], Tag=tag_values(tags))


@command("rm")
@_resource
@click.argument("keys", metavar="KEY...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All tags.")
def rm(app: App, resource: str, keys: tuple[str, ...], every: bool) -> None:
    """Remove tags by key."""
    if every == bool(keys):
        raise UsageFault("give the keys to remove, or --all")
    kind, resource_id = _resolve(app.client, resource)
    what: dict[str, Any] = {"All": True} if every else {"TagKey": list(keys)}
    app.client.regional("UntagResources", ResourceType=kind.tag_type, ResourceId=[resource_id], **what)


@command("ls")
@_resource
def ls(app: App, resource: str) -> None:
    """List the tags of a resource."""
    kind, resource_id = _resolve(app.client, resource)
    found: list[Json] = []
    token: str | None = None
    while True:
        answer = app.client.regional(
            "ListTagResources",
            ResourceType=kind.tag_type,
            ResourceId=[resource_id],
            NextToken=token,
        )
        found += unwrap(answer, "TagResources.TagResource")
        token = answer.get("NextToken")
        if not token:
            break
    app.emit_list(found, VIEW)


def _resolve(client: Client, text: str) -> tuple[Kind, str]:
    for kind in BY_NOUN.values():
        if kind.is_id(text):
            return kind, text
    noun, slash, name = text.partition("/")
    if not slash:
        return INSTANCE, find_id(client, INSTANCE, text)
    if noun not in BY_NOUN:
        raise UsageFault(f"resource {text!r}: {noun!r} must be one of {', '.join(BY_NOUN)}")
    kind = BY_NOUN[noun]
    return kind, find_image(client, name) if noun == "image" else find_id(client, kind, name)


tag = LazyGroup(
    "tag",
    help="Tags of resources: an id, NOUN/NAME, or the name of an instance.",
    lazy={
        "add": (__name__, "add", "Set tags of a resource."),
        "rm": (__name__, "rm", "Remove tags of a resource."),
        "ls": (__name__, "ls", "List tags."),
    },
)
