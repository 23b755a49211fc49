"""`ecsctl job`."""

from __future__ import annotations

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import OWN, unwrap
from ecsctl.completion import names
from ecsctl.errors import NotFound
from ecsctl.output import Column, Row, View
from ecsctl.resolve import INSTANCE, find_id


def _step(item: Row) -> str:
    return f"{item.get('StepNumber', 0)}/{item['StepCount']} {item.get('Step', '')}" if item.get("StepCount") else ""


VIEW = View(
    columns=(
        Column("ID", "JobId"),
        Column("KIND", "Kind"),
        Column("RESOURCE", "ResourceId"),
        Column("STATUS", "Status"),
        Column("STEP", _step),
        Column("CREATED", "CreationTime"),
        Column("FINISHED", "FinishedTime"),
        Column("MESSAGE", "Message"),
        Column("PROGRESS", "Progress", wide=True),
        Column("REQUEST", "RequestId", wide=True),
    ),
    name=("JobId",),
)
_STATUSES = ["Pending", "Running", "Undoing", "Succeeded", "Failed", "Cancelled"]


@command("ls")
@click.option("--instance", metavar="NAME", help="Only of this instance.", shell_complete=names("instance"))
@click.option("--resource", metavar="ID", help="Only of this resource.")
@click.option("--status", type=click.Choice(_STATUSES))
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
def ls(app: App, instance: str | None, resource: str | None, status: str | None, limit: int) -> None:
    """List jobs, newest first."""
    wanted = [find_id(app.client, INSTANCE, instance)] if instance else []
    wanted += [resource] if resource else []
    answer = app.client.call("DescribeJobs", OWN, ResourceId=wanted, Status=status, PageNumber=1, PageSize=limit)
    app.emit_list(unwrap(answer, "Jobs.Job"), VIEW)


@command("show")
@click.argument("job_id", metavar="ID")
def show(app: App, job_id: str) -> None:
    """Show one job."""
    found = unwrap(app.client.call("DescribeJobs", OWN, JobId=[job_id]), "Jobs.Job")
    if not found:
        raise NotFound(f"there is no job {job_id!r}")
    app.emit_item(found[0], VIEW)


job = LazyGroup(
    "job",
    help="Operations in progress and past ones.",
    lazy={"ls": (__name__, "ls", "List jobs."), "show": (__name__, "show", "Show one job.")},
)
