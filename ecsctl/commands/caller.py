"""`ecsctl caller`."""

from __future__ import annotations

from ecsctl.cli import App, command
from ecsctl.client import STS
from ecsctl.output import Column, View

VIEW = View(
    columns=(
        Column("ARN", "Arn"),
        Column("TYPE", "IdentityType"),
        Column("ACCOUNT", "AccountId"),
        Column("ID", "PrincipalId"),
    ),
    name=("Arn",),
)


@command("caller")
def caller(app: App) -> None:
    """Show as whom the agent sees you."""
    app.emit_item(app.client.call("GetCallerIdentity", STS), VIEW)
