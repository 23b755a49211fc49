"""`ecsctl config`: profiles. The access key, the environment and ssh are in modules beside."""

from __future__ import annotations

import sys

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.config import KEYS, SECRET, ConfigFile
from ecsctl.errors import NotFound, UsageFault
from ecsctl.output import Column, View

_SETTINGS = View(columns=(Column("KEY", "Key"), Column("VALUE", "Value"), Column("FROM", "From")), name=("Value",))
_PROFILES = View(
    columns=(
        Column("NAME", "Name"),
        Column("CURRENT", "Current"),
        Column("ENDPOINT", "Endpoint"),
        Column("REGION", "Region"),
        Column("ACCESS KEY", "AccessKeyId"),
    ),
    name=("Name",),
)
_key = click.argument("key", type=click.Choice(list(KEYS)))


def _profile_name(app: App) -> str:
    """The profile that is written: the one named by flag or environment even if it is new, else the current one."""
    import os

    return app.flags.get("profile") or os.environ.get("ECSCTL_PROFILE") or app.file.current


@command("show")
def show(app: App) -> None:
    """Show the settings in use and where they come from; the secret is masked."""
    settings = app.settings
    rows = [{"Key": "profile", "Value": settings.profile, "From": str(ConfigFile.path())}]
    for key in KEYS:
        value = str(getattr(settings, key))
        if value:
            shown = "*" * 8 if key == SECRET else value
            rows.append({"Key": key, "Value": shown, "From": settings.origins.get(key, "")})
    app.emit_list(rows, _SETTINGS)


@command("get")
@_key
def get(app: App, key: str) -> None:
    """Print one setting as it is in use."""
    value = str(getattr(app.settings, key))
    if not value:
        raise NotFound(f"{key} is not set in profile {app.settings.profile!r}")
    click.echo(value)


@command("set")
@_key
@click.argument("value", required=False)
def set_(app: App, key: str, value: str | None) -> None:
    """Change one setting of the profile; an empty VALUE removes it. The secret is asked for, or read from stdin."""
    if key == SECRET and value:
        raise UsageFault("other users could see the secret in the list of processes: leave it out, it is asked for")
    if value is None:
        value = click.prompt(key, hide_input=key == SECRET, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    file = app.file
    file.profile(_profile_name(app))[key] = str(value).strip()
    file.save()


@command("profiles")
def profiles(app: App) -> None:
    """List the profiles."""
    rows = [
        {
            "Name": name,
            "Current": name == app.file.current,
            "Endpoint": values.get("endpoint", ""),
            "Region": values.get("region", ""),
            "AccessKeyId": values.get("access_key_id", ""),
        }
        for name, values in sorted(app.file.profiles.items())
    ]
    app.emit_list(rows, _PROFILES)


@command("use")
@click.argument(
    "name",
    shell_complete=lambda ctx, param, incomplete: [n for n in ConfigFile.load().profiles if n.startswith(incomplete)],
)
def use(app: App, name: str) -> None:
    """Make a profile the one that is used when none is named."""
    if name not in app.file.profiles:
        raise NotFound(f"there is no profile {name!r}; known: {', '.join(sorted(app.file.profiles)) or 'none yet'}")
    app.file.current = name
    app.file.save()


config = LazyGroup(
    "config",
    help="Profiles, access key, environment and ssh configuration.",
    lazy={
        "init": ("ecsctl.commands.config_init", "init", "Get an access key and write the profile."),
        "show": (__name__, "show", "Show the settings in use."),
        "get": (__name__, "get", "Print one setting."),
        "set": (__name__, "set_", "Change one setting."),
        "profiles": (__name__, "profiles", "List profiles."),
        "use": (__name__, "use", "Choose the current profile."),
        "env": ("ecsctl.commands.config_init", "env", "Print export lines for SDKs and scripts."),
        "ssh": ("ecsctl.commands.config_ssh", "ssh", "Let plain ssh, scp and rsync reach NAME.ecs."),
    },
)
