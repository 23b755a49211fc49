"""`ecsctl region`."""

from __future__ import annotations

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import unwrap
from ecsctl.output import Column, View

VIEW = View(
    columns=(Column("ID", "RegionId"), Column("NAME", "LocalName"), Column("ENDPOINT", "RegionEndpoint")),
    name=("RegionId",),
)


@command("ls")
def ls(app: App) -> None:
    """List regions."""
    app.emit_list(unwrap(app.client.call("DescribeRegions"), "Regions.Region"), VIEW)


region = LazyGroup("region", help="Regions.", lazy={"ls": (__name__, "ls", "List regions.")})
