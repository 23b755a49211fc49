"""`ecsctl type`: instance types."""

from __future__ import annotations

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import unwrap
from ecsctl.output import Column, View

VIEW = View(
    columns=(
        Column("TYPE", "InstanceTypeId"),
        Column("CPU", "CpuCoreCount"),
        Column("MEMORY GIB", lambda item: f"{item['MemorySize']:g}"),
        Column("FAMILY", "InstanceTypeFamily"),
        Column("ARCHITECTURE", "CpuArchitecture", wide=True),
        Column("GPU", "GPUSpec", wide=True),
    ),
    name=("InstanceTypeId",),
)


@command("ls")
@click.option("--family", metavar="NAME", help="Only of this family.")
def ls(app: App, family: str | None) -> None:
    """List instance types."""
    answer = app.client.call("DescribeInstanceTypes", InstanceTypeFamily=family)
    app.emit_list(unwrap(answer, "InstanceTypes.InstanceType"), VIEW)


type = LazyGroup("type", help="Instance types.", lazy={"ls": (__name__, "ls", "List instance types.")})
