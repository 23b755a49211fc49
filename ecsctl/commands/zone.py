"""`ecsctl zone`."""

from __future__ import annotations

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import unwrap
from ecsctl.output import Column, View

VIEW = View(
    columns=(
        Column("ID", "ZoneId"),
        Column("NAME", "LocalName"),
        Column("DISK CATEGORIES", "AvailableDiskCategories.DiskCategories"),
        Column("INSTANCE TYPES", "AvailableInstanceTypes.InstanceTypes", wide=True),
    ),
    name=("ZoneId",),
)


@command("ls")
def ls(app: App) -> None:
    """List the zones of the region."""
    app.emit_list(unwrap(app.client.regional("DescribeZones"), "Zones.Zone"), VIEW)


zone = LazyGroup("zone", help="Zones of the region.", lazy={"ls": (__name__, "ls", "List zones.")})
