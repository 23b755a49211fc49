"""`ecsctl version`."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import click

from ecsctl.cli import App, command
from ecsctl.client import OWN
from ecsctl.errors import CliError
from ecsctl.output import Column, View

VIEW = View(columns=(Column("ecsctl", "ecsctl"), Column("agent", "agent")), name=("ecsctl",))


@command("version")
@click.option("--client-only", is_flag=True, help="Do not ask the agent.")
def version(app: App, client_only: bool) -> None:
    """Versions of ecsctl and of the agent."""
    found = {"ecsctl": _own()}
    if not client_only:
        try:
            found["agent"] = str(app.client.call("DescribeHost", OWN)["Host"]["Version"])
        except CliError as error:
            click.echo(f"the agent's version is not known: {error}", err=True)
    app.emit_item(found, VIEW)


def _own() -> str:
    try:
        return installed("ecsctl")
    except PackageNotFoundError:
        return "source tree, not installed"
