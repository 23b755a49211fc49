"""`ecsctl role`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import RAM, STS, unwrap
from ecsctl.commands.common import read_text
from ecsctl.errors import UsageFault
from ecsctl.output import Column, Row, View
from ecsctl.ram import listed, role_names

ECS_SERVICE = "ecs.aliyuncs.com"


def _trusted(item: Row) -> str:
    """Who may assume the role, in short."""
    document = json.loads(item.get("AssumeRolePolicyDocument") or "{}")
    statements = document.get("Statement", [])
    found: list[str] = []
    for statement in statements if isinstance(statements, list) else [statements]:
        for names in statement.get("Principal", {}).values():
            found += [names] if isinstance(names, str) else names
    return ", ".join(found)


VIEW = View(
    columns=(
        Column("NAME", "RoleName"),
        Column("DESCRIPTION", "Description"),
        Column("MAX SESSION", "MaxSessionDuration"),
        Column("CREATED", "CreateDate"),
        Column("ID", "RoleId", wide=True),
        Column("ARN", "Arn", wide=True),
    ),
    name=("RoleName",),
)
SHOWN = View(
    columns=(*VIEW.columns, Column("TRUSTED", _trusted), Column("POLICIES", "Policies")),
    name=VIEW.name,
)

_name = click.argument("name", shell_complete=role_names())


@command("create")
@click.argument("name")
@click.option("--service", "services", multiple=True, metavar="NAME", help=f"Trust a service, such as {ECS_SERVICE}.")
@click.option("--account", "accounts", multiple=True, metavar="ID", help="Trust an account.")
@click.option(
    "--trust-policy", type=click.Path(path_type=Path), metavar="FILE", help="A whole trust policy ('-': stdin)."
)
@click.option("--max-session", type=int, metavar="SECONDS", help="3600 to 43200; default 3600.")
@click.option("--description", metavar="TEXT")
def create(
    app: App,
    name: str,
    services: tuple[str, ...],
    accounts: tuple[str, ...],
    trust_policy: Path | None,
    max_session: int | None,
    description: str | None,
) -> None:
    """Create a role. Unless told otherwise it trusts instances (the service ECS) and this account."""
    if trust_policy is not None and (services or accounts):
        raise UsageFault("give --trust-policy, or --service and --account, not both")
    if trust_policy is not None:
        document = read_text(trust_policy)
    else:
        if not services and not accounts:
            services = (ECS_SERVICE,)
            accounts = (str(app.client.call("GetCallerIdentity", STS)["AccountId"]),)
        document = _trust(services, accounts)
    answer = app.client.call(
        "CreateRole",
        RAM,
        RoleName=name,
        AssumeRolePolicyDocument=document,
        MaxSessionDuration=max_session,
        Description=description,
    )
    if app.output or app.query:
        app.emit_item(answer["Role"], VIEW)


@command("ls")
def ls(app: App) -> None:
    """List roles."""
    app.emit_list(list(listed(app.client, "ListRoles", "Roles.Role")), VIEW)


@command("show")
@_name
def show(app: App, name: str) -> None:
    """Show one role: whom it trusts, and its policies."""
    role = app.client.call("GetRole", RAM, RoleName=name)["Role"]
    policies = unwrap(app.client.call("ListPoliciesForRole", RAM, RoleName=name), "Policies.Policy")
    app.emit_item(role | {"Policies": [one["PolicyName"] for one in policies]}, SHOWN)


@command("delete")
@click.argument("roles", metavar="NAME...", nargs=-1, required=True, shell_complete=role_names())
def delete(app: App, roles: tuple[str, ...]) -> None:
    """Delete roles; their credentials end at once. Not while they have policies, or an instance has them."""
    for name in dict.fromkeys(roles):
        app.client.call("DeleteRole", RAM, RoleName=name)


@command("assume")
@click.argument("name", metavar="NAME|ARN", shell_complete=role_names())
@click.option("--session", default="ecsctl", show_default=True, metavar="TEXT", help="Its name in the audit log.")
@click.option("--duration", type=int, metavar="SECONDS", help="900 up to the role's maximum; default 3600.")
@click.option("--policy", type=click.Path(path_type=Path), metavar="FILE", help="Narrow what it may do ('-': stdin).")
def assume(app: App, name: str, session: str, duration: int | None, policy: Path | None) -> None:
    """Print temporary credentials of a role, as lines for a shell: eval "$(ecsctl role assume NAME)"."""
    arn = name
    if not name.startswith("acs:"):
        arn = f"acs:ram::{app.client.call('GetCallerIdentity', STS)['AccountId']}:role/{name}"
    answer = app.client.call(
        "AssumeRole",
        STS,
        RoleArn=arn,
        RoleSessionName=session,
        DurationSeconds=duration,
        Policy=read_text(policy) if policy else None,
    )
    if app.output or app.query:
        app.emit_item(answer, View((Column("ARN", "AssumedRoleUser.Arn"),), ("AssumedRoleUser.Arn",)))
        return
    given = answer["Credentials"]
    for variable, value in (
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", given["AccessKeyId"]),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", given["AccessKeySecret"]),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", given["SecurityToken"]),
    ):
        click.echo(f"export {variable}={shlex.quote(value)}")
    click.echo(f"good until {given['Expiration']}", err=True)


def _trust(services: tuple[str, ...], accounts: tuple[str, ...]) -> str:
    principal: dict[str, list[str]] = {}
    if services:
        principal["Service"] = list(services)
    if accounts:
        principal["RAM"] = [f"acs:ram::{account}:root" for account in accounts]
    statement = {"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": principal}
    return json.dumps({"Statement": [statement], "Version": "1"})


role = LazyGroup(
    "role",
    help="RAM roles: what programs may do, and who may act as them.",
    lazy={
        "create": (__name__, "create", "Create a role."),
        "ls": (__name__, "ls", "List roles."),
        "show": (__name__, "show", "Show one role."),
        "delete": (__name__, "delete", "Delete roles."),
        "assume": (__name__, "assume", "Print temporary credentials of a role."),
    },
)
