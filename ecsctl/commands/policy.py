"""`ecsctl policy`."""

from __future__ import annotations

from pathlib import Path

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import RAM, Client
from ecsctl.commands.common import read_text
from ecsctl.errors import NotFound
from ecsctl.output import Column, View
from ecsctl.ram import listed, policy_names, role_names

VIEW = View(
    columns=(
        Column("NAME", "PolicyName"),
        Column("TYPE", "PolicyType"),
        Column("ATTACHED", "AttachmentCount"),
        Column("DESCRIPTION", "Description"),
        Column("UPDATED", "UpdateDate", wide=True),
    ),
    name=("PolicyName",),
)

_policy = click.argument("name", metavar="POLICY", shell_complete=policy_names())
_role = click.argument("role", shell_complete=role_names())


@command("create")
@click.argument("name")
@click.option("--file", "file", type=click.Path(path_type=Path), required=True, help="The document ('-': stdin).")
@click.option("--description", metavar="TEXT")
def create(app: App, name: str, file: Path, description: str | None) -> None:
    """Create a policy from its JSON document."""
    document = read_text(file)
    answer = app.client.call("CreatePolicy", RAM, PolicyName=name, PolicyDocument=document, Description=description)
    if app.output or app.query:
        app.emit_item(answer["Policy"], VIEW)


@command("ls")
@click.option("--type", "policy_type", type=click.Choice(["System", "Custom"]), help="Only those of one type.")
def ls(app: App, policy_type: str | None) -> None:
    """List policies: the system's and the account's own."""
    app.emit_list(list(listed(app.client, "ListPolicies", "Policies.Policy", PolicyType=policy_type)), VIEW)


@command("show")
@_policy
def show(app: App, name: str) -> None:
    """Print a policy's document."""
    found = app.client.call("GetPolicy", RAM, PolicyName=name, PolicyType=_type_of(app.client, name))
    if app.output or app.query:
        app.emit_item(found, VIEW)
    else:
        click.echo(found["DefaultPolicyVersion"]["PolicyDocument"])


@command("delete")
@click.argument("policies", metavar="NAME...", nargs=-1, required=True, shell_complete=policy_names("Custom"))
def delete(app: App, policies: tuple[str, ...]) -> None:
    """Delete policies of the account; not while they are attached."""
    for name in dict.fromkeys(policies):
        app.client.call("DeletePolicy", RAM, PolicyName=name)


@command("attach")
@_policy
@_role
def attach(app: App, name: str, role: str) -> None:
    """Let a role do what a policy says."""
    _change(app.client, "AttachPolicyToRole", name, role)


@command("detach")
@_policy
@_role
def detach(app: App, name: str, role: str) -> None:
    """Take a policy from a role; effective at its next call."""
    _change(app.client, "DetachPolicyFromRole", name, role)


def _change(client: Client, action: str, name: str, role: str) -> None:
    client.call(action, RAM, PolicyName=name, PolicyType=_type_of(client, name), RoleName=role)


def _type_of(client: Client, name: str) -> str:
    """System or Custom: no two policies of an account have one name."""
    for policy in listed(client, "ListPolicies", "Policies.Policy"):
        if policy["PolicyName"] == name:
            return str(policy["PolicyType"])
    raise NotFound(f"there is no policy named {name!r}")


policy = LazyGroup(
    "policy",
    help="RAM policies: what is allowed and what is not.",
    lazy={
        "create": (__name__, "create", "Create a policy from its document."),
        "ls": (__name__, "ls", "List policies."),
        "show": (__name__, "show", "Print a policy's document."),
        "delete": (__name__, "delete", "Delete policies."),
        "attach": (__name__, "attach", "Attach a policy to a role."),
        "detach": (__name__, "detach", "Detach a policy from a role."),
    },
)
