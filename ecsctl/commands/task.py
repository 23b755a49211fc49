"""`ecsctl task`."""

from __future__ import annotations

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import Client, unwrap
from ecsctl.completion import from_agent
from ecsctl.output import Column, Row, View
from ecsctl.tasks import message

VIEW = View(
    columns=(
        Column("ID", "TaskId"),
        Column("ACTION", "TaskAction"),
        Column("RESOURCE", "ResourceId"),
        Column("STATUS", "TaskStatus"),
        Column("PROGRESS", "TaskProcess"),
        Column("CREATED", "CreationTime"),
        Column("FINISHED", "FinishedTime"),
        Column("CANCELLABLE", "SupportCancel", wide=True),
        Column("MESSAGE", lambda item: message(item)),
    ),
    name=("TaskId",),
)
_LIST = View(columns=tuple(c for c in VIEW.columns if c.title not in ("PROGRESS", "MESSAGE")), name=("TaskId",))
_STATUSES = ["Waiting", "Processing", "Finished", "Failed", "Deleted"]


def _ids(client: Client) -> list[str]:
    return [str(item["TaskId"]) for item in client.items("DescribeTasks", "TaskSet.Task")]


_task = click.argument("task_id", metavar="ID", shell_complete=from_agent("task", _ids))


@command("ls")
@click.option("--status", type=click.Choice(_STATUSES), help="Deleted are those that were cancelled.")
@click.option("--action", metavar="NAME", help="ImportImage, ExportImage, ….")
@click.option("--resource", metavar="ID", help="Only of this resource.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
def ls(app: App, status: str | None, action: str | None, resource: str | None, limit: int) -> None:
    """List tasks, newest first."""
    answer = app.client.regional(
        "DescribeTasks",
        TaskStatus=status,
        TaskAction=action,
        ResourceIds=[resource] if resource else None,
        PageNumber=1,
        PageSize=limit,
    )
    app.emit_list(unwrap(answer, "TaskSet.Task"), _LIST)


@command("show")
@_task
def show(app: App, task_id: str) -> None:
    """Show one task: how far it is, or why it failed."""
    task: Row = app.client.regional("DescribeTaskAttribute", TaskId=task_id)
    listed = unwrap(app.client.regional("DescribeTasks", TaskIds=task_id), "TaskSet.Task")
    app.emit_item({**task, "ResourceId": listed[0]["ResourceId"] if listed else ""}, VIEW)


@command("cancel")
@_task
def cancel(app: App, task_id: str) -> None:
    """End a task; nothing of what it was to make is left."""
    app.client.regional("CancelTask", TaskId=task_id)


task = LazyGroup(
    "task",
    help="Imports, exports and other long work.",
    lazy={
        "ls": (__name__, "ls", "List tasks."),
        "show": (__name__, "show", "Show one task."),
        "cancel": (__name__, "cancel", "End a task; nothing of it is left."),
    },
)
