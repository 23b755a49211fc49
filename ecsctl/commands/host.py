"""`ecsctl host`."""

from __future__ import annotations

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import OWN, unwrap
from ecsctl.commands.common import wait_options
from ecsctl.output import Column, Row, View, at
from ecsctl.waiting import wait_job

_TIMEOUT = 600
_MARKS = {"ok": "ok", "problem": "PROBLEM", "unknown": "?"}


def _of(used: str, total: str, unit: str, scale: float = 1) -> str:
    return f"{float(used) / scale:.4g} of {float(total) / scale:.4g} {unit}".strip()


def _acceleration(item: Row) -> str:
    return f"{at(item, 'Acceleration.Kind')} ({at(item, 'Acceleration.Reason')})"


def _promised(item: Row) -> str:
    """All disks as their guests see them, against what there is: they take it when they are written."""
    promised, total = at(item, "Disk.PromisedBytes"), at(item, "Disk.TotalBytes")
    return f"{promised / 2**30:.4g} GiB to disks, {100 * promised / total:.0f} % of what there is"


VIEW = View(
    columns=(
        Column("HOST", "HostName"),
        Column("VERSION", "Version"),
        Column("REGION", "RegionId"),
        Column("ZONE", "ZoneId"),
        Column("ACCELERATION", _acceleration),
        Column("HYPERVISOR", "Hypervisor"),
        Column("UPLINK", "Uplink"),
        Column("CPU", lambda i: _of(at(i, "Cpu.Allocated"), at(i, "Cpu.Total"), "allocated")),
        Column("MEMORY", lambda i: _of(at(i, "Memory.AllocatedMiB"), at(i, "Memory.TotalMiB"), "GiB allocated", 1024)),
        Column("MEMORY FREE", lambda i: f"{at(i, 'Memory.AvailableMiB') / 1024:.4g} GiB"),
        Column(
            "DISK FREE",
            lambda i: _of(at(i, "Disk.AvailableBytes"), at(i, "Disk.TotalBytes"), "GiB", 2**30),
        ),
        Column("DISK RESERVED", lambda i: f"{at(i, 'Disk.ReservedBytes') / 2**30:.4g} GiB, for what is there"),
        Column("DISK PROMISED", _promised),
        Column("INSTANCES", lambda i: f"{at(i, 'Instances.Running')} running, {at(i, 'Instances.Total')} in all"),
        Column("PROBLEMS", lambda i: "; ".join(at(i, "Problems.Problem") or [])),
    ),
    name=("HostName",),
)


@command("show")
def show(app: App) -> None:
    """Show capacity, and which acceleration is used and why."""
    app.emit_item(app.client.call("DescribeHost", OWN)["Host"], VIEW)


CHECKS = View(
    columns=(
        Column("STATE", "State"),
        Column("SUBJECT", "Subject"),
        Column("WHAT", "What"),
        Column("ADVICE", "Advice"),
    ),
    name=("Subject",),
)


@command("check")
def check(app: App) -> None:
    """Look what keeps guests from the world, or the world from them; ends with status 1 if anything does.

    Packets are tried that end before they leave the host; who drops them is named, with what helps.
    """
    found = unwrap(app.client.call("CheckHost", OWN), "Checks.Check")
    if app.output or app.query:
        app.emit_list(found, CHECKS)
    else:
        for one in found:
            click.echo(f"{_MARKS[one['State']]:8}{one['Subject']}: {one['What']}")
            if one["Advice"]:
                click.echo(f"{'':8}-> {one['Advice']}")
    if any(one["State"] == "problem" for one in found):
        raise click.exceptions.Exit(1)


@command("stop-instances")
@click.option("--grace", type=click.IntRange(min=0), default=90, show_default=True, metavar="SECONDS")
@wait_options(_TIMEOUT)
def stop_instances(app: App, grace: int, wait: bool, timeout: float) -> None:
    """Stop every running guest because the host goes down; they start again at its next boot."""
    answer = app.client.call("StopHostInstances", OWN, GraceSeconds=grace)
    jobs = unwrap(answer, "JobIds.JobId")
    for number, job_id in enumerate(jobs, 1):
        if wait:
            wait_job(app.client, str(job_id), f"stop of instance {number} of {len(jobs)}", timeout)
        else:
            click.echo(str(job_id))


host = LazyGroup(
    "host",
    help="The machine itself.",
    lazy={
        "show": (__name__, "show", "Show capacity and acceleration."),
        "check": (__name__, "check", "Look what keeps guests from the world."),
        "guests": ("ecsctl.commands.image_adopt", "guests", "List guests of others, which can be adopted."),
        "stop-instances": (__name__, "stop_instances", "Stop every guest because the host goes down."),
    },
)
