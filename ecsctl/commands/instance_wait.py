"""`ecsctl instance wait`, `diagnose` and `console-output`."""

from __future__ import annotations

import base64
import binascii

import click

from ecsctl.cli import App, command
from ecsctl.client import OWN, Client, Json, unwrap
from ecsctl.completion import names
from ecsctl.errors import ApiError, CliError, NotFound, TimedOut
from ecsctl.output import Column, View
from ecsctl.progress import Progress
from ecsctl.resolve import INSTANCE, find_id
from ecsctl.tunnel import ssh_answers
from ecsctl.waiting import (
    SUCCEEDED,
    Jobs,
    describe_ids,
    describe_step,
    interruptible,
    pauses,
    state_goal,
    wait_instances,
)

_GOALS = {"running": "Running", "stopped": "Stopped"}
_BANNER_PATIENCE = 10.0  # seconds one connection may take to say SSH-
_AGENT_AWAY_SECONDS = 60.0
DIAGNOSIS = View(columns=(Column("STATUS", "Status"), Column("REASON", "Reason")), name=("Status",))


@command("wait")
@click.argument("name", shell_complete=names("instance"))
@click.option("--for", "goal", type=click.Choice(["running", "stopped", "ssh"]), default="ssh", show_default=True)
@click.option("--timeout", type=click.FloatRange(min=0), default=600, show_default=True, metavar="SECONDS")
def wait(app: App, name: str, goal: str, timeout: float) -> None:
    """Wait until an instance runs, is stopped, or answers SSH. If SSH never answers, say where it hangs."""
    instance_id = find_id(app.client, INSTANCE, name)
    if not describe_ids(app.client, [instance_id]):
        raise NotFound(f"there is no instance {name!r}")
    if goal == "ssh":
        _wait_ssh(app.client, name, instance_id, timeout)
    else:
        wait_instances(app.client, [instance_id], state_goal(_GOALS[goal]), "wait for", timeout=timeout)


@command("diagnose")
@click.argument("name", shell_complete=names("instance"))
def diagnose(app: App, name: str) -> None:
    """Say where an instance hangs: state, last console lines, its DHCP and metadata history."""
    found = _diagnosis(app.client, find_id(app.client, INSTANCE, name))
    if app.output in ("", "table", "wide") and not app.query:
        click.echo(_diagnosis_text(found))
    else:
        app.emit_item(found, DIAGNOSIS)


@command("console-output")
@click.argument("name", shell_complete=names("instance"))
@click.option("--lines", type=click.IntRange(min=1), metavar="N", help="Only the last N.")
def console_output(app: App, name: str, lines: int | None) -> None:
    """Print the last output of the serial console."""
    answer = app.client.regional("GetInstanceConsoleOutput", InstanceId=find_id(app.client, INSTANCE, name))
    if app.output in ("json", "yaml") or app.query:
        app.emit_item(answer, DIAGNOSIS)
        return
    text = _decode(str(answer.get("ConsoleOutput", "")))
    if lines:
        text = "\n".join(text.splitlines()[-lines:])
    click.echo(text, nl=bool(text) and not text.endswith("\n"))


def _wait_ssh(client: Client, name: str, instance_id: str, timeout: float) -> None:
    jobs = Jobs(client)
    message = f"SSH of {name} does not answer within {timeout:g} s"
    try:
        with Progress() as progress, interruptible(f"{name} is left as it is"), client.patient(_AGENT_AWAY_SECONDS):
            for _ in pauses(timeout, message, progress):
                state, doing = _state(client, jobs, name, instance_id)
                if state == "Running":
                    doing = "waiting for SSH"
                    progress.update(f"{name}: {doing}")
                    if ssh_answers(client, instance_id, min(_BANNER_PATIENCE, timeout)):
                        return
                progress.update(f"{name}: {doing}")
    except TimedOut:
        click.echo(_try_diagnosis(client, instance_id), err=True)
        raise


def _state(client: Client, jobs: Jobs, name: str, instance_id: str) -> tuple[str, str]:
    """The instance's state and what is done about it; CliError when it will never run by itself."""
    found = describe_ids(client, [instance_id])
    if not found:
        raise NotFound(f"instance {name!r} is gone")
    state = str(found[0].get("Status"))
    if state == "Running":
        return state, ""
    job = jobs.newest(instance_id)
    if job is not None and job["Status"] == "Failed":
        raise CliError(f"{name} is {state}: {job.get('Message')} (job {job['JobId']})")
    if state == "Stopped" and job is not None and job["Status"] == SUCCEEDED:
        raise CliError(f"{name} is Stopped: `ecsctl instance start {name}`")
    return state, describe_step(job) if job is not None else state


def _diagnosis(client: Client, instance_id: str) -> Json:
    return client.call("DescribeInstanceDiagnosis", OWN, InstanceId=instance_id)


def _try_diagnosis(client: Client, instance_id: str) -> str:
    try:
        return _diagnosis_text(_diagnosis(client, instance_id))
    except ApiError as error:
        return f"No diagnosis: {error}"


def _diagnosis_text(found: Json) -> str:
    lines = [f"Status: {found.get('Status', '')}", f"Reason: {found.get('Reason', '')}"]
    events = unwrap(found, "NetworkEvents.NetworkEvent")
    lines += ["Network:", *(f"  {event.get('Time', '')}  {event.get('What', '')}" for event in events)]
    lines += [] if events else ["  nothing was asked of DHCP or the metadata service"]
    for job in unwrap(found, "Jobs.Job"):
        lines.append(f"Job {job.get('JobId')} {job.get('Kind')} {job.get('Status')}: {describe_step(job)}".rstrip(": "))
    tail = str(found.get("ConsoleTail", "")).rstrip().splitlines()
    lines += ["Console:", *(f"  {_printable(line)}" for line in tail)] if tail else ["Console: nothing yet"]
    lines += [f"Advice: {found['Advice']}"] if found.get("Advice") else []
    return "\n".join(lines)


def _printable(line: str) -> str:
    return "".join(c for c in line if c.isprintable() or c == "\t")


def _decode(text: str) -> str:
    """The public API gives the console's output as Base64."""
    try:
        return base64.b64decode(text, validate=True).decode(errors="replace")
    except binascii.Error:
        return text
